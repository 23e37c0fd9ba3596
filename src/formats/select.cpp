// What the user asked for, against what the checkpoint is.

#include <algorithm>

#include "base/error.h"
#include "formats/settings.h"
#include "formats/source.h"

namespace packhorse {
namespace {

/// Methods that some release of vLLM accepted, and the tools' own names for some: "not supported yet" until a row of
/// the table has the name.
constexpr std::string_view kKnownMethods[] = {
    "aqlm",
    "auto-round",
    "auto_awq",
    "auto_gptq",
    "awq",
    "awq_marlin",
    "awq_triton",
    "compressed-tensors",
    "cpu_awq",
    "cpu_gptq",
    "deepseek_v4_fp8",
    "fbgemm_fp8",
    "fp_quant",
    "gpt_oss_mxfp4",
    "gptq",
    "gptq_marlin",
    "gptq_marlin_24",
    "hqq",
    "humming",
    "input_quant_fp8",
    "ipex",
    "marlin",
    "marlin24",
    "modelopt",
    "modelopt_fp4",
    "modelopt_mixed",
    "modelopt_mxfp8",
    "moe_wna16",
    "neuron_quant",
    "petit_nvfp4",
    "ptpc_fp8",
    "qqq",
    "quark",
    "squeezellm",
    "tpu_int8",
};

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool goes_by(const Format& format, std::string_view method) {
  const bool is_method = format.origin || format.in_flight;  // plain weights are none
  return is_method && (format.name == method || contains(format.aliases, method));
}

/// Whether a user may name this method for a checkpoint in that dialect.
bool accepts(const Format& format, std::string_view method) {
  return goes_by(format, method) || contains(format.also, method);
}

/// The dialect that goes by the name; of several, one that can be made while loading.
const Format* find_format(std::string_view method) {
  const Format* found = nullptr;
  for (const Format* format : formats()) {
    if (goes_by(*format, method) && (!found || (format->in_flight && !found->in_flight))) found = format;
  }
  return found;
}

std::string supported_methods() {
  std::string out;
  for (const Format* format : formats()) {
    if (format->origin || format->in_flight) out += fmt::format("{}{}", out.empty() ? "" : ", ", format->name);
  }
  return out + " (`packhorse inspect --formats` lists all their names)";
}

std::string_view unsupported_reason(std::string_view method) {
  const bool known = std::find(std::begin(kKnownMethods), std::end(kKnownMethods), method) != std::end(kKnownMethods);
  return known ? "not supported yet" : "unknown";
}

/// The dialect that the checkpoint says it is in; null for plain weights in a directory.
struct Own {
  const Format* format = nullptr;
  Origin origin = Origin::other;
};

Own find_own(const CheckpointView& view) {
  for (const Format* format : formats()) {
    const Origin origin = format->origin ? format->origin(view) : Origin::other;
    if (origin != Origin::other) return {format, origin};
  }
  const Json* method = find_member(view.quantization_config, "quant_method");
  if (!method || *method == "") return {};
  if (const Format* format = find_format(quant_method(view)); format && format->in_flight)
    return {format, Origin::to_quantize};
  fail_model("{}: quantization_config: quant_method: {} is {}; supported: {}", printable(view.path), preview(*method),
             method->is_string() ? unsupported_reason(method->get_ref<const std::string&>()) : "no string",
             supported_methods());
}

/// Whether no tensor can be part of a quantized weight.
bool is_plain(const CheckpointView& view) {
  return !view.is_gguf() && std::ranges::all_of(view.tensors, [](const auto& entry) {
    const DType dtype = entry.second.dtype;
    return is_plain_float(dtype) || dtype == DType::i64 || dtype == DType::boolean;
  });
}

std::string describe(const Own& own) {
  return own.origin == Origin::quantized ? fmt::format("a {} checkpoint", own.format->name) : "plain weights";
}

void check_load_format(const std::string& load_format, const CheckpointView& view, const Own& own,
                       const Format* method) {
  if (load_format.empty() || load_format == "auto") return;
  if (load_format == "safetensors") {
    if (view.is_gguf()) fail(ErrorKind::usage, "load_format 'safetensors': {} is a GGUF file", printable(view.path));
    return;
  }
  const Format* format = find_format(load_format);
  if (!format) {
    fail(ErrorKind::usage, "load_format '{}' is not supported; supported: auto, safetensors, gguf, bitsandbytes",
         printable(load_format));
  }
  if (format == own.format || format == method) return;
  const std::string instead =
      format->in_flight ? fmt::format(", or plain weights together with quantization='{}'", load_format) : "";
  fail(ErrorKind::usage, "load_format '{0}' needs a {0} checkpoint{1} (got {2})", load_format, instead, describe(own));
}

/// Every setting that the user repeats must be the checkpoint's.
void check_agrees(const Json& config, const CheckpointView& view, const Own& own) {
  for (const auto& [key, value] : config.items()) {
    const Json* have = find_member(view.quantization_config, key);
    if (value.is_null() || (have && *have == value)) continue;
    if (key == "quant_method" && value.is_string() && accepts(*own.format, lower(value.get<std::string>()))) continue;
    fail(ErrorKind::usage,
         "quantization_config: {}: the checkpoint's own settings say otherwise (got {}, the checkpoint has {})",
         printable(key), preview(value), have ? preview(*have) : "none");
  }
}

/// The method that `quantization`, or else quant_method of `quantization_config`, names; empty = none.
std::string requested_method(const QuantizationRequest& request, const Json& config) {
  const Json* inner = find_member(config, "quant_method");
  if (inner && !inner->is_string())
    fail(ErrorKind::usage, "quantization_config: quant_method: expected a string (got {})", preview(*inner));
  const std::string named = inner ? lower(inner->get<std::string>()) : "", method = lower(request.method);
  if (method.empty()) return named;
  const Format* format = find_format(method);  // BitBLAS's settings name GPTQ
  if (!named.empty() && named != method && !(format && accepts(*format, named))) {
    fail(ErrorKind::usage, "quantization '{}' differs from quant_method '{}' of quantization_config", printable(method),
         printable(named));
  }
  return method;
}

/// A method that no dialect here goes by; `checkpoint` says what the checkpoint is, in brackets, where it matters.
[[noreturn]] void reject_method(const std::string& method, std::string_view checkpoint) {
  fail(ErrorKind::usage, "quantization '{}' is {}{}; supported: {}", printable(method), unsupported_reason(method),
       checkpoint, supported_methods());
}

void check_method(const std::string& method, const CheckpointView& view, const Own& own) {
  if (method.empty() || accepts(*own.format, method)) return;
  // What the checkpoint itself calls its method is right even where several dialects share the name.
  if (method == quant_method(view)) return;
  if (!find_format(method))
    reject_method(method, fmt::format(" (the checkpoint is quantized with '{}')", own.format->name));
  fail(ErrorKind::usage, "quantization '{}' does not match the checkpoint, which is quantized with '{}'",
       printable(method), own.format->name);
}

/// What is wrong with settings is the user's, not the model's.
std::string check_in_flight(const Format& format, const Json& settings) {
  try {
    return format.check_in_flight(settings);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::model) throw;
    throw Error(ErrorKind::usage, e.what());
  }
}

QuantizationPlan plan_in_flight(const std::string& method, const Json& config) {
  const Format* format = find_format(method);
  if (!format) reject_method(method, "");
  if (!format->in_flight) {
    fail(ErrorKind::usage,
         "quantization '{}' needs a checkpoint of that format: it cannot be made from plain weights while loading",
         method);
  }
  Json settings = config;
  settings["quant_method"] = method;
  const std::string what = check_in_flight(*format, settings);
  return {format, std::move(settings), fmt::format("{} (in flight: {})", method, what)};
}

/// By the checkpoint's own settings, which are checked as a user's are.
QuantizationPlan plan_own_in_flight(const CheckpointView& view) {
  try {
    return plan_in_flight(quant_method(view), view.quantization_config);
  } catch (const Error& e) {
    fail_model("{}: {}", printable(view.path), e.what());
  }
}

}  // namespace

