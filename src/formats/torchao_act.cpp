// How TorchAO's classes quantize activations: attribute act_quant_kwargs of most, activation_dtype of Int4Tensor,
// activation_quantization of IntxUnpackedToInt8Tensor. What is "per tensor" there would make a token's result depend on
// others of its batch, so it is done per token.

#include <cmath>

#include "base/error.h"
#include "formats/settings.h"
#include "formats/torchao.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxGroup = 1 << 14;

/// A float attribute; 0 when it is absent.
float bound(const FlatTensor& flat, const Json& kwargs, const char* key) {
  const Json* value = find_member(kwargs, key);
  if (!value) return 0;
  const float number = value->is_number() ? value->get<float>() : -1;
  if (!std::isfinite(number) || number <= 0)
    fail_model("{}.act_quant_kwargs.{}: expected a number above 0 (got {})", flat.where, key, preview(*value));
  return number;
}

/// Columns per scale of a "granularity"; 0 = a token.
uint16_t group_of(const FlatTensor& flat, const Json& kwargs) {
  const Json* granularity = find_member(kwargs, "granularity");
  if (!granularity) return 0;
  const Json* type = find_member(*granularity, "_type");
  const Json* data = find_member(*granularity, "_data");
  const std::string where = flat.where + ".act_quant_kwargs.granularity";
  if (type && (*type == "PerRow" || *type == "PerTensor" || *type == "PerToken")) return 0;
  if (type && *type == "PerGroup" && data)
    return static_cast<uint16_t>(whole_number(*data, "group_size", 1, kMaxGroup, 1, where));
  const Json* sizes = data ? find_member(*data, "block_size") : nullptr;
  if (type && *type == "PerBlock" && sizes && sizes->is_array() && sizes->size() == 2 && (*sizes)[0] == 1) {
    if (const auto size = as_unsigned((*sizes)[1]); size && *size > 0 && *size <= kMaxGroup)
      return static_cast<uint16_t>(*size);
  }
  fail_model("{}: cannot be held (got {})", where, type ? preview(*type) : preview(*granularity));
}

ActScheme float8_of(const FlatTensor& flat, const Json& kwargs) {
  if (const std::string type = flat.text_of(kwargs, "float8_dtype"); !type.empty() && type != "float8_e4m3fn")
    fail_model("{}.act_quant_kwargs.float8_dtype: cannot be held (got '{}')", flat.where, printable(type));
  ActScheme act = kTorchAoFp8;
  act.group = group_of(flat, kwargs);
  act.limit = bound(flat, kwargs, "hp_value_ub");
  act.smallest = bound(flat, kwargs, "hp_value_lb") / act.divisor;
  return act;
}

ActScheme int8_of(const FlatTensor& flat, const Json& kwargs, WeightInput& input) {
  if (flag(kwargs, "reduce_range", false, flat.where + ".act_quant_kwargs"))
    fail_model("{}.act_quant_kwargs.reduce_range: cannot be held (got true)", flat.where);
  const std::string mapping = flat.text_of(kwargs, "mapping_type");
  if (!mapping.empty() && mapping != "SYMMETRIC" && mapping != "ASYMMETRIC")
    fail_model("{}.act_quant_kwargs.mapping_type: cannot be held (got '{}')", flat.where, printable(mapping));
  ActScheme act = mapping == "ASYMMETRIC" ? kTorchAoInt8Asymmetric : kTorchAoInt8;
  act.group = group_of(flat, kwargs);
  if (!flat.find("act_quant_scale")) return act;
  input.act_scale = read_one(flat, "act_quant_scale");
  if (input.act_scale <= 0) {
    fail_model("{}: not a number above 0 (got {})", flat.view.describe(flat.name("act_quant_scale")), input.act_scale);
  }
  if (flat.find("act_quant_zero_point")) input.act_zero = read_i8(flat.view, flat.name("act_quant_zero_point"));
  return {.code = ActScheme::Code::int8, .scale = ActScheme::Scale::fixed, .symmetric = input.act_zero == 0};
}

