// What the user asked for, against what the checkpoint is.

#include <algorithm>

#include "base/error.h"
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
    "bitblas",
    "compressed-tensors",
    "cpu_awq",
    "cpu_gptq",
    "deepseek_v4_fp8",
    "deepspeedfp",
    "experts_int8",
    "fbgemm_fp8",
    "fp8",
    "fp8_per_block",
    "fp8_per_channel",
    "fp8_per_tensor",
    "fp_quant",
    "gpt_oss_mxfp4",
    "gptq",
    "gptq_bitblas",
    "gptq_marlin",
    "gptq_marlin_24",
    "hqq",
    "humming",
    "inc",
    "input_quant_fp8",
    "int8_per_channel_weight_only",
    "ipex",
    "marlin",
    "marlin24",
    "modelopt",
    "modelopt_fp4",
    "modelopt_mixed",
    "modelopt_mxfp8",
    "moe_wna16",
    "mxfp4",
    "mxfp8",
    "neuron_quant",
    "nvfp4_per_token",
    "online",
    "petit_nvfp4",
    "ptpc_fp8",
    "q4_0",
    "q4_1",
    "q5_0",
    "q5_1",
    "q8_0",
    "q2_k",
    "q3_k",
    "q4_k",
    "q5_k",
    "q6_k",
    "qqq",
    "quark",
    "rtn",
    "squeezellm",
    "torchao",
    "tpu_int8",
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

const Format* find_format(std::string_view method) {
  for (const Format* format : formats()) {
    const auto& aliases = format->aliases;
    const bool named = format->name == method || std::find(aliases.begin(), aliases.end(), method) != aliases.end();
    if (named && format->origin) return format;  // plain weights are no method
  }
  return nullptr;
}

std::string supported_methods() {
  std::string out;
  for (const Format* format : formats()) {
    if (format->origin) out += fmt::format("{}{}", out.empty() ? "" : ", ", format->name);
  }
  return out;
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
  fail_model("{}: quantization_config: quant_method: {} is {}; supported: {}", printable(view.path), preview(*method),
             method->is_string() ? unsupported_reason(method->get_ref<const std::string&>()) : "no string",
             supported_methods());
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
    fail(ErrorKind::usage, "load_format '{}' is not supported; supported: auto, safetensors, {}",
         printable(load_format), supported_methods());
  }
  if (format == own.format || format == method) return;
  const std::string instead =
      format->in_flight ? fmt::format(", or plain weights together with quantization='{}'", format->name) : "";
  fail(ErrorKind::usage, "load_format '{}' needs a {} checkpoint{} (got {})", load_format, format->name, instead,
       describe(own));
}

/// Every setting that the user repeats must be the checkpoint's.
void check_agrees(const Json& config, const CheckpointView& view, const Own& own) {
  for (const auto& [key, value] : config.items()) {
    const Json* have = find_member(view.quantization_config, key);
    if (value.is_null() || (have && *have == value)) continue;
    if (key == "quant_method" && value.is_string() && find_format(lower(value.get<std::string>())) == own.format)
      continue;
    fail(ErrorKind::usage,
         "quantization_config: {}: the checkpoint is quantized already, with another value (got {}, the checkpoint has "
         "{})",
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
  if (!named.empty() && named != method) {
    fail(ErrorKind::usage, "quantization '{}' differs from quant_method '{}' of quantization_config", printable(method),
         printable(named));
  }
  return method;
}

QuantizationPlan plan_in_flight(const std::string& method, const Json& config) {
  const Format* format = find_format(method);
  if (!format) {
    fail(ErrorKind::usage, "quantization '{}' is {}; supported: {}", printable(method), unsupported_reason(method),
         supported_methods());
  }
  if (!format->in_flight) {
    fail(ErrorKind::usage,
         "quantization '{}' needs a checkpoint of that format: it cannot be made from plain weights while loading",
         method);
  }
  const std::string what = format->check_in_flight(config);
  return {format, config, fmt::format("{} (in flight: {})", format->name, what)};
}

}  // namespace

QuantizationPlan plan_quantization(const CheckpointView& view, const QuantizationRequest& request) {
  const Json config = request.config.is_null() ? Json::object() : request.config;
  if (!config.is_object())
    fail(ErrorKind::usage, "quantization_config: expected a JSON object (got {})", preview(config));
  const Own own = find_own(view);
  const std::string method = requested_method(request, config);
  const Format* const format = find_format(method);  // null as well where the build lacks it
  if (own.origin == Origin::quantized && !method.empty() && format != own.format) {
    fail(ErrorKind::usage, "quantization '{}' does not match the checkpoint, which is quantized with '{}'",
         printable(method), own.format->name);
  }
  check_load_format(request.load_format, view, own, format);

  if (own.origin == Origin::quantized) {
    check_agrees(config, view, own);
    return {nullptr, nullptr, fmt::format("{} (checkpoint)", own.format->name)};
  }
  if (!method.empty() && (!format || format != own.format)) return plan_in_flight(method, config);
  if (!config.empty())
    fail(ErrorKind::usage, "quantization_config needs quantization: the checkpoint has plain weights");
  return {nullptr, nullptr, "none"};
}

bool has_weight(const CheckpointView& view, const Module& module) {
  return std::ranges::any_of(formats(), [&](const Format* format) { return format->claims(view, module); });
}

WeightPlan plan_weight(const CheckpointView& view, const Module& module, const QuantizationPlan& quantization,
                       bool quantize) {
  for (const Format* format : formats()) {
    if (!format->claims(view, module)) continue;
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
  fail_model("{}: missing tensor '{}' (expected [{}, {}])", printable(view.path), printable(name), module.n, module.k);
}

}  // namespace packhorse
