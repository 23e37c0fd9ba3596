#include "app/cli/text_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace packhorse::cli {

void TextTable::add(std::vector<std::string> cells, std::vector<std::string> notes) {
  widths_.resize(std::max(widths_.size(), cells.size()));
  for (size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], cells[i].size());
  rows_.push_back({std::move(cells), std::move(notes)});
}

std::string TextTable::text() const {
  std::string out;
  for (const Row& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.cells.size(); ++i) line += fmt::format("{:<{}}  ", row.cells[i], widths_[i]);
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    for (const std::string& note : row.notes) out += "    " + note + "\n";
  }
  return out;
}

}  // namespace packhorse::cli
