// config_groups.<any name> = {targets: [module, "re:expression", class], weights: {...}, input_activations: {...}}, or
// <name of a preset> = [targets].

#include "formats/ct_settings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "formats/ct_act.h"
#include "formats/settings.h"

namespace packhorse::ct {
namespace {

constexpr int64_t kMaxGroupSize = 1 << 30;

// --- presets ---

/// What a group's name alone may say. Sizes of groups of integers have changed between releases: tensors tell them.
constexpr std::pair<std::string_view, std::string_view> kPresets[] = {
    {"fp8", R"({"weights": {"type": "float"}, "input_activations": {"type": "float"}})"},
    {"fp8_dynamic",
     R"({"weights": {"type": "float"}, "input_activations": {"type": "float", "dynamic": true, "strategy": "token"}})"},
    {"fp8_block",
     R"({"weights": {"type": "float", "strategy": "block", "block_structure": [128, 128]},
         "input_activations": {"type": "float", "dynamic": true, "group_size": 128}})"},
    {"int8", R"({"weights": {}, "input_activations": {"dynamic": true, "strategy": "token"}})"},
    {"w4afp8",
     R"({"weights": {"num_bits": 4},
         "input_activations": {"type": "float", "dynamic": true, "strategy": "token"}})"},
    {"nvfp4a16", R"({"weights": {"type": "float", "num_bits": 4, "group_size": 16}})"},
    {"nvfp4",
     R"({"weights": {"type": "float", "num_bits": 4, "group_size": 16},
         "input_activations": {"type": "float", "num_bits": 4, "group_size": 16, "strategy": "tensor_group",
                               "dynamic": "local"}})"},
    {"mxfp4a16", R"({"weights": {"type": "float", "num_bits": 4, "group_size": 32}})"},
    {"mxfp4",
     R"({"weights": {"type": "float", "num_bits": 4, "group_size": 32},
         "input_activations": {"type": "float", "num_bits": 4, "group_size": 32, "dynamic": true}})"},
    {"mxfp4xfp8",
     R"({"weights": {"type": "float", "num_bits": 4, "group_size": 32},
         "input_activations": {"type": "float", "group_size": 128, "dynamic": true}})"},
    {"mxfp6a16", R"({"weights": {"type": "float", "num_bits": 6, "group_size": 32}})"},
    {"mxfp6a8",
     R"({"weights": {"type": "float", "num_bits": 6, "group_size": 32},
         "input_activations": {"type": "float", "group_size": 32, "dynamic": true, "scale_dtype": "torch.uint8"}})"},
    {"mxfp8a16", R"({"weights": {"type": "float", "group_size": 32}})"},
    {"mxfp8",
     R"({"weights": {"type": "float", "group_size": 32},
         "input_activations": {"type": "float", "group_size": 32, "dynamic": true, "scale_dtype": "torch.uint8"}})"},
};

/// "W4A16", "W4A16_ASYM", "W8A8": widths of integer weights and activations.
std::optional<Json> integer_preset(std::string_view name) {
  if (name.size() < 4 || name[0] != 'w' || name[1] < '1' || name[1] > '8' || name[2] != 'a') return std::nullopt;
  Json group = {{"weights", {{"num_bits", name[1] - '0'}}}};
  const std::string_view inputs = name.substr(3);
  if (inputs == "16_asym") group["weights"]["symmetric"] = false;
  if (inputs == "16" || inputs == "16_asym") return group;
  if (inputs != "8" && inputs != "4") return std::nullopt;
  group["input_activations"] = {{"num_bits", inputs[0] - '0'}, {"dynamic", true}, {"strategy", "token"}};
  return group;
}

/// Settings of a group that has nothing but targets.
Json preset_of(const std::string& name, const std::string& where) {
  const std::string key = lower(name);
  if (auto group = integer_preset(key)) return *std::move(group);
  for (const auto& [preset, text] : kPresets) {
    if (preset == key) return Json::parse(text);
  }
  std::string known = "W1A16 to W8A16, W4A16_ASYM, W1A8 to W8A8, W1A4 to W8A4";
  for (const auto& [preset, text] : kPresets) known += fmt::format(", {}", preset);
  fail_model("{}: not the name of a preset (known: {})", where, known);
}

// --- groups ---

std::string_view leaf_of(const Module& module) {
  return std::string_view(module.name).substr(module.name.rfind('.') + 1);
}

bool is_embedding(const Module& module) { return leaf_of(module).find("emb") != std::string_view::npos; }

/// By a part of its class's name: "Linear" stands for every linear layer.
bool targets_class(const std::string& target, const Module& module) {
  const std::string_view kind = is_embedding(module) ? "embedding" : "linear";
  return !target.empty() && kind.find(lower(target)) != kind.npos;
}

/// Targets of a group: its own list, or all that there is of a group which is named after a preset.
std::vector<std::string> targets_of(const Json& group, const std::string& where) {
  const Json* targets = group.is_array() ? &group : find_member(group, "targets");
  const bool is_list = targets && targets->is_array();
  if (!is_list || !std::ranges::all_of(*targets, [](const Json& t) { return t.is_string(); }))
    fail_model("{}.targets: expected a list of names (got {})", where, targets ? preview(*targets) : "nothing");
  return targets->get<std::vector<std::string>>();
}

/// A group for attention says how its caches and queries are quantized, nothing about weights.
bool is_for_attention(const std::vector<std::string>& targets) {
  return targets.size() == 1 && targets[0].ends_with("Attention");
}

