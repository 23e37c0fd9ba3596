// Checkpoints of AMD Quark. For a Linear P of N x K weights, by the specification of its weight:
//
//   fp8_e4m3          P.weight F8_E4M3 [N, K], P.weight_scale float: one, [N], or [ceil(N / r), ceil(K / c)] (per_block
//                     [r, c]); E8M0 per_group 32 is MXFP8
//   int8              P.weight I8 [N, K], P.weight_scale float: one or [N]; weight_zero_point there is 0
//   int4, uint4       quark_int4.cpp
//   fp4               P.weight U8 [N, K / 2], E2M1, even columns in the low nibble, P.weight_scale E8M0 [N, K / 32]
//   fp4 under fp8     the same with P.weight_scale F8_E4M3 [N, K / 16] and P.weight_scale_2, one float that multiplies
//   fp6_e2m3, _e3m2   P.weight U8 [N, 3 K / 4]: a row is a stream of bits, code k at bits [6 k, 6 k + 6), E8M0 scales
//
// P.input_scale, P.input_zero_point: of static activations (input_scale_2: the outer scale of fp4 under fp8). A scale
// may also be called weight_scale_inv; it multiplies all the same. Modules under "exclude" are plain by their tensors.

#include <algorithm>

#include "base/error.h"
#include "formats/act_schemes.h"
#include "formats/fp4_weight.h"
#include "formats/fp8_weight.h"
#include "formats/quark_int4.h"
#include "formats/quark_settings.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

[[noreturn]] void reject(const QuarkSpec& spec, const Module& module) {
  fail_model("{}: {}{} {}{} is not supported (module '{}')", spec.where, spec.is_dynamic ? "dynamic " : "",
             printable(spec.dtype), printable(spec.qscheme),
             spec.group ? fmt::format(", group {}", spec.group) : std::string(), printable(module.name));
}

// --- activations ---

ActScheme::Scale power_rule(const QuarkSpec& spec, const Module& module) {
  if (spec.power_rule == "even") return ActScheme::Scale::power_even;
  if (spec.power_rule == "floor") return ActScheme::Scale::power_floor;
  if (spec.power_rule == "ceil") return ActScheme::Scale::power_ceil;
  reject(spec, module);
}

ActScheme dynamic_act(const QuarkSpec& spec, const Module& module) {
  const bool is_group = spec.qscheme == "per_group" && spec.group > 0;
  if (is_group && spec.power_scales && spec.group == kMxGroup) {
    if (spec.dtype == "fp4") return mx_act(ActScheme::Code::e2m1, power_rule(spec, module));
    if (spec.dtype == "fp8_e4m3") return mx_act(ActScheme::Code::fp8, power_rule(spec, module));
    reject(spec, module);
  }
  // A token is what per_channel means for an input; a scale of the whole tensor is one per token here.
  const bool is_token = spec.qscheme == "per_tensor" || spec.qscheme == "per_channel" || spec.qscheme == "per_token";
  if (spec.dtype == "fp8_e4m3" && (is_token || (is_group && !spec.power_scales)))
    return fp8_dynamic(is_group ? spec.group : 0);
  if (spec.dtype == "int8" && is_token && spec.symmetric) return kInt8PerToken;
  reject(spec, module);
}

void set_act(const CheckpointView& view, const Module& module, const QuarkScheme& scheme, CodedRows& rows) {
  if (scheme.input.empty()) return;
  const QuarkSpec& spec = scheme.input.front();
  if (scheme.input.size() == 2 && spec.dtype == "fp4" && scheme.input[1].dtype == "fp8_e4m3") {
    const bool has_second = has_part(view, module, "input_scale_2");
    rows.encoding.act = kNvfp4Act;
    rows.input.act_scale = read_positive(view, module, has_second ? "input_scale_2" : "input_scale");
    return;
  }
  if (scheme.input.size() != 1) reject(spec, module);
  if (spec.is_dynamic) {
    rows.encoding.act = dynamic_act(spec, module);
    return;
  }
  const bool is_int8 = spec.dtype == "int8";
  if (spec.qscheme != "per_tensor" || (!is_int8 && spec.dtype != "fp8_e4m3")) reject(spec, module);
  rows.encoding.act = is_int8 ? kInt8Static : kFp8Static;
  rows.encoding.act.symmetric = spec.symmetric || !is_int8;
  rows.input.act_scale = read_positive(view, module, "input_scale");
  if (!rows.encoding.act.symmetric) rows.input.act_zero = read_i8(view, tensor_name(module, "input_zero_point"));
}

