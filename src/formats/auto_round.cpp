// Checkpoints of AutoRound, also under the name of Intel Neural Compressor ("inc"), with integer weights. A module's
// tensors are GPTQ's or AWQ's (gptq_words.h, awq_words.h), as its shapes say; "packing_format" says what their zero
// points are:
//
//   auto_round:auto_gptq (or absent)             GPTQ's words, qzeros are the zero points - 1
//   auto_round:auto_awq                          AWQ's words
//   auto_round:gptqmodel, auto_round, any other  GPTQ's words, zero points as they are
//
// `bits` and `group_size` hold for all modules save those in "extra_config": {name or expression: {settings}}. By name
// (in full, or its last parts) comes before expressions, which may match anywhere. Modules of 16 bits are plain.

#include "formats/auto_round.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/regex.h"
#include "formats/awq_words.h"
#include "formats/gptq_words.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr std::string_view kName = "auto-round";
constexpr std::string_view kAliases[] = {"intel/auto-round", "auto_round", "inc"};
constexpr std::string_view kAlso[] = {"humming"};
constexpr int64_t kPlainBits = 16;

bool is_own(const CheckpointView& view) { return is_auto_round(qweight_method(view)); }

Origin origin(const CheckpointView& view) {
  if (!is_own(view)) return Origin::other;
  const bool is_named = !quant_method(view).empty();
  return is_named || has_tensor_like(view, ".qweight", DType::i32) ? Origin::quantized : Origin::other;
}

bool claims(const CheckpointView& view, const Module& module) {
  return view.find(tensor_name(module, "qweight")) && is_own(view);
}

bool is_expression(std::string_view key) { return key.find_first_of("*+?^$()[]{}|\\") != key.npos; }

/// The settings of extra_config for a module, and their name; null when it has none.
std::pair<std::string, const Json*> find_extra(const CheckpointView& view, const Module& module) {
  const auto members = ordered_members(view, "extra_config");
  const auto name_of = [&](const std::string& key) {
    return fmt::format("{}.extra_config.{}", settings_name(view), printable(key));
  };
  const auto is_exact = [&](const std::string& key) { return key == module.name || key == "model." + module.name; };
  const auto is_end = [&](const std::string& key) { return !key.empty() && module.name.ends_with("." + key); };
  const auto is_matched = [&](const std::string& key) {
    return is_expression(key) && Regex(fmt::format(".*?(?:{})", key), name_of(key)).matches_start_of(module.name);
  };
  using Test = std::function<bool(const std::string&)>;
  for (const Test& fits : {Test(is_exact), Test(is_end), Test(is_matched)}) {
    for (const auto& [key, value] : members) {
      if (!fits(key)) continue;
      if (!value->is_object()) fail_model("{}: expected an object (got {})", name_of(key), preview(*value));
      return {name_of(key), value};
    }
  }
  return {};
}

/// What the settings say about a module's words.
GptqWords words_of(const CheckpointView& view, const Module& module) {
  const std::string where = settings_name(view);
  const Json& settings = view.quantization_config;
  require_off(settings, "rotation_config", where);
  const Json* size = find_member(settings, "group_size");
  const bool in_blocks = size && size->is_array();  // of rows and columns: the settings of other modules, in FP8
  GptqWords words{
      .settings = in_blocks ? WordSettings{0, 0, where} : read_word_settings(settings, {0, 0, where}, where),
      .symmetric = flag(settings, "sym", true, where)};
  const auto [name, extra] = find_extra(view, module);
  if (!extra) return words;
  require_off(*extra, "rotation_config", name);
  words.symmetric = flag(*extra, "sym", words.symmetric, name);
  const Json* bits = find_member(*extra, "bits");
  const bool plain = bits && bits->is_number_integer() && *bits >= kPlainBits;
  words.settings = plain ? WordSettings{0, 0, name}  // quantized all the same: nothing is known
                         : read_word_settings(*extra, words.settings, name);
  return words;
}

/// "packing_format"; old releases wrote its value into "backend".
std::string packing_of(const CheckpointView& view) {
  const std::string where = settings_name(view), backend = lower(text(view.quantization_config, "backend", "", where));
  const bool is_packing = backend.starts_with("autoround:") || backend.starts_with("auto_round:");
  return lower(text(view.quantization_config, "packing_format", is_packing ? backend : "auto_round:auto_gptq", where));
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  GptqWords words = words_of(view, module);
  for (const char* part : {"act_scales", "w_bf16_to_fp8_scale"}) {
    if (const std::string name = tensor_name(module, part); view.find(name))
      fail_model("{}: 4-bit weights with FP8 activations are not supported", view.describe(name));
  }
  const std::string packing = packing_of(view);
  const QweightLayout layout = qweight_layout(view, module);
  const bool in_awq =
      layout == QweightLayout::none ? packing.find("awq") != packing.npos : layout != QweightLayout::gptq;
  if (in_awq) return plan_awq_words(view, module, layout, words.settings);
  words.zeros_less_one = packing.find("gptq") != packing.npos && packing.find("gptqmodel") == packing.npos;
  return plan_gptq_words(view, module, words);
}

}  // namespace

bool is_auto_round(std::string_view quant_method) {
  return quant_method == kName || std::ranges::find(kAliases, quant_method) != std::end(kAliases);
}

extern constexpr Format kAutoRound{
    .name = kName, .aliases = kAliases, .also = kAlso, .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
