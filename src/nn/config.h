#pragma once
// A model's settings under their Hugging Face names, whatever container they came from, read with ranges.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace packhorse {

/// An entry of a table that translates GGUF metadata: "{arch}.block_count" is called "num_hidden_layers" here.
struct ConfigKey {
  std::string_view hf;
  std::string_view gguf;  // without the architecture prefix
};

/// Read-only settings. Every error names the key as the file has it, the value and what is allowed.
class Config {
 public:
  /// config.json of a directory (`text_config` inside it when the sizes are there).
  static Config from_hf(const Json& config);
  /// Metadata of the GGUF file `file` through the architecture's table.
  static Config from_gguf(const Json& metadata, std::string_view file, std::string_view architecture,
                          std::span<const ConfigKey> keys);

  bool has(std::string_view key) const;
  const Json* find(std::string_view key) const;
  int64_t size(std::string_view key, int64_t min, int64_t max) const;
  int64_t size_or(std::string_view key, int64_t min, int64_t max, int64_t fallback) const;
  double number(std::string_view key, double min, double max) const;
  double number_or(std::string_view key, double min, double max, double fallback) const;
  bool flag_or(std::string_view key, bool fallback) const;
  std::string text_or(std::string_view key, std::string_view fallback) const;
  /// The object under `key` as settings of its own; null values and absence give nothing.
  std::optional<Config> section(std::string_view key) const;
  /// "config.json: key 'rope_scaling.factor'": for messages about a key.
  std::string where(std::string_view key) const;
  /// Throws Error{model} about a key.
  template <class... Args>
  [[noreturn]] void reject(std::string_view key, fmt::format_string<Args...> format, Args&&... args) const {
    fail_model("{}: {}", where(key), fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  /// Name of a key as the file has it.
  std::string full_name(std::string_view key) const;
  const Json& require(std::string_view key) const;

  Json values_ = Json::object();
  std::string source_;  // file name, printable
  std::string prefix_;  // of keys in messages
  std::span<const ConfigKey> gguf_keys_;
};

}  // namespace packhorse
