#include "formats/quark_settings.h"

#include "base/error.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxGroup = 1 << 15;

QuarkSpec read_spec(const Json& json, std::string where) {
  if (!json.is_object()) fail_model("{}: expected an object (got {})", where, preview(json));
  QuarkSpec spec;
  spec.dtype = lower(text(json, "dtype", "", where));
  spec.qscheme = lower(text(json, "qscheme", "per_tensor", where));
  spec.group = whole_number(json, "group_size", -1, kMaxGroup, 0, where);
  if (spec.group < 0) spec.group = 0;
  spec.is_dynamic = flag(json, "is_dynamic", false, where);
  spec.symmetric = flag(json, "symmetric", true, where);
  const std::string type = lower(text(json, "scale_type", "", where));
  spec.power_scales = lower(text(json, "scale_format", "", where)) == "e8m0" || type == "float8_e8m0fnu";
  spec.power_rule = lower(text(json, "scale_calculation_mode", "even", where));
  if (const Json* block = find_member(json, "block_size"); block && block->is_array() && block->size() == 2) {
    const Json sides = {{"rows", (*block)[0]}, {"columns", (*block)[1]}};
    spec.rows = whole_number(sides, "rows", 1, kMaxGroup, 1, where + ".block_size");
    spec.group = whole_number(sides, "columns", 1, kMaxGroup, 1, where + ".block_size");
  }
  spec.where = std::move(where);
  return spec;
}

/// An object, a list of them from the innermost level out, or null.
std::vector<QuarkSpec> read_specs(const Json& object, std::string_view key, const std::string& where) {
  const Json* value = find_member(object, key);
  if (!value) return {};
  const std::string name = fmt::format("{}.{}", where, key);
  if (!value->is_array()) return {read_spec(*value, name)};
  std::vector<QuarkSpec> out;
  for (size_t i = 0; i < value->size(); ++i) out.push_back(read_spec((*value)[i], fmt::format("{}[{}]", name, i)));
  return out;
}

bool is_pattern(std::string_view key) { return key.find_first_of("*?[") != key.npos; }

/// A pattern fits by its wildcards, a name when the module's is a part of it, as the format's own loader has it.
bool names_module(const std::string& key, const std::string& module) {
  return is_pattern(key) ? matches_glob(key, module) : key.find(module) != key.npos;
}

/// "torch.nn.modules.linear.Linear" and "Linear" mean every linear layer.
bool names_linear(const std::string& key) { return key.substr(key.rfind('.') + 1) == "Linear"; }

template <class Fits>
const Json* find_entry(const CheckpointView& view, std::string_view list, Fits&& fits, std::string& where) {
  for (const auto& [key, value] : ordered_members(view, std::string(list))) {
    if (value->is_null() || !fits(key)) continue;
    where = fmt::format("{}.{} '{}'", settings_name(view), list, printable(key));
    return value;
  }
  return nullptr;
}

}  // namespace

QuarkScheme quark_scheme(const CheckpointView& view, const Module& module) {
  std::string where;
  const Json* found = find_entry(
      view, "layer_quant_config", [&](const std::string& key) { return names_module(key, module.name); }, where);
  if (!found) found = find_entry(view, "layer_type_quant_config", names_linear, where);
  if (!found) {
    where = settings_name(view) + ".global_quant_config";
    found = find_member(view.quantization_config, "global_quant_config");
  }
  if (!found || !found->is_object())
    fail_model("{}: expected an object for module '{}' (got {})", where, printable(module.name),
               found ? preview(*found) : "nothing");
  return {read_specs(*found, "weight", where), read_specs(*found, "input_tensors", where), where};
}

}  // namespace packhorse
