#pragma once
// Looks for fixed texts in a stream of bytes.

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse::server {

/// Holds back what may still become a marker, and no more. Of markers that begin alike the shorter one is found.
class MarkerMatcher {
 public:
  explicit MarkerMatcher(std::vector<std::string_view> markers);

  /// One more byte. Appends to `text` what is now known to be no part of a marker; returns the number of the marker
  /// that ends with this byte, or -1.
  int feed(char c, std::string& text);
  /// What is held back, at the end of the text; the matcher is empty then.
  std::string take();
  bool holds() const { return !held_.empty(); }

 private:
  enum class Match { none, prefix, whole };
  Match match_held(int& which) const;

  std::vector<std::string_view> markers_;
  std::array<bool, 256> begins_{};
  std::string held_;
};

}  // namespace packhorse::server
