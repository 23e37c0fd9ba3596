// Checkpoints whose modules stand in Marlin's tiles, as AutoGPTQ exported them: B and s, or 2:4 sparse B_24, B_meta and
// s. Layout: marlin_words.h. The settings are GPTQ's, with quant_method "gptq" or "marlin"; all that matters here is in
// the tensors, so that `bits` and `group_size` are only compared with them. B_24 is held as a dense matrix.

#include "formats/marlin_words.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

bool is_sparse(const CheckpointView& view, const Module& module) {
  return view.find(tensor_name(module, "B_24")) && view.find(tensor_name(module, "B_meta"));
}

bool claims(const CheckpointView& view, const Module& module) {
  const bool dense = view.find(tensor_name(module, "B")) && view.find(tensor_name(module, "s"));
  return dense || is_sparse(view, module);
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const Json& settings = view.quantization_config;
  WordSettings known{0, 0, settings_name(view)};
  if (settings.is_object()) known = read_word_settings(settings, known, known.where);
  return plan_marlin_words(view, module, is_sparse(view, module) ? kSparseMarlin : kDenseMarlin, known);
}

}  // namespace

extern constexpr Format kMarlin{.name = "gptq (marlin)", .claims = claims, .plan = plan};

}  // namespace packhorse
