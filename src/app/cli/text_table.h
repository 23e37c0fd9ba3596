#pragma once
// Columns of text, each as wide as its longest entry.

#include <string>
#include <string_view>
#include <vector>

namespace packhorse::cli {

/// `text` in lines of at most `width` columns, broken at spaces; those after the first are indented.
std::string wrapped(std::string_view text, size_t indent, size_t width = 100);

class TextTable {
 public:
  /// A row, and notes that stand indented below it, wrapped.
  void add(std::vector<std::string> cells, std::vector<std::string> notes = {});
  std::string text() const;

 private:
  struct Row {
    std::vector<std::string> cells, notes;
  };
  std::vector<Row> rows_;
  std::vector<size_t> widths_;
};

}  // namespace packhorse::cli
