// Weights under power-of-two scales (OCP MX), by tensors alone or by quant_method mxfp4, mxfp8. For a Linear P of N x K
// weights:
//
//   P.weight        U8 [N, K / 2]   E2M1, even columns in the low nibble: MXFP4
//                   F8_E4M3 [N, K]  MXFP8
//   P.weight_scale  U8 or F8_E8M0 [N, K / 32], 2^(byte - 127)
//
// gpt-oss stacks the matrices of its experts, E x N x K under one name P:
//
//   P_blocks        U8 [E, N, K / 32, 16], nibbles as above
//   P_scales        U8 [E, N, K / 32]
//
// Activations stay as they are with 4 bits; with 8 they are E4M3 in groups of 32, whose scale never saturates.

#include "formats/act_schemes.h"
#include "formats/fp4_weight.h"
#include "formats/fp8_weight.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

bool has_powers(const CheckpointView& view, const Module& module) {
  return part_is(view, module, "weight_scale", {DType::u8, DType::f8_e8m0});
}

bool is_stacked(const CheckpointView& view, const Module& module) { return view.find(module.source + "_blocks"); }

WeightPlan plan_mxfp4(const CheckpointView& view, const Module& module) {
  if (!is_stacked(view, module)) return plan_coded_rows(view, module, mxfp4());
  CodedRows rows = mxfp4("blocks", "scales");
  rows.joint = '_';
  rows.in_lines = true;
  return plan_coded_rows(view, module, std::move(rows));
}
bool claims_mxfp4(const CheckpointView& view, const Module& module) {
  if (is_stacked(view, module)) return true;
  return part_is(view, module, "weight", {DType::u8}) && has_powers(view, module);
}
Origin origin_mxfp4(const CheckpointView& view) {
  return quant_method(view) == "mxfp4" ? Origin::quantized : Origin::other;
}

WeightPlan plan_mxfp8(const CheckpointView& view, const Module& module) {
  CodedRows rows = mxfp8(view, module);
  rows.encoding.act = mx_act(ActScheme::Code::fp8, ActScheme::Scale::power_ceil);
  return plan_coded_rows(view, module, std::move(rows));
}
Origin origin_mxfp8(const CheckpointView& view) {
  return quant_method(view) == "mxfp8" ? Origin::quantized : Origin::other;
}
bool claims_mxfp8(const CheckpointView& view, const Module& module) {
  return origin_mxfp8(view) == Origin::quantized && is_fp8(view, module) && has_powers(view, module);
}

constexpr std::string_view kMxfp4Aliases[] = {"gpt_oss_mxfp4"};

}  // namespace

extern constexpr Format kMxfp4{
    .name = "mxfp4", .aliases = kMxfp4Aliases, .origin = origin_mxfp4, .claims = claims_mxfp4, .plan = plan_mxfp4};
extern constexpr Format kMxfp8{.name = "mxfp8", .origin = origin_mxfp8, .claims = claims_mxfp8, .plan = plan_mxfp8};

}  // namespace packhorse
