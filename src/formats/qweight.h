#pragma once
// Modules whose codes stand in a tensor "qweight", with "scales" and "qzeros": which of the layouts of GPTQ and AWQ
// they are in. Shapes tell; where they fit two layouts, the scales; where these do too, the checkpoint's settings.

#include <cstdint>
#include <string>

#include "formats/source.h"

namespace packhorse {

enum class QweightLayout : uint8_t {
  none,           // no qweight, or shapes of no layout
  gptq,           // I32 [k bits / 32, n]
  awq_gemm,       // I32 [k, n bits / 32]
  awq_gemv,       // I32 [n, k / 8]
  awq_gemv_fast,  // I16 [n / 4, k]
  awq_marlin,     // I32 [k / 16, 2 n], no qzeros
};
QweightLayout qweight_layout(const CheckpointView& view, const Module& module);

/// Method of checkpoints with qweight: quant_method, or what settings without one must be by their keys; "" for others.
std::string qweight_method(const CheckpointView& view);
/// Whether a tensor's name ends so and it is of this type: what settings without a method need beside them.
bool has_tensor_like(const CheckpointView& view, std::string_view ending, DType dtype);

/// Settings that the shapes are checked against.
struct WordSettings {
  int64_t bits = 0;        // 0 = as the tensors say
  int64_t group_size = 0;  // -1 = one group; 0 = as the tensors say
  std::string where;       // object that has them, for messages
};
/// `bits` and `group_size` of an object, under any of the names that tools have for them, over those of `base`. Throws
/// Error{model} for values that no format has.
WordSettings read_word_settings(const Json& object, const WordSettings& base, std::string where);

/// Columns per scale of a weight with `n_groups` in a layout without padding; throws reject_words when the settings
/// give another number, or when they are silent and groups are uneven.
int64_t columns_per_scale(const CheckpointView& view, const Module& module, const WordSettings& settings,
                          int64_t n_groups);
/// The one message for shapes that do not fit, of the module's tensors of these names.
[[noreturn]] void reject_words(const CheckpointView& view, const Module& module, const WordSettings& settings,
                               std::initializer_list<std::string_view> parts = {"qweight", "qzeros", "scales"});

/// Storage type of scales, plain floats. Throws Error{model} for any other.
ScaleType float_scale_type(const CheckpointView& view, const std::string& name);
/// Bytes of the module's tensors of these names, where they are there.
uint64_t bytes_of(const CheckpointView& view, const Module& module, std::initializer_list<std::string_view> parts);

}  // namespace packhorse
