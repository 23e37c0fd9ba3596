#pragma once
// Settings of the methods that vLLM calls online: which rounding scheme and activations each module gets.

#include <string>
#include <vector>

#include "formats/online_spec.h"

namespace packhorse::online {

struct Target {
  std::string pattern, shorthand;
  Shorthand specs;
};

struct Settings {
  Spec linear, moe;
  std::vector<std::string> ignore = {};
  std::vector<Target> targets = {};  // when there are some, modules that none of them names stay as they are
};

/// `config` names the method in quant_method. Throws Error{usage}, or Error{model} as the readers of settings.h do.
Settings parse_settings(const Json& config);
/// "fp8_per_tensor_static weights, fp8_per_token activations".
std::string describe(const Settings& settings);
/// What the module gets. Throws Error{usage} when the settings contradict themselves about it.
Spec spec_of(const Settings& settings, const Module& module);

}  // namespace packhorse::online
