#include "formats/settings.h"

#include <fnmatch.h>

#include "base/error.h"
#include "base/regex.h"

namespace packhorse {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::string settings_name(const CheckpointView& view) {
  return fmt::format("{}: quantization_config", printable(view.path));
}

std::string quant_method(const CheckpointView& view) {
  const Json* method = find_member(view.quantization_config, "quant_method");
  return method && method->is_string() ? method->get<std::string>() : "";
}

std::vector<std::pair<std::string, const Json*>> ordered_members(const CheckpointView& view, const std::string& key) {
  const Json* object = find_member(view.quantization_config, key);
  if (!object) return {};
  if (!object->is_object())
    fail_model("{}.{}: expected an object (got {})", settings_name(view), key, preview(*object));
  std::vector<std::pair<std::string, const Json*>> members;
  const auto order = view.quantization_order.find(key);
  if (order == view.quantization_order.end()) {
    for (const auto& [name, member] : object->items()) members.emplace_back(name, &member);
    return members;
  }
  for (const std::string& name : order->second) {
    if (const auto member = object->find(name); member != object->end()) members.emplace_back(name, &*member);
  }
  return members;
}

int64_t whole_number(const Json& object, std::string_view key, int64_t low, int64_t high, int64_t missing,
                     const std::string& where) {
  const Json* value = find_member(object, key);
  if (!value) return missing;
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  const int64_t number = fits ? value->get<int64_t>() : 0;
  if (!fits || number < low || number > high)
    fail_model("{}.{}: not a whole number in {}..{} (got {})", where, key, low, high, preview(*value));
  return number;
}

bool flag(const Json& object, std::string_view key, bool missing, const std::string& where) {
  const Json* value = find_member(object, key);
  if (!value) return missing;
  if (!value->is_boolean()) fail_model("{}.{}: expected true or false (got {})", where, key, preview(*value));
  return value->get<bool>();
}

std::string text(const Json& object, std::string_view key, std::string_view missing, const std::string& where) {
  const Json* value = find_member(object, key);
  if (!value) return std::string(missing);
  if (!value->is_string()) fail_model("{}.{}: expected a string (got {})", where, key, preview(*value));
  return value->get<std::string>();
}

void require_off(const Json& object, std::string_view key, const std::string& where) {
  const Json* value = find_member(object, key);
  if (value && !value->empty()) fail_model("{}.{}: not supported yet (got {})", where, key, preview(*value));
}

bool has_components(std::string_view path, std::string_view name) {
  return !name.empty() && fmt::format(".{}.", path).find(fmt::format(".{}.", name)) != std::string::npos;
}

bool matches_name_or_regex(const std::string& pattern, std::string_view path, const std::string& where) {
  if (!pattern.starts_with("re:")) return pattern == path;
  return Regex(std::string_view(pattern).substr(3), where).matches_start_of(path);
}

bool matches_glob(std::string_view pattern, std::string_view path) {
  return ::fnmatch(std::string(pattern).c_str(), std::string(path).c_str(), FNM_NOESCAPE) == 0;
}

}  // namespace packhorse
