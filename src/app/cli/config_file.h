#pragma once
// The configuration file of `packhorse serve`: YAML, one flag per line.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse::cli {

/// One entry: the flag's name with dashes, and its values as texts: one, or those of a list. A mapping is one JSON
/// text, and so is a list that holds more than texts.
struct ConfigEntry {
  enum class Kind : uint8_t { text, list, mapping, nested_list };
  std::string name;
  Kind kind = Kind::text;
  std::vector<std::string> values;
};

/// Reads a mapping of flag names, in either spelling. Throws Error{io} for a file that cannot be read and Error{usage}
/// for one that is too large, no YAML, or uses aliases, and for entries that stand twice.
std::vector<ConfigEntry> read_config_file(const std::string& path);
/// The same of a text; `name` is the file's in errors.
std::vector<ConfigEntry> parse_config(std::string_view text, const std::string& name);

}  // namespace packhorse::cli
