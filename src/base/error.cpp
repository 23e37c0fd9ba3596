#include "base/error.h"

#include "base/utf8.h"

namespace packhorse {

std::string printable(std::string_view text, size_t max_bytes) {
  std::string out;
  const std::string_view kept = text.substr(0, max_bytes);
  for (size_t i = 0; i < kept.size();) {
    const Utf8Char c = decode_utf8(kept.substr(i));
    const bool plain = c.valid && c.code_point >= 0x20 && c.code_point != 0x7f && c.code_point != '\'' &&
                       !(c.code_point >= 0x80 && c.code_point < 0xa0);
    for (size_t j = 0; j < c.n_bytes; ++j) {
      const auto byte = static_cast<unsigned char>(kept[i + j]);
      if (plain)
        out.push_back(static_cast<char>(byte));
      else
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    }
    i += c.n_bytes;
  }
  if (kept.size() < text.size()) out += "...";
  return out;
}

int exit_status(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::usage:
    case ErrorKind::request:
      return 2;
    case ErrorKind::model:
      return 3;
    case ErrorKind::resource:
      return 4;
    case ErrorKind::io:
      return 5;
    case ErrorKind::internal:
      break;
  }
  return 1;
}

}  // namespace packhorse
