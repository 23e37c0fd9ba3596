#pragma once
// Finds stop strings in text that arrives in pieces, in time linear in the text whatever the strings are
// (Aho-Corasick).

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace packhorse {

/// The automaton of a set of non-empty strings. States are numbers; a text starts in state 0.
class StopStrings {
 public:
  explicit StopStrings(const std::vector<std::string>& strings);

  int32_t advance(int32_t state, char byte) const;
  /// Index of the string that ends here (the first in the list, when several do), or -1.
  int32_t match(int32_t state) const { return nodes_[static_cast<size_t>(state)].match; }
  /// Length of a string, by index.
  size_t n_bytes(int32_t index) const { return n_bytes_[static_cast<size_t>(index)]; }
  /// Length of the longest end of the text that begins one of the strings.
  size_t n_pending(int32_t state) const { return nodes_[static_cast<size_t>(state)].depth; }

 private:
  struct Node {
    std::map<char, int32_t> next;
    int32_t fallback = 0;  // state of the longest proper suffix
    int32_t match = -1;
    size_t depth = 0;
  };
  void add(const std::string& text, int32_t index);
  void link();
  std::vector<Node> nodes_;
  std::vector<size_t> n_bytes_;  // of each string
};

}  // namespace packhorse
