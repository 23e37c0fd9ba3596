#pragma once
// Columns of text, each as wide as its longest entry.

#include <string>
#include <vector>

namespace packhorse::cli {

class TextTable {
 public:
  /// A row, and lines that stand indented below it.
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
