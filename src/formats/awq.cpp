// Checkpoints of AWQ (AutoAWQ, llm-awq, GPTQModel). Layouts of the tensors: awq_words.h. Which of them a module is in,
// its shapes say; `version` does where they fit two. Settings have the names of transformers (bits, group_size) or
// AutoAWQ's own (w_bit, q_group_size). modules_to_not_convert needs no reading: such modules have other tensors.

#include "base/error.h"
#include "formats/awq_words.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr std::string_view kAliases[] = {"awq_marlin", "auto_awq", "awq_triton", "cpu_awq"};
constexpr std::string_view kAlso[] = {"marlin", "moe_wna16", "ipex", "inc", "humming"};

bool is_own(const CheckpointView& view) {
  const std::string method = qweight_method(view);
  return method == "awq" || method == "awq_marlin" || method == "auto_awq";
}

Origin origin(const CheckpointView& view) {
  if (!is_own(view)) return Origin::other;
  if (!quant_method(view).empty()) return Origin::quantized;
  const bool has_words = has_tensor_like(view, ".qweight", DType::i32) || has_tensor_like(view, ".qweight", DType::i16);
  return has_words ? Origin::quantized : Origin::other;
}

bool claims(const CheckpointView& view, const Module& module) {
  if (!view.find(tensor_name(module, "qweight"))) return false;
  const QweightLayout layout = qweight_layout(view, module);
  return layout == QweightLayout::none ? is_own(view) : layout != QweightLayout::gptq;
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const Json& settings = view.quantization_config;
  WordSettings known{0, 0, settings_name(view)};
  if (settings.is_object()) known = read_word_settings(settings, known, known.where);
  const QweightLayout layout = qweight_layout(view, module);
  const bool symmetric = settings.is_object() && !flag(settings, "zero_point", true, known.where);
  // Zero points may be missing only where the settings say that there are none.
  if (layout != QweightLayout::none && layout != QweightLayout::awq_marlin && !symmetric)
    view.at(tensor_name(module, "qzeros"));
  return plan_awq_words(view, module, layout, known);
}

}  // namespace

extern constexpr Format kAwq{
    .name = "awq", .aliases = kAliases, .also = kAlso, .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
