#pragma once
// Numbers out of strings, as Python's int() and float() read them.

#include <cstdint>
#include <optional>
#include <string_view>

namespace packhorse::jinja {

/// Sign, prefix of base 2, 8 and 16 (any of them for base 0), single underscores between digits. Nothing when it is no
/// number or does not fit.
std::optional<int64_t> parse_integer(std::string_view text, int base);
std::optional<double> parse_real(std::string_view text);

}  // namespace packhorse::jinja