/// The first group with a target that names the module, else the first with one that names its class.
std::pair<std::string, const Json*> find_group(const CheckpointView& view, const Module& module) {
  const std::string settings = settings_name(view);
  const Json* groups = find_member(view.quantization_config, "config_groups");
  if (!groups || !groups->is_object())
    fail_model("{}: config_groups: expected an object (got {})", settings, groups ? preview(*groups) : "nothing");
  std::pair<std::string, const Json*> by_class;
  for (const auto& [name, group] : ordered_members(view, "config_groups")) {
    const std::string where = fmt::format("{}: config_groups.{}", settings, printable(name));
    const std::vector<std::string> targets = targets_of(*group, where);
    if (is_for_attention(targets)) continue;
    for (const std::string& target : targets) {
      if (matches_name_or_regex(target, module.name, where + ".targets")) return {name, group};
      if (!by_class.second && targets_class(target, module)) by_class = {name, group};
    }
  }
  if (!by_class.second) {
    fail_model("{}: config_groups: no target fits '{}', which has quantized weights", settings, printable(module.name));
  }
  return by_class;
}

/// [rows, columns] of a block, or "128x128".
std::pair<int64_t, int64_t> block_of(const Json& weights, const std::string& where) {
  const Json* block = find_member(weights, "block_structure");
  Json list = block ? *block : Json();
  if (list.is_string()) {
    const auto text = list.get<std::string>();
    const size_t middle = text.find('x');
    list =
        Json::parse(middle == text.npos ? "" : fmt::format("[{},{}]", text.substr(0, middle), text.substr(middle + 1)),
                    nullptr, false);
  }
  const auto fits = [](const Json& size) { return size.is_number_integer() && size >= 1 && size <= kMaxGroupSize; };
  if (!list.is_array() || list.size() != 2 || !std::ranges::all_of(list, fits))
    fail_model("{}.block_structure: expected two sizes (got {})", where, block ? preview(*block) : "nothing");
  return {list[0].get<int64_t>(), list[1].get<int64_t>()};
}

Scheme weights_of(const Json& group, const std::string& where) {
  const Json* weights = find_member(group, "weights");
  if (!weights || !weights->is_object())
    fail_model("{}: expected an object (got {})", where, weights ? preview(*weights) : "nothing");
  const std::string type = text(*weights, "type", "int", where);
  if (type != "int" && type != "float") fail_model("{}.type: expected int or float (got {})", where, preview(type));
  Scheme out;
  out.is_float = type == "float";
  out.bits = static_cast<int>(whole_number(*weights, "num_bits", 1, 8, 8, where));
  out.symmetric = flag(*weights, "symmetric", true, where);
  out.where = where;
  if (text(*weights, "strategy", "", where) == "block") {
    std::tie(out.block_rows, out.group_size) = block_of(*weights, where);
    return out;
  }
  const Json* size = find_member(*weights, "group_size");
  out.group_size = size && *size == -1 ? 0 : whole_number(*weights, "group_size", 1, kMaxGroupSize, 0, where);
  return out;
}

}  // namespace

Scheme scheme_of(const CheckpointView& view, const Module& module) {
  const auto [name, listed] = find_group(view, module);
  const std::string where = fmt::format("{}: config_groups.{}", settings_name(view), printable(name));
  const bool is_preset = listed->is_array();
  const Json group = is_preset ? preset_of(name, where) : *listed;
  require_off(group, "output_activations", where);
  Scheme scheme = weights_of(group, where + ".weights");
  if (is_preset && !scheme.is_float) scheme.group_size = kAnySize;
  const Json* inputs = find_member(group, "input_activations");
  if (inputs && !is_embedding(module)) scheme.act = act_scheme(*inputs, where + ".input_activations");
  return scheme;
}

namespace {

void check_kv_cache(const Json& scheme, const std::string& where) {
  if (!scheme.is_object()) fail_model("{}: expected an object (got {})", where, preview(scheme));
  const Json wanted = {{"num_bits", 8}, {"type", "float"}, {"symmetric", true}, {"dynamic", false}};
  for (const auto& [key, value] : wanted.items()) {
    const Json* have = find_member(scheme, key);
    if (!have || *have == value) continue;
    fail_model("{}.{}: only static fp8 is supported (got {}, expected {})", where, key, preview(*have), preview(value));
  }
  const Json* type = find_member(scheme, "type");  // without one, integers are meant
  if (!type) fail_model("{}.type: only static fp8 is supported (got nothing, expected \"float\")", where);
  const std::string strategy = text(scheme, "strategy", "tensor", where);
  if (strategy != "tensor" && strategy != "attn_head")
    fail_model("{}.strategy: only one scale per tensor or per head is supported (got {})", where, preview(strategy));
}

/// Rotations of weights are in the weights already; those of inputs, outputs and caches happen at run time.
void check_transforms(const Json& config, const std::string& where) {
  const Json* groups = find_member(config, "config_groups");
  if (!groups) return;
  for (const auto& [name, group] : groups->items()) {
    const Json* applied = find_member(group, "apply");
    if (!applied) continue;
    for (const Json& one : *applied) {
      const std::string path = fmt::format("{}.config_groups.{}.apply", where, printable(name));
      const std::string location = text(one, "location", "", path);
      if (location.starts_with("weight_")) continue;
      fail_model("{}.location: only rotations merged into weights are supported (got {})", path, preview(location));
    }
  }
}

}  // namespace

void check_settings(const CheckpointView& view) {
  const std::string settings = settings_name(view);
  if (const Json* scheme = find_member(view.quantization_config, "kv_cache_scheme"))
    check_kv_cache(*scheme, settings + ": kv_cache_scheme");
  if (const Json* transforms = find_member(view.quantization_config, "transform_config"))
    check_transforms(*transforms, settings + ": transform_config");
}

}  // namespace packhorse::ct
