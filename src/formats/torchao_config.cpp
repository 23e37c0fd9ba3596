// quantization_config for TorchAO in flight, in one of two forms:
//
//   {"quant_type": {"default": CONFIG}, "modules_to_not_convert": [names]}    as in config.json
//   CONFIG                                                                    as torchao's config_to_dict writes it
//
// CONFIG is {"_type": class, "_version": 2, "_data": {arguments}}; enumerations, dtypes and granularities in it have
// the same form. FqnToConfig (once ModuleFqnToConfig) gives modules a CONFIG, or null, by name, by "re:" and an
// expression for the whole name, or by "_default"; the first of these kinds that fits counts. The order of expressions
// is lost before the settings come here, so two that fit one module must agree.

#include <algorithm>

#include "base/error.h"
#include "base/regex.h"
#include "formats/settings.h"
#include "formats/torchao.h"
#include "formats/torchao_recipe.h"

namespace packhorse {
namespace {

const std::string kWhere = "quantization_config";

bool is_by_name(const Json& config) {
  const Json* type = find_member(config, "_type");
  return type && (*type == "FqnToConfig" || *type == "ModuleFqnToConfig");
}

const Json& root(const Json& config) {
  const Json* types = find_member(config, "quant_type");
  if (find_member(config, "_type") && !types) return config;
  const Json* only = types ? find_member(*types, "default") : nullptr;
  if (only && types->size() == 1) return *only;
  fail_model(
      "{}.quant_type: expected {{\"default\": {{\"_type\": \"Int4WeightOnlyConfig\", \"_data\": {{\"group_size\": "
      "128}}}}}} "
      "or another class (got {})",
      kWhere,
      !types               ? "nothing"
      : types->is_object() ? printable(types->dump())
                           : preview(*types));
}

/// The names that FqnToConfig knows.
Json by_name(const Json& config, const std::string& where) {
  const Json* data = find_member(config, "_data");
  if (!data || !data->is_object())
    fail_model("{}._data: expected an object (got {})", where, data ? preview(*data) : "nothing");
  Json names = Json::object();
  for (const auto& [key, value] : data->items()) {
    if (key == "version") continue;
    if (key != "fqn_to_config" && key != "module_fqn_to_config")
      fail_model("{}._data: FqnToConfig has no argument '{}'", where, printable(key));
    if (!value.is_object()) fail_model("{}._data.{}: expected an object (got {})", where, key, preview(value));
    if (value.empty()) continue;
    if (!names.empty() && names != value) fail_model("{}._data: fqn_to_config and module_fqn_to_config differ", where);
    names = value;
  }
  return names;
}

Regex whole_name(const std::string& key) {
  const std::string_view expression = std::string_view(key).substr(3);
  return {fmt::format("(?:{})\\z", expression), fmt::format("{}: '{}'", kWhere, printable(key)), {.shown = expression}};
}

std::vector<std::string> left_out(const Json& config) {
  std::vector<std::string> names;
  const Json* list = find_member(config, "modules_to_not_convert");
  if (list && !list->is_array())
    fail_model("{}.modules_to_not_convert: expected a list (got {})", kWhere, preview(*list));
  for (size_t i = 0; list && i < list->size(); ++i) {
    if (!(*list)[i].is_string())
      fail_model("{}.modules_to_not_convert: expected names (got {})", kWhere, preview((*list)[i]));
    names.push_back((*list)[i].get<std::string>());
  }
  const Json& config_object = root(config);
  if (!is_by_name(config_object)) return names;
  const Json known = by_name(config_object, kWhere);
  for (const auto& [key, value] : known.items()) {
    if (value.is_null() && !key.starts_with("re:") && key != "_default") names.push_back(key);
  }
  return names;
}

/// The entry of FqnToConfig that is a module's; null for none.
Json find_entry(const Json& names, const std::string& module) {
  for (const std::string& name : {module + ".weight", module}) {
    if (const auto exact = names.find(name); exact != names.end()) return *exact;
  }
  for (const std::string& name : {module, module + ".weight"}) {
    std::string first;
    for (const auto& [key, value] : names.items()) {
      if (!key.starts_with("re:") || !whole_name(key).matches_start_of(name)) continue;
      if (!first.empty() && names[first] != value) {
        fail(ErrorKind::usage, "{}: '{}' and '{}' both fit {} and say different things", kWhere, printable(first),
             printable(key), printable(name));
      }
      first = key;
    }
    if (!first.empty()) return names[first];
  }
  return names.value("_default", Json());
}

constexpr std::string_view kKeys[] = {
    "quant_method", "quant_type", "modules_to_not_convert", "untie_embedding_weights", "_type",
    "_version",     "_data",      "quant_type_kwargs"};

void check_keys(const Json& config) {
  for (const auto& [key, value] : config.items()) {
    if (key == "include_input_output_embeddings") {
      if (flag(config, key, false, kWhere)) fail_model("{}.{}: embeddings stay as they are (got true)", kWhere, key);
    } else if (std::ranges::find(kKeys, key) == std::end(kKeys)) {
      fail(ErrorKind::usage, "{}: torchao has no setting '{}'", kWhere, printable(key));
    }
  }
  require_off(config, "quant_type_kwargs", kWhere);
}

}  // namespace

std::string check_torchao_in_flight(const Json& config) {
  check_keys(config);
  const Json& object = root(config);
  left_out(config);
  if (!is_by_name(object)) {
    const TorchAoRecipe recipe = torchao_recipe_of(object, kWhere);
    const std::string size = recipe.rows == 0     ? "a scale per weight"
                             : recipe.rows > 1    ? fmt::format("blocks of {} x {}", recipe.rows, recipe.columns)
                             : recipe.columns > 0 ? fmt::format("groups of {}", recipe.columns)
                                                  : "a scale per row";
    return fmt::format("{}, {}", object["_type"].get<std::string>(), size);
  }
  const Json names = by_name(object, kWhere);
  for (const auto& [key, value] : names.items()) {
    if (key.starts_with("re:")) whole_name(key);
    if (!value.is_null()) torchao_recipe_of(value, fmt::format("{}: '{}'", kWhere, printable(key)));
  }
  return fmt::format("{}, {} entries", object["_type"].get<std::string>(), names.size());
}

std::optional<TorchAoRecipe> torchao_recipe(const Json& config, const std::string& module) {
  for (const std::string& name : left_out(config)) {
    if (has_components(module, name)) return std::nullopt;
  }
  const Json& object = root(config);
  if (!is_by_name(object)) return torchao_recipe_of(object, kWhere);
  const Json entry = find_entry(by_name(object, kWhere), module);
  if (entry.is_null()) return std::nullopt;
  return torchao_recipe_of(entry, kWhere);
}

}  // namespace packhorse