ActScheme mx_of(const FlatTensor& flat, const Json& kwargs) {
  const std::string type = flat.text_of(kwargs, "elem_dtype"), mode = flat.text_of(kwargs, "scaling_mode");
  const std::string where = flat.where + ".act_quant_kwargs";
  const bool is_fp4 = type == "float4_e2m1fn_x2";
  if (!is_fp4 && type != "float8_e4m3fn")
    fail_model("{}.elem_dtype: cannot be held (got '{}')", where, printable(type));
  ActScheme act{.code = is_fp4 ? ActScheme::Code::e2m1 : ActScheme::Code::fp8,
                .group = static_cast<uint16_t>(whole_number(kwargs, "block_size", 1, kMaxGroup, 32, where)),
                .shift = static_cast<int8_t>(is_fp4 ? 2 : 8),
                .divisor = is_fp4 ? kE2M1Max : kE4M3Max};
  if (mode.empty() || mode == "FLOOR" || mode == "floor")
    act.scale = ActScheme::Scale::power_floor;
  else if (mode == "EVEN" || mode == "even")
    act.scale = ActScheme::Scale::power_even;
  else if (mode == "RCEIL" || mode == "rceil")
    act.scale = ActScheme::Scale::power_ceil;
  else
    fail_model("{}.scaling_mode: cannot be held (got '{}')", where, printable(mode));
  return act;
}

ActScheme nvfp4_of(const FlatTensor& flat, const Json& kwargs, WeightInput& input) {
  if (flag(kwargs, "use_dynamic_per_tensor_scale", false, flat.where + ".act_quant_kwargs") &&
      !flat.find("act_per_tensor_scale")) {
    fail_model("{}.act_quant_kwargs.use_dynamic_per_tensor_scale: cannot be held (got true)", flat.where);
  }
  if (flat.find("act_per_tensor_scale")) input.act_scale = read_one(flat, "act_per_tensor_scale");
  return {.code = ActScheme::Code::e2m1, .scale = ActScheme::Scale::nvfp4, .group = 16, .divisor = 6};
}

ActScheme scheme_of(const FlatTensor& flat, WeightInput& input) {
  const Json* kwargs = find_member(flat.attributes, "act_quant_kwargs");
  if (!kwargs) {
    const std::string dtype = flat.text_of(flat.attributes, "activation_dtype");
    const std::string quantization = flat.text_of(flat.attributes, "activation_quantization");
    if (quantization == "int8_asym_per_token") return kTorchAoInt8Asymmetric;
    if (dtype == "float8_e4m3fn") return kTorchAoFp8;
    if (!quantization.empty())
      fail_model("{}.activation_quantization: cannot be held (got '{}')", flat.where, printable(quantization));
    return {};
  }
  const Json* type = find_member(*kwargs, "_type");
  const Json* data = find_member(*kwargs, "_data");
  const Json none = Json::object();
  const Json& values = data ? *data : none;
  if (type && *type == "QuantizeTensorToFloat8Kwargs") return float8_of(flat, values);
  if (type && *type == "QuantizeTensorToInt8Kwargs") return int8_of(flat, values, input);
  if (type && *type == "QuantizeTensorToMXKwargs") return mx_of(flat, values);
  if (type && *type == "QuantizeTensorToNVFP4Kwargs") return nvfp4_of(flat, values, input);
  fail_model("{}.act_quant_kwargs: a class that cannot be read (got {})", flat.where,
             type ? preview(*type) : "nothing");
}

}  // namespace

void plan_activations(const FlatTensor& flat, ActScheme& act, WeightInput& input) {
  act = scheme_of(flat, input);
  if (!flat.find("act_pre_scale")) return;
  Module row = flat.module;
  row.n = 1, row.n_experts = row.expert = 0, row.source_row = {};
  input.scale.resize(static_cast<size_t>(row.k));
  GroupValues(flat.view, row, flat.name("act_pre_scale"), GroupValues::Order::rows, row.k)
      .read(0, 1, input.scale.data());
}

}  // namespace packhorse
