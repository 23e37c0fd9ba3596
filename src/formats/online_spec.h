#pragma once
// What layers of one kind become, by the names that settings have for it.

#include <optional>
#include <string>

#include "base/error.h"
#include "formats/online_scheme.h"

namespace packhorse::online {

/// What happens to the layers of one kind.
struct Spec {
  const RoundingScheme* weight = nullptr;  // null: they stay as they are
  std::string_view activation = {};        // name; empty: activations stay as they are
  ActScheme act = {};
};
/// "mxfp8 weights, mxfp8 activations".
std::string describe(const Spec& spec);

/// One of vLLM's methods that need no other settings. A kind of layers without a spec cannot be asked for by its name.
struct Shorthand {
  std::optional<Spec> linear, moe;
};
/// Without specs when there is none of this name. Throws Error{usage} for one that is known but not supported.
Shorthand find_shorthand(std::string_view name);
/// Their names, with commas.
std::string shorthand_names();

/// The value of `key`, linear or moe: null = base; an object {weight, activation}, over base; the name of a shorthand,
/// of which `slot` is meant, or of a scheme for weights. Throws Error{usage}.
Spec read_spec(const Json& value, const std::string& key, std::optional<Spec> Shorthand::*slot, const Spec& base);

/// Throws Error{usage}: "quantization_config.KEY: WHAT".
template <class... Args>
[[noreturn]] void reject(std::string_view key, fmt::format_string<Args...> what, Args&&... args) {
  fail(ErrorKind::usage, "quantization_config.{}: {}", key, fmt::format(what, std::forward<Args>(args)...));
}

}  // namespace packhorse::online
