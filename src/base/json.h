#pragma once
// nlohmann-json with the limits that hostile files need.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace packhorse {

using Json = nlohmann::json;

/// Values (keys not counted) that a document may hold: bounds memory, which is up to about 64 bytes for each of them.
inline constexpr uint64_t kMaxJsonValues = uint64_t{1} << 24;

/// Parses one JSON document. Duplicate keys, nesting beyond `max_depth`, more than `max_values` values, invalid
/// UTF-8, NUL bytes, a byte order mark and trailing text are errors. `source` names the document in messages
/// ("config.json"). Throws Error{model}; syntax errors tell the byte, counted from 0.
Json parse_json(std::string_view text, std::string_view source, int max_depth = 64,
                uint64_t max_values = kMaxJsonValues);

/// The value when it was written as an unsigned integer below 2^64; nothing for -0, 1.0, 1e3, "1", true.
std::optional<uint64_t> as_unsigned(const Json& value);
/// Same, or Error{model} "<what>: not an unsigned integer (got X)".
uint64_t require_unsigned(const Json& value, std::string_view what);

/// Member `key` of `object`; null when absent, when it is JSON null, or when `object` is no object.
const Json* find_member(const Json& object, std::string_view key);

/// Value for an error message: a scalar as JSON text, cut and escaped as `printable` does; "an array of 5" for others.
std::string preview(const Json& value);

}  // namespace packhorse