// --- weights ---

CodedRows fp8_rows(const CheckpointView& view, const Module& module, const QuarkSpec& spec) {
  std::string scale = has_part(view, module, "weight_scale") ? "weight_scale" : "weight_scale_inv";
  if (spec.qscheme == "per_tensor" || spec.qscheme == "per_channel") return fp8_by_rows(view, module, scale);
  const bool is_mx = spec.group == kMxGroup && part_is(view, module, scale, {DType::u8, DType::f8_e8m0});
  if (is_mx) return mxfp8(view, module, scale);
  if (spec.group == 0) reject(spec, module);
  return fp8_by_blocks(view, module, {spec.rows, spec.group}, scale);
}

CodedRows fp6_rows(const Encoding& element) {
  Encoding encoding = element;
  encoding.grouping = {GroupKind::along_k, static_cast<uint32_t>(kMxGroup)};
  encoding.scale = ScaleType::e8m0;
  return {.encoding = encoding};
}

CodedRows weight_of(const CheckpointView& view, const Module& module, const std::vector<QuarkSpec>& specs) {
  const QuarkSpec& spec = specs.front();
  const bool is_mx = specs.size() == 1 && spec.qscheme == "per_group" && spec.group == kMxGroup;
  if (specs.size() == 2 && spec.dtype == "fp4" && specs[1].dtype == "fp8_e4m3" && spec.group == kNvfp4Group)
    return nvfp4(Outer::multiply, "weight_scale_2");
  if (specs.size() == 1 && spec.dtype.starts_with("fp8_")) return fp8_rows(view, module, spec);
  if (specs.size() == 1 && spec.dtype == "int8" && spec.symmetric &&
      (spec.qscheme == "per_tensor" || spec.qscheme == "per_channel"))
    return int8_by_rows(view, module);
  if (is_mx && spec.dtype == "fp4") return mxfp4();
  if (is_mx && spec.dtype == "fp6_e2m3") return fp6_rows(kE2M3);
  if (is_mx && spec.dtype == "fp6_e3m2") return fp6_rows(kE3M2);
  reject(spec, module);
}

/// An fp8 module that Quark found quantized and left so.
bool is_foreign_fp8(const CheckpointView& view, const Module& module, const QuarkScheme& scheme) {
  return is_fp8(view, module) && (scheme.weight.empty() || !scheme.weight.front().dtype.starts_with("fp8_"));
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const QuarkScheme scheme = quark_scheme(view, module);
  if (is_foreign_fp8(view, module, scheme)) {
    const std::string scale = has_part(view, module, "weight_scale") ? "weight_scale" : "weight_scale_inv";
    return plan_coded_rows(view, module, fp8_by_blocks(view, module, {128, 128}, scale));
  }
  if (scheme.weight.empty()) {
    fail_model("{}: no settings for the weight of '{}', which is quantized", scheme.where, printable(module.name));
  }
  const QuarkSpec& spec = scheme.weight.front();
  if (scheme.weight.size() == 1 && (spec.dtype == "int4" || spec.dtype == "uint4")) {
    if (!scheme.input.empty()) reject(scheme.input.front(), module);
    return plan_quark_int4(view, module, spec);
  }
  CodedRows rows = weight_of(view, module, scheme.weight);
  set_act(view, module, scheme, rows);
  return plan_coded_rows(view, module, std::move(rows));
}

Origin origin(const CheckpointView& view) { return quant_method(view) == "quark" ? Origin::quantized : Origin::other; }

bool claims(const CheckpointView& view, const Module& module) {
  return origin(view) == Origin::quantized &&
         part_is(view, module, "weight", {DType::f8_e4m3, DType::f8_e5m2, DType::u8, DType::i8, DType::i32});
}

}  // namespace

extern constexpr Format kQuark{.name = "quark", .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
