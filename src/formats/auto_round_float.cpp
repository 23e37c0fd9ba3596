// AutoRound's packings of small floats (its integers have the layouts of GPTQ and AWQ). For a Linear P of N x K
// weights:
//
//   fp8            P.weight F8_E4M3 [N, K], P.weight_scale_inv float [ceil(N / bn), ceil(K / bk)], group_size = [bn,
//   bk] fp8_static     P.weight F8_E4M3 [N, K], P.weight_scale float, one or [N], P.input_scale float, one
//   llm_compressor mx_fp, 4 bits: P.weight_packed U8 [N, K / 2], P.weight_scale E8M0 [N, K / 32]
//                  mx_fp, 8 bits: P.weight F8_E4M3 [N, K], P.weight_scale E8M0 [N, K / 32]
//                  nv_fp:         P.weight_packed U8 [N, K / 2], P.weight_scale F8_E4M3 [N, K / 16], and
//                                 weight_global_scale and input_global_scale, one float each, which divide
//
// Packed codes are E2M1, even columns in the low nibble. Settings say whether activations are quantized: act_bits up to
// 8, by the rule of the weight's kind. MX scales there are 2^(floor(log2 of the largest magnitude) - exponent of the
// element's largest power of two).

#include "base/error.h"
#include "formats/act_schemes.h"
#include "formats/auto_round.h"
#include "formats/fp4_weight.h"
#include "formats/fp8_weight.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxBlock = 1 << 15;
constexpr int64_t kFloatBits = 16;  // from here on activations stay as they are

bool quantizes_input(const CheckpointView& view) {
  return whole_number(view.quantization_config, "act_bits", 1, 32, kFloatBits, settings_name(view)) < kFloatBits;
}

/// group_size as rows and columns of a block.
ScaleBlock block_of(const CheckpointView& view) {
  const Json* size = find_member(view.quantization_config, "group_size");
  const auto in_range = [](const Json& side) { return side.is_number_integer() && side >= 1 && side <= kMaxBlock; };
  if (!size || !size->is_array() || size->size() != 2 || !in_range((*size)[0]) || !in_range((*size)[1])) {
    fail_model("{}.group_size: weight_scale_inv needs rows and columns of a block, whole numbers in 1..{} (got {})",
               settings_name(view), kMaxBlock,
               !size              ? "nothing"
               : size->is_array() ? size->dump()
                                  : preview(*size));
  }
  return {(*size)[0], (*size)[1]};
}

CodedRows mx_rows(CodedRows rows, bool with_act) {
  const bool is_fp8 = rows.encoding.element == Element::minifloat;
  if (with_act)
    rows.encoding.act = mx_act(is_fp8 ? ActScheme::Code::fp8 : ActScheme::Code::e2m1, ActScheme::Scale::power_floor);
  return rows;
}

CodedRows packed_rows(const CheckpointView& view, const Module& module) {
  const bool with_act = quantizes_input(view);
  if (!part_is(view, module, "weight_scale", {DType::f8_e4m3})) return mx_rows(mxfp4("weight_packed"), with_act);
  CodedRows rows = nvfp4(Outer::divide, "weight_global_scale", "weight_packed");
  if (with_act) {
    rows.encoding.act = kNvfp4Act;
    rows.input.act_scale = 1 / read_positive(view, module, "input_global_scale");
  }
  return rows;
}

CodedRows fp8_rows(const CheckpointView& view, const Module& module) {
  const bool with_act = quantizes_input(view);
  if (has_part(view, module, "weight_scale_inv")) {
    const ScaleBlock block = block_of(view);
    CodedRows rows = fp8_by_blocks(view, module, block, "weight_scale_inv");
    // This packing has no weights without quantized activations; group_size[0] is the size of their groups.
    rows.encoding.act = fp8_dynamic(block.rows);
    return rows;
  }
  if (part_is(view, module, "weight_scale", {DType::u8, DType::f8_e8m0})) return mx_rows(mxfp8(view, module), with_act);
  CodedRows rows = fp8_by_rows(view, module);
  if (has_part(view, module, "input_scale")) {
    rows.encoding.act = kFp8Static;
    rows.input.act_scale = read_positive(view, module, "input_scale");
  } else if (with_act) {
    rows.encoding.act = fp8_dynamic();
  }
  return rows;
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  return plan_coded_rows(view, module, is_fp8(view, module) ? fp8_rows(view, module) : packed_rows(view, module));
}

bool claims(const CheckpointView& view, const Module& module) {
  return is_auto_round(quant_method(view)) &&
         (is_fp8(view, module) || part_is(view, module, "weight_packed", {DType::u8}));
}

}  // namespace

/// Whether a checkpoint is AutoRound's is told by the row of its integer packings.
extern constexpr Format kAutoRoundFloat{.name = "auto-round", .claims = claims, .plan = plan};

}  // namespace packhorse
