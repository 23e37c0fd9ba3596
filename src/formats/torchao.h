#pragma once
// A tensor subclass of TorchAO, flattened into plain tensors, and what its classes have in common.

#include <string>

#include "base/error.h"
#include "formats/act_schemes.h"
#include "formats/source.h"

namespace packhorse {

// Activations, whatever says that they are quantized.
inline constexpr ActScheme kTorchAoFp8 = fp8_dynamic();
inline constexpr ActScheme kTorchAoInt8{.code = ActScheme::Code::int8, .divisor = 127.5f, .smallest = 0x1p-23f};
inline constexpr ActScheme kTorchAoInt8Asymmetric{
    .code = ActScheme::Code::int8, .symmetric = false, .divisor = 255, .smallest = 0x1p-23f};

/// Signed integers.
constexpr Encoding torchao_integers(int bits) {
  return {
      .element = Element::integer, .bits = static_cast<uint8_t>(bits), .offset = static_cast<int16_t>(1 << (bits - 1))};
}
/// Of scales for `size` columns each.
constexpr Grouping torchao_groups(int64_t size, int64_t k) {
  return size == k ? Grouping{GroupKind::row, 0} : Grouping{GroupKind::along_k, static_cast<uint32_t>(size)};
}

/// The weight of a module as its class left it.
struct FlatTensor {
  const CheckpointView& view;
  const Module& module;
  std::string type;   // "Int8Tensor"
  Json attributes;    // an object
  std::string where;  // of the attributes, for messages

  std::string name(std::string_view field) const { return tensor_name(module, fmt::format("_weight_{}", field)); }
  /// Null when the class left the field out.
  const TensorInfo* find(std::string_view field) const { return view.find(name(field)); }
  /// Attribute of an enumeration, a dtype or a text; empty when absent.
  std::string text_of(const Json& object, const char* key) const;
  /// Rows and columns per scale.
  std::pair<int64_t, int64_t> block_size() const;
  Grouping grouping() const;
  /// Scales [ceil(n / block rows), groups].
  GroupValues block_values(std::string_view field) const;
};

template <class T>
using ReadRows = std::function<void(int64_t begin, int64_t count, T* out)>;

/// What a class says about its weight.
struct FlatWeight {
  Encoding encoding;
  ReadRows<uint8_t> codes;  // canonical, [count, k]
  ReadRows<float> scale;    // [count, n_groups]
  ReadRows<float> zero;     // when encoding.zero
  ReadRows<float> min;      // when encoding.min
  float outer = 1;          // when encoding.outer
};

/// Rows of bytes, or of nibbles with the even columns low, of field "qdata"; `flip` is applied to each code.
ReadRows<uint8_t> read_codes(const FlatTensor& flat, int bits, uint8_t flip);
/// One number of a field.
float read_one(const FlatTensor& flat, std::string_view field);

/// How activations are quantized; sets the encoding's scheme and the plan's input.
void plan_activations(const FlatTensor& flat, ActScheme& act, WeightInput& input);

// Classes. Throw Error{model} for tensors and attributes that do not fit.
FlatWeight read_float8(const FlatTensor& flat);
FlatWeight read_mx(const FlatTensor& flat);
FlatWeight read_nvfp4(const FlatTensor& flat);
FlatWeight read_int8(const FlatTensor& flat);
FlatWeight read_int4(const FlatTensor& flat);
FlatWeight read_int4_tiles(const FlatTensor& flat);
FlatWeight read_intx(const FlatTensor& flat);

inline constexpr std::string_view kTorchAoSettings[] = {"quant_type", "modules_to_not_convert"};
std::string check_torchao_in_flight(const Json& config);
WeightPlan torchao_in_flight(WeightPlan plan, const Module& module, const Json& config);

}  // namespace packhorse
