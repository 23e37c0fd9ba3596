#include "app/cli/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace packhorse::cli {
namespace {

/// Levenshtein distance.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_word(std::string_view word, const std::vector<std::string>& known) {
  constexpr size_t kPrefix = 2;  // shorter ones begin too many words
  std::string nearest;
  size_t best = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    if (word.size() >= kPrefix && candidate.starts_with(word)) return candidate;
    if (const size_t distance = edit_distance(word, candidate); distance < best) best = distance, nearest = candidate;
  }
  return nearest;
}

}  // namespace packhorse::cli
