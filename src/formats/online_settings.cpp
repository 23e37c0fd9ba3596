// Of quantization_config:
//
//   linear, moe    {"weight": NAME, "activation": NAME}, or the name of a shorthand or of a scheme for weights: what
//                  linear layers and experts become; null weights stay as they are, null activations too. A key that
//                  is left out has the shorthand's value, or what goes with the weight's scheme
//   ignore         modules that stay as they are; ignored_layers and modules_to_not_convert say the same
//   targets        {module: shorthand}, instead of linear and moe
//
// A module is named by whole components of its path ("layers.0.mlp", "down_proj"), a shell pattern over the path, or a
// regular expression after "re:" that matches the beginning; of an expert also the path of all experts will do.

#include "formats/online_settings.h"

#include <algorithm>

#include "base/error.h"
#include "formats/settings.h"

namespace packhorse::online {
namespace {

constexpr std::string_view kWhere = "quantization_config";
constexpr std::string_view kExperts = ".experts";

/// Throws Error{model} for what is no regular expression.
void check_pattern(const std::string& pattern) { matches_name_or_regex(pattern, "", std::string(kWhere)); }

void read_names(const Json& config, const std::string& key, std::vector<std::string>& out) {
  const Json* names = find_member(config, key);
  if (!names) return;
  if (!names->is_array()) reject(key, "expected a list of names (got {})", preview(*names));
  for (const Json& name : *names) {
    if (!name.is_string()) reject(key, "expected a list of names (got {})", preview(name));
    out.push_back(name.get<std::string>());
    check_pattern(out.back());
  }
}

std::vector<Target> read_targets(const Json& config) {
  const Json* targets = find_member(config, "targets");
  if (!targets) return {};
  if (find_member(config, "linear") || find_member(config, "moe"))
    reject("targets", "goes without linear and moe, which would say the same in another way");
  if (!targets->is_object() || targets->empty())
    reject("targets", "expected an object of names and shorthands (got {})", preview(*targets));
  std::vector<Target> out;
  for (const auto& [pattern, value] : targets->items()) {
    const std::string name = value.is_string() ? value.get<std::string>() : "";
    Shorthand specs = find_shorthand(name);
    if (!specs.moe) {
      reject("targets", "'{}': expected one of {} (got {})", printable(pattern), shorthand_names(), preview(value));
    }
    check_pattern(pattern);
    out.push_back({pattern, name, specs});
  }
  return out;
}

void check_keys(const Json& config, const std::string& method, const Spec& base) {
  const bool is_fp8 = base.act.code == ActScheme::Code::fp8;
  for (const auto& [key, value] : config.items()) {
    const auto is_one_of = [&key = key](auto... names) { return ((key == names) || ...); };
    if (is_one_of("quant_method", "linear", "moe", "ignore", "ignored_layers", "modules_to_not_convert")) continue;
    if (key == "targets" && method == "online") continue;
    if (key == "activation_scheme" && is_fp8) {
      if (value != "dynamic") reject(key, "only \"dynamic\" works without calibration (got {})", preview(value));
      continue;
    }
    if (key == "targets") reject(key, "goes together with quantization 'online' (got '{}')", method);
    fail(ErrorKind::usage, "{}: {} has no setting '{}'", kWhere, method, printable(key));
  }
}

bool names_module(const std::string& pattern, const Module& module) {
  const auto matches = [&](std::string_view path) {
    if (pattern.starts_with("re:")) return matches_name_or_regex(pattern, path, std::string(kWhere));
    return has_components(path, pattern) || matches_glob(pattern, path);
  };
  if (matches(module.name)) return true;
  const size_t experts = module.name.find(fmt::format("{}.", kExperts));
  return experts != std::string::npos && matches(std::string_view(module.name).substr(0, experts + kExperts.size()));
}

Spec target_of(const Settings& settings, const Module& module, bool is_ignored) {
  const Target* found = nullptr;
  for (const Target& target : settings.targets) {
    if (!names_module(target.pattern, module)) continue;
    const std::string other = found ? fmt::format("'{}'", printable(found->pattern)) : is_ignored ? "ignore" : "";
    if (!other.empty())
      reject("targets", "'{}' and {} both name module '{}'", printable(target.pattern), other, printable(module.name));
    found = &target;
  }
  if (!found) return {};
  const std::optional<Spec>& spec = is_expert(module) ? found->specs.moe : found->specs.linear;
  if (!spec) {
    reject("targets", "'{}': '{}' is for experts alone, module '{}' is none", printable(found->pattern),
           found->shorthand, printable(module.name));
  }
  return *spec;
}

}  // namespace

Settings parse_settings(const Json& config) {
  const std::string method = config.at("quant_method").get<std::string>();
  const Shorthand base = find_shorthand(method);
  Settings settings{.linear = base.linear.value_or(Spec{}), .moe = base.moe.value_or(Spec{})};
  check_keys(config, method, settings.moe);
  settings.targets = read_targets(config);
  settings.linear = read_spec(config.value("linear", Json()), "linear", &Shorthand::linear, settings.linear);
  settings.moe = read_spec(config.value("moe", Json()), "moe", &Shorthand::moe, settings.moe);
  for (const char* key : {"ignore", "ignored_layers", "modules_to_not_convert"})
    read_names(config, key, settings.ignore);
  if (settings.targets.empty() && !settings.linear.weight && !settings.moe.weight) {
    fail(ErrorKind::usage,
         "quantization '{}' needs a quantization_config that says what to quantize, such as "
         "{{\"linear\": \"fp8_per_channel\", \"moe\": \"mxfp4\"}}",
         method);
  }
  return settings;
}

std::string describe(const Settings& settings) {
  if (!settings.targets.empty()) {
    std::string out;
    for (const Target& target : settings.targets)
      out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", printable(target.pattern), target.shorthand);
    return out;
  }
  const std::string linear = describe(settings.linear), moe = describe(settings.moe);
  return linear == moe ? linear : fmt::format("linear layers: {}; experts: {}", linear, moe);
}

Spec spec_of(const Settings& settings, const Module& module) {
  const bool is_ignored = std::ranges::any_of(settings.ignore, [&](const auto& n) { return names_module(n, module); });
  if (!settings.targets.empty()) return target_of(settings, module, is_ignored);
  return is_ignored ? Spec{} : is_expert(module) ? settings.moe : settings.linear;
}

}  // namespace packhorse::online
