// Checkpoints of GPTQ (AutoGPTQ, GPTQModel, Optimum, Intel Neural Compressor). Layout of the tensors: gptq_words.h.
//
// What the tensors cannot tell, the settings do: "checkpoint_format" (also "format") is
//
//   gptq     (or absent) what stands in qzeros is the zero point - 1
//   gptq_v2  zero points as they are
//   gptq_p   the same; codes of 3, 5, 6 and 7 bits in planes
//   marlin, marlin_24   modules in Marlin's tiles (marlin.cpp); others as gptq
//
// `bits`, `group_size` and `desc_act` hold for all modules save those that a rule of "dynamic" names: {"expression":
// {settings}}, the first whose expression matches the beginning of a module's name. "-:expression" says that a module
// was left as it was, which its tensors say too.

#include <algorithm>

#include "base/error.h"
#include "base/regex.h"
#include "formats/gptq_words.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr std::string_view kMethods[] = {"gptq", "gptq_marlin", "gptq_marlin_24", "auto_gptq", "marlin"};
constexpr std::string_view kAliases[] = {"gptq_marlin", "gptq_marlin_24", "auto_gptq", "cpu_gptq",
                                         "marlin",      "marlin24",       "moe_wna16", "ipex"};
constexpr std::string_view kAlso[] = {"bitblas", "gptq_bitblas", "inc", "humming"};

bool is_bitblas(const Json& settings) {
  const auto says = [&](const char* key, const Json& value) {
    const Json* have = find_member(settings, key);
    return have && *have == value;
  };
  return says("checkpoint_format", "bitblas") || says("format", "bitblas") || says("is_bitblas_format", true);
}

bool is_own(const CheckpointView& view) {
  return std::ranges::find(kMethods, qweight_method(view)) != std::end(kMethods) &&
         !is_bitblas(view.quantization_config);
}

Origin origin(const CheckpointView& view) {
  if (!is_own(view)) return Origin::other;
  if (!quant_method(view).empty()) return Origin::quantized;
  // Settings without a method say little: there must be tensors as well.
  const bool has_words = has_tensor_like(view, ".qweight", DType::i32) || has_tensor_like(view, ".B", DType::i32) ||
                         has_tensor_like(view, ".B_24", DType::i32);
  return has_words ? Origin::quantized : Origin::other;
}

/// The first rule of "dynamic" that names the module, and its own name; no rule when it says that the module is plain,
/// no name when there is none.
std::pair<std::string, const Json*> find_rule(const CheckpointView& view, const Module& module) {
  for (const auto& [key, rule] : ordered_members(view, "dynamic")) {
    const bool negative = key.starts_with("-:");
    const std::string_view expression = std::string_view(key).substr(negative || key.starts_with("+:") ? 2 : 0);
    const std::string name = fmt::format("{}.dynamic.{}", settings_name(view), printable(key));
    if (expression != module.name && !Regex(expression, name).matches_start_of(module.name)) continue;
    if (negative) return {name, nullptr};
    if (!rule->is_object()) fail_model("{}: expected an object (got {})", name, preview(*rule));
    return {name, rule};
  }
  return {};
}

void apply_format(const Json& settings, const std::string& where, GptqWords& words) {
  const std::string key = find_member(settings, "checkpoint_format") ? "checkpoint_format" : "format";
  const std::string format = lower(text(settings, key, "gptq", where));
  words.in_planes = format == "gptq_p";
  words.zeros_less_one = format != "gptq_p" && format != "gptq_v2";
  if (words.zeros_less_one && format != "gptq" && format != "marlin" && format != "marlin_24") {
    fail_model("{}.{}: not supported (got \"{}\", known: gptq, gptq_v2, gptq_p, marlin, marlin_24, bitblas)", where,
               key, printable(format));
  }
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const Json& settings = view.quantization_config;
  const std::string where = settings_name(view);
  GptqWords words{.settings = {0, 0, where}};
  if (settings.is_object()) {
    words.settings = read_word_settings(settings, words.settings, where);
    apply_format(settings, where, words);
    if (const std::string type = text(settings, "pack_dtype", "int32", where); type != "int32")
      fail_model("{}.pack_dtype: only int32 is supported (got \"{}\")", where, printable(type));
    words.needs_g_idx = flag(settings, "desc_act", false, where);
    words.symmetric = flag(settings, "sym", true, where);
  }
  const auto [name, rule] = find_rule(view, module);
  if (!name.empty() && !rule) words.settings = {0, 0, name};  // quantized all the same: nothing is known
  if (rule) {
    words.settings = read_word_settings(*rule, words.settings, name);
    words.needs_g_idx = flag(*rule, "desc_act", words.needs_g_idx, name);
    words.symmetric = flag(*rule, "sym", words.symmetric, name);
  }
  return plan_gptq_words(view, module, words);
}

bool claims(const CheckpointView& view, const Module& module) {
  const TensorInfo* words = view.find(tensor_name(module, "qweight"));
  if (!words) return false;
  if (module.n == 0) return true;  // of unknown shape
  const QweightLayout layout = qweight_layout(view, module);
  // Words of another width, or in shapes of no layout, are this dialect's to refuse where the settings name it.
  return layout == QweightLayout::gptq || (layout == QweightLayout::none && is_own(view));
}

}  // namespace

extern constexpr Format kGptq{
    .name = "gptq", .aliases = kAliases, .also = kAlso, .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
