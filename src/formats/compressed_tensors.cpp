// Checkpoints of compressed-tensors (llm-compressor, AutoRound): which of its layouts a module is in. The tensors say
// it alone, so "format" and "ignore" of the settings need no reading. Layouts: ct_packed.cpp, ct_plain.cpp,
// ct_sparse.cpp, and "marlin-24", P.weight_packed, P.meta and P.scale_packed of marlin_words.h.

#include "base/error.h"
#include "formats/coded_rows.h"
#include "formats/ct_weights.h"
#include "formats/marlin_words.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

/// Settings under the older key "compression_config" may have another method's name or none.
bool is_own(const CheckpointView& view) {
  const std::string method = quant_method(view);
  if (method == "compressed-tensors") return true;
  const Json& settings = view.quantization_config;
  const bool is_older = method == "sparseml" || (method.empty() && !find_member(settings, "producer"));
  return is_older && find_member(settings, "config_groups");
}

enum class Layout : uint8_t { none, packed, marlin_24, packed_floats, dense, masked };

Layout layout_of(const CheckpointView& view, const Module& module) {
  if (part_is(view, module, "weight_packed", {DType::i32}))
    return has_part(view, module, "scale_packed") ? Layout::marlin_24 : Layout::packed;
  if (!is_own(view)) return Layout::none;  // others have these names as well
  if (part_is(view, module, "weight_packed", {DType::u8})) return Layout::packed_floats;
  if (ct::is_masked(view, module)) return Layout::masked;
  const bool has_codes = part_is(view, module, "weight", {DType::i8, DType::f8_e4m3});
  return has_codes && has_part(view, module, "weight_scale") ? Layout::dense : Layout::none;
}

/// 2:4 sparse integers in Marlin's tiles. Older files have no groups of settings: the tensors are enough.
WeightPlan plan_marlin_24(const CheckpointView& view, const Module& module) {
  WordSettings settings;
  if (find_member(view.quantization_config, "config_groups")) {
    const ct::Scheme scheme = ct::scheme_of(view, module);
    const int64_t size = scheme.group_size;
    settings = {scheme.bits, size == ct::kAnySize ? 0 : size == 0 ? -1 : size, scheme.where};
  }
  return plan_marlin_words(view, module, {"weight_packed", "meta", "scale_packed"}, settings);
}

bool claims(const CheckpointView& view, const Module& module) { return layout_of(view, module) != Layout::none; }

WeightPlan plan(const CheckpointView& view, const Module& module) {
  ct::check_settings(view);
  switch (layout_of(view, module)) {
    case Layout::packed:
      return ct::plan_packed(view, module);
    case Layout::marlin_24:
      return plan_marlin_24(view, module);
    case Layout::packed_floats:
      return ct::plan_packed_floats(view, module);
    case Layout::masked:
      return ct::plan_dense(view, module, ct::masked(view, module));
    case Layout::dense: {
      const TensorInfo& weight = view.at(weight_name(module));
      return ct::plan_dense(view, module, {.part = "weight", .dtype = weight.dtype, .n_bytes = weight.n_bytes});
    }
    case Layout::none:
      break;
  }
  fail(ErrorKind::internal, "{}: not of compressed-tensors", module.name);
}

Origin origin(const CheckpointView& view) { return is_own(view) ? Origin::quantized : Origin::other; }

constexpr std::string_view kAliases[] = {"compressed_tensors", "sparseml"};
constexpr std::string_view kAlso[] = {"humming"};

}  // namespace

extern constexpr Format kCompressedTensors{
    .name = "compressed-tensors", .aliases = kAliases, .also = kAlso, .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
