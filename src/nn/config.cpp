#include "nn/config.h"

#include <cmath>

#include "base/error.h"

namespace packhorse {

Config Config::from_hf(const Json& config) {
  Config out;
  out.source_ = "config.json";
  const bool nested =
      !config.contains("hidden_size") && config.contains("text_config") && config["text_config"].is_object();
  out.values_ = nested ? config["text_config"] : config;
  if (nested) out.prefix_ = "text_config.";
  return out;
}

Config Config::from_gguf(const Json& metadata, std::string_view file, std::string_view architecture,
                         std::span<const ConfigKey> keys) {
  Config out;
  out.source_ = printable(file);
  out.prefix_ = std::string(architecture) + ".";
  out.gguf_keys_ = keys;
  for (const ConfigKey& key : keys) {
    const auto found = metadata.find(out.prefix_ + std::string(key.gguf));
    if (found != metadata.end()) out.values_[std::string(key.hf)] = *found;
  }
  return out;
}

bool Config::has(std::string_view key) const { return find(key) != nullptr; }

const Json* Config::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() || found->is_null() ? nullptr : &*found;
}

std::string Config::full_name(std::string_view key) const {
  for (const ConfigKey& entry : gguf_keys_) {
    if (entry.hf == key) key = entry.gguf;
  }
  return fmt::format("{}{}", prefix_, key);
}

std::string Config::where(std::string_view key) const { return fmt::format("{}: key '{}'", source_, full_name(key)); }

const Json& Config::require(std::string_view key) const {
  if (const Json* value = find(key)) return *value;
  fail_model("{}: missing key '{}'", source_, full_name(key));
}

int64_t Config::size(std::string_view key, int64_t min, int64_t max) const {
  const Json& value = require(key);
  const bool whole = value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
  if (!whole || value.get<int64_t>() < min || value.get<int64_t>() > max) {
    fail_model("{}: not a whole number in {}..{} (got {})", where(key), min, max, preview(value));
  }
  return value.get<int64_t>();
}

int64_t Config::size_or(std::string_view key, int64_t min, int64_t max, int64_t fallback) const {
  return has(key) ? size(key, min, max) : fallback;
}

double Config::number(std::string_view key, double min, double max) const {
  const Json& value = require(key);
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < min ||
      value.get<double>() > max) {
    fail_model("{}: expected a finite number in {}..{} (got {})", where(key), min, max, preview(value));
  }
  return value.get<double>();
}

double Config::number_or(std::string_view key, double min, double max, double fallback) const {
  return has(key) ? number(key, min, max) : fallback;
}

bool Config::flag_or(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) fail_model("{}: expected true or false (got {})", where(key), preview(*value));
  return value->get<bool>();
}

std::string Config::text_or(std::string_view key, std::string_view fallback) const {
  const Json* value = find(key);
  if (!value) return std::string(fallback);
  if (!value->is_string()) fail_model("{}: expected a string (got {})", where(key), preview(*value));
  return value->get<std::string>();
}

std::optional<Config> Config::section(std::string_view key) const {
  const Json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_object()) fail_model("{}: expected an object (got {})", where(key), preview(*value));
  Config out;
  out.values_ = *value;
  out.source_ = source_;
  out.prefix_ = prefix_ + std::string(key) + ".";
  return out;
}

}  // namespace packhorse
