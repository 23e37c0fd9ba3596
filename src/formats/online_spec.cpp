#include "formats/online_spec.h"

#include <algorithm>

#include "formats/act_schemes.h"

namespace packhorse::online {
namespace {

struct Activation {
  std::string_view name;
  ActScheme act;
};
// A scale per tensor is taken per token, or results would depend on what else is in the batch.
constexpr Activation kActivations[] = {
    {"fp8_per_token", fp8_dynamic()},
    {"fp8_per_tensor_dynamic", fp8_dynamic()},
    {"fp8_per_block_dynamic", fp8_dynamic(128)},
    {"mxfp8", mx_act(ActScheme::Code::fp8, ActScheme::Scale::power_ceil)},
    {"mxfp4", mx_act(ActScheme::Code::e2m1, ActScheme::Scale::power_even)},
};

/// A scheme for weights with the activations that checkpoints of the kind have.
struct Weight {
  std::string_view scheme, activation;
};
constexpr Weight kWeights[] = {
    {"fp8_per_tensor_static", "fp8_per_token"},
    {"fp8_per_channel_static", "fp8_per_token"},
    {"fp8_per_block_static", "fp8_per_block_dynamic"},
    {"mxfp8", "mxfp8"},
};

struct ShorthandRow {
  std::string_view name, scheme;
  bool only_experts = false;
};
constexpr ShorthandRow kShorthands[] = {
    {"fp8", "fp8_per_tensor_static"},
    {"fp8_per_tensor", "fp8_per_tensor_static"},
    {"inc", "fp8_per_tensor_static"},
    {"fp8_per_channel", "fp8_per_channel_static"},
    {"ptpc_fp8", "fp8_per_channel_static"},
    {"fp8_per_block", "fp8_per_block_static"},
    {"mxfp8", "mxfp8"},
    {"mxfp4", "mxfp4"},
    {"int8_per_channel_weight_only", "int8_per_channel_static", true},
    {"experts_int8", "int8_per_channel_static", true},
};

template <class Rows>
std::string names_of(const Rows& rows) {
  std::string out;
  for (const auto& row : rows) out += fmt::format("{}{}", out.empty() ? "" : ", ", row.name);
  return out;
}

void set_activation(Spec& spec, std::string_view name) {
  const auto* found = std::ranges::find(kActivations, name, &Activation::name);
  if (found == std::end(kActivations)) {
    spec.activation = {}, spec.act = {};
    return;
  }
  spec.activation = found->name, spec.act = found->act;
}

/// With the activations that go with it.
Spec spec_of_weight(const RoundingScheme& scheme) {
  Spec spec{.weight = &scheme};
  const auto* usual = std::ranges::find(kWeights, scheme.name, &Weight::scheme);
  if (usual != std::end(kWeights)) set_activation(spec, usual->activation);
  return spec;
}

void reject_unsupported(std::string_view name) {
  if (name != "nvfp4_per_token") return;
  fail(ErrorKind::usage,
       "quantization 'nvfp4_per_token' is not supported: there are no NVFP4 activations with a scale per token here; "
       "mxfp4 makes weights of the same size");
}

const RoundingScheme* read_weight(const Json& value, const std::string& key) {
  if (value.is_null()) return nullptr;
  const std::string name = value.is_string() ? value.get<std::string>() : "";
  reject_unsupported(name);
  const RoundingScheme* scheme = find_rounding_scheme(name);
  if (!scheme) {
    reject(key, "expected one of {}, or null (got {})", rounding_scheme_names(), preview(value));
  }
  return scheme;
}

void read_activation(const Json& value, const std::string& key, Spec& spec) {
  const std::string name = value.is_string() ? value.get<std::string>() : "";
  reject_unsupported(name);
  set_activation(spec, name);
  if (spec.activation.empty() && !value.is_null())
    reject(key, "expected one of {}, or null (got {})", names_of(kActivations), preview(value));
}

/// The object {weight, activation}, over what the method itself says.
Spec read_spec_object(const Json& value, const std::string& key, Spec spec) {
  for (const auto& [member, unused] : value.items()) {
    if (member != "weight" && member != "activation")
      reject(key, "expected weight and activation alone (got '{}')", printable(member));
  }
  if (const auto weight = value.find("weight"); weight != value.end()) {
    const RoundingScheme* scheme = read_weight(*weight, key + ".weight");
    spec = scheme ? spec_of_weight(*scheme) : Spec{};
  }
  const auto activation = value.find("activation");
  if (activation == value.end()) return spec;
  if (!spec.weight && !activation->is_null()) reject(key, "an activation needs a weight beside it");
  read_activation(*activation, key + ".activation", spec);
  return spec;
}

}  // namespace

std::string describe(const Spec& spec) {
  if (!spec.weight) return "as they are";
  return fmt::format("{} weights, {} activations", spec.weight->name,
                     spec.activation.empty() ? "unchanged" : spec.activation);
}

Shorthand find_shorthand(std::string_view name) {
  reject_unsupported(name);
  const auto* row = std::ranges::find(kShorthands, name, &ShorthandRow::name);
  if (row == std::end(kShorthands)) return {};
  const Spec spec = spec_of_weight(*find_rounding_scheme(row->scheme));
  return {row->only_experts ? std::nullopt : std::optional(spec), spec};
}

std::string shorthand_names() { return names_of(kShorthands); }

Spec read_spec(const Json& value, const std::string& key, std::optional<Spec> Shorthand::*slot, const Spec& base) {
  if (value.is_null()) return base;
  if (value.is_object()) return read_spec_object(value, key, base);
  const std::string name = value.is_string() ? value.get<std::string>() : "";
  const Shorthand shorthand = find_shorthand(name);
  if (shorthand.*slot) return *(shorthand.*slot);
  if (shorthand.moe) reject(key, "'{}' is for experts alone", name);
  if (const RoundingScheme* scheme = find_rounding_scheme(name)) return spec_of_weight(*scheme);
  reject(key, "expected an object with weight and activation, or one of {}, {} (got {})", names_of(kShorthands),
         rounding_scheme_names(), preview(value));
}

}  // namespace packhorse::online
