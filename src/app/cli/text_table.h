#pragma once
// Columns of text, each as wide as its longest entry.

#include <string>
#include <vector>

namespace packhorse::cli {

/// `text` in lines of at most 100 columns, broken at spaces; those after the first are indented.
std::string wrapped(const std::string& text, size_t indent);

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
