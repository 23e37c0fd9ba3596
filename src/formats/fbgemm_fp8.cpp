// Checkpoints of quant_method fbgemm_fp8 (the 8-bit Llama 3.1 of Meta). For a Linear P of N x K weights:
//
//   P.weight          F8_E4M3 [N, K]
//   P.weight_scale    float [N, 1]
//   P.input_scale_ub  float: the bound below once more, not read
//
// Activations are E4M3 with a scale per token; magnitudes above the setting activation_scale_ub count as that.

#include <cmath>

#include "base/error.h"
#include "formats/act_schemes.h"
#include "formats/fp8_weight.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

/// 0 = no bound.
float bound_of(const CheckpointView& view) {
  const Json* bound = find_member(view.quantization_config, "activation_scale_ub");
  if (!bound) return 0;
  const auto value = bound->is_number() ? bound->get<float>() : 0.0f;
  if (!(std::isfinite(value) && value > 0)) {
    fail_model("{}.activation_scale_ub: not a number above 0 (got {})", settings_name(view), preview(*bound));
  }
  return value;
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  CodedRows rows = fp8_by_rows(view, module);
  rows.encoding.act = fp8_dynamic();
  rows.encoding.act.limit = bound_of(view);
  return plan_coded_rows(view, module, std::move(rows));
}

Origin origin(const CheckpointView& view) {
  return quant_method(view) == "fbgemm_fp8" ? Origin::quantized : Origin::other;
}

bool claims(const CheckpointView& view, const Module& module) {
  return origin(view) == Origin::quantized && is_fp8(view, module);
}

}  // namespace

extern constexpr Format kFbgemmFp8{.name = "fbgemm_fp8", .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
