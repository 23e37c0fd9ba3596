#pragma once
// Suggestions for words that nobody knows.

#include <string>
#include <string_view>
#include <vector>

namespace packhorse::cli {

/// Of `known`, the one that begins with `word` or is few edits away from it; empty when nothing is near.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace packhorse::cli
