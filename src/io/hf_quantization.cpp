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
  std::string file;                         // name of the file that has them
  std::vector<std::string_view> path = {};  // of keys, to the object in it
};

std::optional<Found> find_in_config(const Json& config) {
  const Json* text_config = find_member(config, "text_config");
  for (const Json* level : {&config, text_config}) {
    for (const std::string_view key : kInConfig) {
      const Json* settings = level ? find_member(*level, key) : nullptr;
      if (settings) {
        const bool nested = level == text_config;
        Found found{*settings, fmt::format("config.json: {}{}", nested ? "text_config." : "", key), "config.json"};
        if (nested) found.path.push_back("text_config");
        found.path.push_back(key);
        return found;
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
    Found found{nested ? *nested : json, std::string(name), std::string(name)};
    if (nested) found.path.push_back(kInConfig[0]);
    return found;
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

void find_quantization_config(const std::string& directory, CheckpointView& view) {
  auto found = find_in_config(view.config);
  if (!found) found = find_side_file(directory);
  if (!found) return;
  auto& [settings, where, file, path] = *found;
  if (!settings.is_object()) fail_model("{}: expected an object (got {})", where, preview(settings));
  normalize_method(settings, where);
  view.quantization_order = member_order(read_json_text(fmt::format("{}/{}", directory, file)), path);
  view.quantization_config = std::move(settings);
}

}  // namespace packhorse
