#include "text/jinja/chars.h"

#include <string.h>
#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace packhorse::jinja {
namespace {

bool is_continuation(char c) noexcept { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

utf8proc_category_t category(uint32_t code_point) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

uint32_t upper_of(uint32_t c) noexcept {
  return static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}
uint32_t lower_of(uint32_t c) noexcept {
  return static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

constexpr uint32_t kSharpS = 0xdf;  // the one common letter whose capital is two letters

void append_upper(std::string& out, uint32_t c) {
  if (c == kSharpS)
    out += "SS";
  else
    append_utf8(out, upper_of(c));
}
/// At the start of a word.
void append_title(std::string& out, uint32_t c) {
  if (c == kSharpS)
    out += "Ss";
  else
    append_utf8(out, upper_of(c));
}

template <class Append>
std::string map_chars(std::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    append(out, c.code_point);
    text.remove_prefix(c.n_bytes);
  }
  return out;
}

template <class Drop>
std::string_view strip_if(std::string_view text, Side side, Drop drop) {
  const auto has = [&](Side s) { return (static_cast<int>(side) & static_cast<int>(s)) != 0; };
  while (has(Side::left) && !text.empty()) {
    const Utf8Char c = decode_utf8(text);
    if (!drop(c.code_point)) break;
    text.remove_prefix(c.n_bytes);
  }
  while (has(Side::right) && !text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && is_continuation(text[start])) --start;
    if (!drop(decode_utf8(text.substr(start)).code_point)) break;
    text = text.substr(0, start);
  }
  return text;
}

}  // namespace

size_t count_chars(std::string_view text) noexcept {
  size_t n = 0;
  for (const char c : text) n += !is_continuation(c);
  return n;
}

size_t char_offset(std::string_view text, size_t n) noexcept {
  size_t offset = 0;
  for (; offset < text.size(); ++offset) {
    if (is_continuation(text[offset])) continue;
    if (n-- == 0) break;
  }
  return offset;
}

std::vector<std::string_view> split_chars(std::string_view text) {
  std::vector<std::string_view> chars;
  while (!text.empty()) {
    const size_t n_bytes = decode_utf8(text).n_bytes;
    chars.push_back(text.substr(0, n_bytes));
    text.remove_prefix(n_bytes);
  }
  return chars;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  const auto ends_line = [](uint32_t c) {
    return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
  };
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    const size_t line_end = i;
    i += c.n_bytes;
    if (!ends_line(c.code_point)) continue;
    if (c.code_point == '\r' && i < text.size() && text[i] == '\n') ++i;
    lines.push_back(text.substr(start, (keep_ends ? i : line_end) - start));
    start = i;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

bool is_space(uint32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_printable(uint32_t c) noexcept {
  if (c < 0x80) return c >= 0x20 && c != 0x7f;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

bool is_letter(uint32_t c) noexcept {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(uint32_t c) noexcept { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_numeric(uint32_t c) noexcept {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

bool is_word_char(uint32_t c) noexcept {
  if (c < 0x80) return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_NO;
}

std::string_view strip_space(std::string_view text, Side side) noexcept { return strip_if(text, side, is_space); }

std::string_view strip_chars(std::string_view text, std::string_view set, Side side) {
  std::vector<uint32_t> dropped;
  for (const std::string_view c : split_chars(set)) dropped.push_back(decode_utf8(c).code_point);
  std::sort(dropped.begin(), dropped.end());
  return strip_if(text, side, [&](uint32_t c) { return std::binary_search(dropped.begin(), dropped.end(), c); });
}

std::string to_upper(std::string_view text) { return map_chars(text, append_upper); }

std::string to_lower(std::string_view text) {
  return map_chars(text, [](std::string& out, uint32_t c) { append_utf8(out, lower_of(c)); });
}

std::string capitalize(std::string_view text) {
  bool first = true;
  return map_chars(text, [&](std::string& out, uint32_t c) {
    if (std::exchange(first, false))
      append_title(out, c);
    else
      append_utf8(out, lower_of(c));
  });
}

std::string title_words(std::string_view text) {
  bool in_word = false;
  return map_chars(text, [&](std::string& out, uint32_t c) {
    if (in_word)
      append_utf8(out, lower_of(c));
    else
      append_title(out, c);
    in_word = is_letter(c);
  });
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

size_t find_text(std::string_view text, std::string_view needle, size_t from) noexcept {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  // memmem: std::string_view::find is quadratic on texts such as "aaaa...ab".
  const void* hit = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return hit ? static_cast<size_t>(static_cast<const char*>(hit) - text.data()) : std::string_view::npos;
}

}  // namespace packhorse::jinja