QuantizationPlan plan_quantization(const CheckpointView& view, const QuantizationRequest& request) {
  const Json config = request.config.is_null() ? Json::object() : request.config;
  if (!config.is_object())
    fail(ErrorKind::usage, "quantization_config: expected a JSON object (got {})", preview(config));
  const Own own = find_own(view);
  const std::string method = requested_method(request, config);
  const Format* const format = find_format(method);  // null as well where the build lacks it
  bool is_settled = own.origin == Origin::quantized || own.origin == Origin::to_quantize;
  // Settings that were left behind when the weights were made plain: the user asks for the method anew.
  if (own.origin == Origin::quantized && format && format->in_flight && accepts(*own.format, method) && is_plain(view))
    is_settled = false;
  if (is_settled) check_method(method, view, own);
  check_load_format(request.load_format, view, own, format);

  if (is_settled) {
    check_agrees(config, view, own);
    if (own.origin == Origin::to_quantize) return plan_own_in_flight(view);
    return {nullptr, nullptr, fmt::format("{} (checkpoint)", own.format->name)};
  }
  const bool is_own = own.origin == Origin::float_weights && accepts(*own.format, method);
  if (!method.empty() && !is_own) return plan_in_flight(method, config);
  if (!config.empty())
    fail(ErrorKind::usage, "quantization_config needs quantization: the checkpoint has plain weights");
  return {nullptr, nullptr, std::string(kPlainFormat)};
}

bool has_weight(const CheckpointView& view, const Module& module) {
  return std::ranges::any_of(formats(),
                             [&](const Format* format) { return format->claims && format->claims(view, module); });
}

WeightPlan plan_weight(const CheckpointView& view, const Module& module, const QuantizationPlan& quantization,
                       bool quantize) {
  for (const Format* format : formats()) {
    if (!format->claims || !format->claims(view, module)) continue;
    WeightPlan plan = format->plan(view, module);
    if (!quantize || !quantization.in_flight || !is_float(plan.encoding.element)) return plan;
    return quantization.in_flight->in_flight(std::move(plan), module, quantization.config);
  }
  const std::string name = weight_name(module);
  if (const TensorInfo* weight = view.find(name)) {
    fail_model("{}: type {} is not supported yet", view.describe(name), info(weight->dtype).name);
  }
  const std::string prefix = module.source + ".";
  for (auto other = view.tensors.lower_bound(prefix); other != view.tensors.end(); ++other) {
    if (!other->first.starts_with(prefix)) break;
    if (other->first == prefix + "bias") continue;
    fail_model("{}: a weight of a format that is not supported yet (no '{}')", view.describe(other->first),
               printable(name));
  }
  fail_model("{}: missing tensor '{}' (expected [{}{}, {}])", printable(view.path), printable(name),
             module.n_experts ? fmt::format("{}, ", module.n_experts) : "", module.n, module.k);
}

}  // namespace packhorse
