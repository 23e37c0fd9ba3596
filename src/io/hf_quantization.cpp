// Where quantization settings stand, in the order that vLLM looks, then the side files of the quantization tools.

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "io/hf_directory.h"

namespace packhorse {
namespace {

constexpr std::string_view kInConfig[] = {"quantization_config", "compression_config"};
constexpr std::string_view kSideFiles[] = {"hf_quant_config.json", "quantize_config.json", "quant_config.json",
                                           "quantization_config.json"};

struct Found {
  Json settings;
  std::string where;
};

std::optional<Found> find_in_config(const Json& config) {
  const Json* text_config = find_member(config, "text_config");
  for (const Json* level : {&config, text_config}) {
    for (const std::string_view key : kInConfig) {
      const Json* settings = level ? find_member(*level, key) : nullptr;
      if (settings) {
        return Found{*settings, fmt::format("config.json: {}{}", level == text_config ? "text_config." : "", key)};
      }
    }
  }
  return std::nullopt;
}

std::optional<Found> find_side_file(const std::string& directory) {
  for (const std::string_view name : kSideFiles) {
    const std::string path = fmt::format("{}/{}", directory, name);
    std::error_code error;
    if (!std::filesystem::exists(path, error)) continue;
    const Json json = read_json_object(path);
    const Json* nested = find_member(json, kInConfig[0]);
    return Found{nested ? *nested : json, std::string(name)};
  }
  return std::nullopt;
}

void normalize_method(Json& settings, std::string_view where) {
  const Json* method = find_member(settings, "quant_method");
  if (!method) return;
  if (!method->is_string()) fail_model("{}: quant_method: expected a string (got {})", where, preview(*method));
  auto name = method->get<std::string>();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  settings["quant_method"] = name == "compressed_tensors" ? "compressed-tensors" : name;
}

}  // namespace

Json find_quantization_config(const Json& config, const std::string& directory) {
  auto found = find_in_config(config);
  if (!found) found = find_side_file(directory);
  if (!found) return nullptr;
  auto& [settings, where] = *found;
  if (!settings.is_object()) fail_model("{}: expected an object (got {})", where, preview(settings));
  normalize_method(settings, where);
  return settings;
}

}  // namespace packhorse
