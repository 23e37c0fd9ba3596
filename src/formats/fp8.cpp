// Checkpoints of quant_method fp8 (AutoFP8, FineGrainedFP8 of transformers, DeepSeek). For a Linear P of N x K weights:
//
//   P.weight            F8_E4M3 [N, K]
//   P.weight_scale      float, one for the matrix, or [N] or [N, 1]
//   P.weight_scale_inv  float or E8M0 [ceil(N / bn), ceil(K / bk)]: with settings weight_block_size = [bn, bk]. It
//                       multiplies, whatever its name says; blocks at the edges are cut. weight_scale may be its name
//   P.input_scale       float, one number: activation_scheme "static"; or P.activation_scale
//
// Activations are E4M3 as well: by input_scale; else by a scale per token ("dynamic"), or per token and bk columns,
// which scale_fmt "ue8m0" rounds up to a power of two. A checkpoint whose settings do not say fp8 may still have such
// modules: input_scale then means static, and nothing else does. Which modules are quantized is left to their tensors.

#include "base/error.h"
#include "formats/act_schemes.h"
#include "formats/fp8_weight.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxBlock = 1 << 15;
constexpr ScaleBlock kUsualBlock{128, 128};

enum class Scheme : uint8_t { none, fixed, dynamic };

bool is_own(const CheckpointView& view) { return quant_method(view) == "fp8"; }

/// weight_block_size; zeros without.
ScaleBlock block_of(const CheckpointView& view) {
  const Json* size = is_own(view) ? find_member(view.quantization_config, "weight_block_size") : nullptr;
  if (!size) return {};
  const auto in_range = [](const Json& side) { return side.is_number_integer() && side >= 1 && side <= kMaxBlock; };
  if (!size->is_array() || size->size() != 2 || !in_range((*size)[0]) || !in_range((*size)[1])) {
    fail_model("{}.weight_block_size: not two whole numbers in 1..{} (got {})", settings_name(view), kMaxBlock,
               size->is_array() ? size->dump() : preview(*size));
  }
  return {(*size)[0], (*size)[1]};
}

/// FineGrainedFP8 has a name of its own for it.
std::string_view input_scale_of(const CheckpointView& view, const Module& module) {
  return has_part(view, module, "activation_scale") ? "activation_scale" : "input_scale";
}

Scheme scheme_of(const CheckpointView& view, const Module& module) {
  const bool has_scale = has_part(view, module, input_scale_of(view, module));
  if (!is_own(view)) return has_scale ? Scheme::fixed : Scheme::none;
  const std::string where = settings_name(view);
  const std::string scheme =
      text(view.quantization_config, "activation_scheme", has_scale ? "static" : "dynamic", where);
  if (scheme != "static" && scheme != "dynamic")
    fail_model("{}.activation_scheme: not static or dynamic (got '{}')", where, printable(scheme));
  return scheme == "static" ? Scheme::fixed : Scheme::dynamic;
}

ActScheme::Scale scale_rule(const CheckpointView& view) {
  const std::string where = settings_name(view), format = text(view.quantization_config, "scale_fmt", "float", where);
  if (format != "float" && format != "ue8m0")
    fail_model("{}.scale_fmt: not float or ue8m0 (got '{}')", where, printable(format));
  return format == "ue8m0" ? ActScheme::Scale::power_ceil : ActScheme::Scale::max;
}

std::string scale_of(const CheckpointView& view, const Module& module) {
  return has_part(view, module, "weight_scale_inv") ? "weight_scale_inv" : "weight_scale";
}

/// Size of the blocks: of the settings, or the usual one when there are neither settings nor a scale per matrix or row.
ScaleBlock block_of_scales(const CheckpointView& view, const Module& module, const std::string& scale) {
  const ScaleBlock block = block_of(view);
  if (block.columns || part_is(view, module, scale, {DType::u8, DType::f8_e8m0})) return block;
  const uint64_t n_scales = n_elements_of(view.at(tensor_name(module, scale)), module);
  return n_scales == 1 || n_scales == static_cast<uint64_t>(module.n) ? block : kUsualBlock;
}

CodedRows weight_of(const CheckpointView& view, const Module& module, ScaleBlock block, const std::string& scale) {
  if (block.columns) return fp8_by_blocks(view, module, block, scale);
  if (part_is(view, module, scale, {DType::u8, DType::f8_e8m0})) return mxfp8(view, module, scale);
  return fp8_by_rows(view, module, scale);
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const std::string scale = scale_of(view, module);
  const ScaleBlock block = block_of_scales(view, module, scale);
  CodedRows rows = weight_of(view, module, block, scale);
  switch (scheme_of(view, module)) {
    case Scheme::none:
      break;
    case Scheme::fixed:
      if (block.columns) {
        fail_model("{}.activation_scheme: \"static\" does not go together with weight_block_size (module '{}')",
                   settings_name(view), printable(module.name));
      }
      rows.encoding.act = kFp8Static;
      rows.input.act_scale = read_positive(view, module, input_scale_of(view, module));
      break;
    case Scheme::dynamic:
      rows.encoding.act = fp8_dynamic(block.columns, block.columns ? scale_rule(view) : ActScheme::Scale::max);
  }
  return plan_coded_rows(view, module, std::move(rows));
}

bool claims(const CheckpointView& view, const Module& module) { return is_fp8(view, module); }

constexpr std::string_view kAlso[] = {"humming"};

Origin origin(const CheckpointView& view) { return is_own(view) ? Origin::quantized : Origin::other; }

}  // namespace

extern constexpr Format kFp8{.name = "fp8", .also = kAlso, .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
