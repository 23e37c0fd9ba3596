#pragma once
// Text of HTTP messages: ASCII whatever the locale says.

#include <algorithm>
#include <string_view>

namespace packhorse::server {

constexpr char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

inline bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return ascii_lower(x) == ascii_lower(y); });
}

constexpr bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

/// Calls `use` for each element of a comma-separated list, without the spaces around it.
template <class Use>
void for_each_element(std::string_view list, Use&& use) {
  while (!list.empty()) {
    std::string_view element = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), element.size() + 1));
    const size_t first = element.find_first_not_of(" \t");
    if (first == std::string_view::npos) continue;
    use(element.substr(first, element.find_last_not_of(" \t") + 1 - first));
  }
}

}  // namespace packhorse::server
