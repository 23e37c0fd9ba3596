//   settings                                          scale
//   int 8, dynamic, per token                         largest magnitude / 127.5; asymmetric: (max - min) / 255
//   int 4, dynamic, per token                         largest magnitude / 7.5
//   int 8 or float 8, static, per tensor              input_scale [1] (input_zero_point I8 [1] when asymmetric)
//   float 8, dynamic, per token or in groups          largest magnitude / 448
//   float 8, dynamic, groups of 32 and uint8 scales   the power of two that brings the largest magnitude to 448 or less
//   float 4, dynamic, groups of 32                    a power of two, from the rounded largest magnitude
//   float 4, dynamic "local", groups of 16            e4m3(largest magnitude / 6 * g) / g, g = input_global_scale [1]
//
// A dynamic scale per tensor is taken per token, or results would depend on what else is in the batch.

#include "formats/ct_act.h"

#include <algorithm>

#include "base/error.h"
#include "formats/act_schemes.h"
#include "formats/coded_rows.h"
#include "formats/fp4_weight.h"
#include "formats/fp8_weight.h"
#include "formats/settings.h"

namespace packhorse::ct {
namespace {

/// The settings, read once.
struct Inputs {
  const Json& settings;
  const std::string& where;
  bool is_float, symmetric;
  int64_t bits, group;            // columns per scale, or 0
  std::string dynamic, strategy;  // dynamic: "true", "false" or "local"

  [[noreturn]] void reject(std::string_view key, std::string_view supported) const {
    const Json* value = find_member(settings, key);
    fail_model("{}.{}: not supported for {}{} activations (got {}, supported: {})", where, key,
               is_float ? "float" : "int", bits, value ? preview(*value) : "nothing", supported);
  }
};

std::string dynamic_of(const Json& settings, const std::string& where) {
  const Json* dynamic = find_member(settings, "dynamic");
  if (!dynamic) return "false";
  if (dynamic->is_boolean()) return dynamic->get<bool>() ? "true" : "false";
  if (*dynamic == "local") return "local";
  fail_model("{}.dynamic: expected true, false or \"local\" (got {})", where, preview(*dynamic));
}

Inputs read_settings(const Json& settings, const std::string& where) {
  if (!settings.is_object()) fail_model("{}: expected an object (got {})", where, preview(settings));
  const std::string type = text(settings, "type", "int", where);
  if (type != "int" && type != "float") fail_model("{}.type: expected int or float (got {})", where, preview(type));
  const int64_t group = std::max<int64_t>(0, whole_number(settings, "group_size", -1, UINT16_MAX, 0, where));
  Inputs in{.settings = settings,
            .where = where,
            .is_float = type == "float",
            .symmetric = flag(settings, "symmetric", true, where),
            .bits = whole_number(settings, "num_bits", 1, 16, 8, where),
            .group = group,
            .dynamic = dynamic_of(settings, where),
            .strategy = text(settings, "strategy", group ? "group" : "tensor", where)};
  if (in.is_float && !in.symmetric) in.reject("symmetric", "true");
  return in;
}

/// 8 or 4 bits.
ActScheme int_scheme(const Inputs& in) {
  if (in.dynamic == "local") in.reject("dynamic", "true, false");
  const bool per_token = in.dynamic == "true" && in.strategy == "token";
  if (!per_token && in.strategy != "tensor") in.reject("strategy", "tensor, or token when dynamic");
  if (in.bits == 4) {
    if (in.dynamic != "true") in.reject("dynamic", "true");
    if (!in.symmetric) in.reject("symmetric", "true");
    return {.code = ActScheme::Code::int4, .divisor = 7.5f};
  }
  ActScheme act = kInt8Static;
  if (in.dynamic == "true") {
    // Half of the range -128..127, not the largest code as elsewhere.
    act = {.code = ActScheme::Code::int8, .divisor = in.symmetric ? 127.5f : 255.0f};
  }
  act.symmetric = in.symmetric;
  return act;
}

ActScheme fp8_scheme(const Inputs& in) {
  if (in.dynamic == "local") in.reject("dynamic", "true, false");
  if (in.dynamic == "false") {
    if (in.strategy != "tensor") in.reject("strategy", "tensor, when static");
    return kFp8Static;
  }
  if (in.strategy == "token" || in.strategy == "tensor") return fp8_dynamic();
  if (in.strategy != "group" || !in.group) in.reject("strategy", "token, tensor, group with a group_size");
  const std::string scale = text(in.settings, "scale_dtype", "", in.where);
  const bool is_mx = scale.ends_with("uint8") || scale.ends_with("e8m0fnu");
  if (!is_mx) return fp8_dynamic(in.group);
  if (in.group != kMxGroup) in.reject("group_size", "32, when scales are powers of two");
  return mx_act(ActScheme::Code::fp8, ActScheme::Scale::power_ceil);
}

ActScheme fp4_scheme(const Inputs& in) {
  if (in.group == kNvfp4Group) {
    if (in.dynamic != "local") in.reject("dynamic", "\"local\" in groups of 16");
    return kNvfp4Act;
  }
  if (in.group != kMxGroup) in.reject("group_size", "16, 32");
  if (in.dynamic != "true") in.reject("dynamic", "true in groups of 32");
  return mx_act(ActScheme::Code::e2m1, ActScheme::Scale::power_even);
}

}  // namespace

ActScheme act_scheme(const Json& settings, const std::string& where) {
  const Inputs in = read_settings(settings, where);
  if (in.is_float && in.bits == 4) return fp4_scheme(in);
  if (in.bits != 8 && in.bits != 4) in.reject("num_bits", "4, 8");
  return in.is_float ? fp8_scheme(in) : int_scheme(in);
}

WeightInput read_input(const CheckpointView& view, const Module& module, const ActScheme& act) {
  WeightInput input;
  if (act.code == ActScheme::Code::none) return input;
  if (act.scale == ActScheme::Scale::nvfp4) input.act_scale = 1 / read_positive(view, module, "input_global_scale");
  if (act.scale != ActScheme::Scale::fixed) return input;
  input.act_scale = read_positive(view, module, "input_scale");
  if (!act.symmetric) input.act_zero = read_i8(view, tensor_name(module, "input_zero_point"));
  return input;
}

}  // namespace packhorse::ct
