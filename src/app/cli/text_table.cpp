#include "app/cli/text_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace packhorse::cli {

std::string wrapped(std::string_view text, size_t indent, size_t width) {
  std::string out;
  for (size_t begin = 0, room = width; begin < text.size(); room = width - indent) {
    size_t end = text.size();
    if (end - begin > room) {
      const size_t space = text.rfind(' ', begin + room);
      end = space != text.npos && space > begin ? space : std::min(text.find(' ', begin + room), text.size());
    }
    out += fmt::format("{}{}", begin ? fmt::format("\n{:{}}", "", indent) : "", text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

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
    for (const std::string& note : row.notes) out += "    " + wrapped(note, 6) + "\n";
  }
  return out;
}

}  // namespace packhorse::cli
