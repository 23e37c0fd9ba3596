// FP8 checkpoints of Intel Neural Compressor. For a Linear P of N x K weights, the head among them:
//
//   P.weight                 F8_E4M3 [K, N]: transposed
//   P.dequant_weights.scale  float, one or [N]: multiplies
//   P.quant_input.scale      float, one: of static E4M3 activations, x / scale. scale_inv beside it is rounded, not
//   used
//
// Settings have no quant_method but the key fp8_config.

#include "base/error.h"
#include "formats/act_schemes.h"
#include "formats/fp8_weight.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr const char *kScale = "dequant_weights.scale", *kInputScale = "quant_input.scale";

Origin origin(const CheckpointView& view) {
  const bool is_own = quant_method(view).empty() && find_member(view.quantization_config, "fp8_config");
  return is_own ? Origin::quantized : Origin::other;
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const std::string format = lower(text(view.quantization_config, "fp8_config", "E4M3", settings_name(view)));
  if (format != "e4m3")
    fail_model("{}.fp8_config: '{}' is not supported, only E4M3", settings_name(view), printable(format));
  CodedRows rows = fp8_by_rows(view, module, kScale);
  rows.is_transposed = true;
  if (has_part(view, module, kInputScale)) {
    rows.encoding.act = kFp8Static;
    rows.input.act_scale = read_positive(view, module, kInputScale);
  }
  return plan_coded_rows(view, module, std::move(rows));
}

bool claims(const CheckpointView& view, const Module& module) {
  return is_fp8(view, module) && has_part(view, module, kScale);
}

}  // namespace

extern constexpr Format kIncFp8{.name = "inc", .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
