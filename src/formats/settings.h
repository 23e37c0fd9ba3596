#pragma once
// Reading quantization settings, and the ways in which tools name modules in them.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/format.h"

namespace packhorse {

/// ASCII letters only.
std::string lower(std::string_view text);

/// "DIR: quantization_config": the begin of messages about the checkpoint's settings.
std::string settings_name(const CheckpointView& view);
/// "gptq"; empty without settings or method.
std::string quant_method(const CheckpointView& view);
/// Members of the object `key` of the settings in the order of the file (by name where that is not known), for rules
/// that are tried in turn; none where it is absent or null. Throws Error{model} when it is no object.
std::vector<std::pair<std::string, const Json*>> ordered_members(const CheckpointView& view, const std::string& key);

// The value under `key`, or `missing` when the key is absent or null. `where` names the object. Error{model} for a
// value of another kind, as "WHERE.KEY: not a whole number in 1..8 (got 9)".
int64_t whole_number(const Json& object, std::string_view key, int64_t low, int64_t high, int64_t missing,
                     const std::string& where);
bool flag(const Json& object, std::string_view key, bool missing, const std::string& where);
std::string text(const Json& object, std::string_view key, std::string_view missing, const std::string& where);
/// Error{model} "not supported yet" when a setting that this build does not know is on.
void require_off(const Json& object, std::string_view key, const std::string& where);

/// Whether `name` is one or some neighbouring components of a dotted path.
bool has_components(std::string_view path, std::string_view name);
/// By name, or by an expression after "re:" that matches the beginning.
bool matches_name_or_regex(const std::string& pattern, std::string_view path, const std::string& where);
/// Shell pattern with * ? and [abc], over the whole of `path` (Python's fnmatch).
bool matches_glob(std::string_view pattern, std::string_view path);

}  // namespace packhorse
