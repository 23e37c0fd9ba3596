#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "base/utf8.h"

namespace packhorse {
namespace {

constexpr CharClass ascii_class(uint32_t c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return CharClass::letter;
  if (c >= '0' && c <= '9') return CharClass::number;
  if (c == ' ' || (c >= '\t' && c <= '\r')) return CharClass::space;
  return CharClass::other;
}
constexpr auto kAsciiClasses = [] {
  std::array<CharClass, 128> classes{};
  for (uint32_t c = 0; c < 128; ++c) classes[c] = ascii_class(c);
  return classes;
}();

/// The White_Space property outside ASCII.
bool is_wide_space(uint32_t c) {
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
         c == 0x202f || c == 0x205f || c == 0x3000;
}

utf8proc_category_t category(uint32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
bool is_mark(utf8proc_category_t c) { return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME; }

template <class F>
void for_each_char(std::string_view text, F&& f) {
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    f(c.code_point);
    text.remove_prefix(c.n_bytes);
  }
}

/// Canonical order: each run of characters with a combining class is sorted by it, ties as they stand. The library's
/// own loop moves a mark one place at a time, which takes quadratic time on a long run.
void order_marks(std::vector<utf8proc_int32_t>& chars) {
  const auto combining = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto begin = chars.begin(); begin != chars.end();) {
    if (combining(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, chars.end(), [&](auto c) { return combining(c) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return combining(a) < combining(b); });
    begin = end;
  }
}

std::vector<utf8proc_int32_t> decompose(std::string_view text, int options) {
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  for_each_char(text, [&](uint32_t c) {
    std::array<utf8proc_int32_t, 32> parts;  // the longest compatibility decomposition has 18
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), parts.size(),
                                           static_cast<utf8proc_option_t>(options), nullptr);
    if (n > 0 && n <= static_cast<utf8proc_ssize_t>(parts.size())) {
      chars.insert(chars.end(), parts.begin(), parts.begin() + n);
    } else {
      chars.push_back(static_cast<utf8proc_int32_t>(c));
    }
  });
  order_marks(chars);
  return chars;
}

/// No character below U+0300 combines or has a canonical composition to undo under NFC; below U+0080 nothing ever
/// changes under any form.
bool is_unchanged_by(std::string_view text, NormalForm form) {
  const unsigned char first_affected = form == NormalForm::nfc ? 0xcc : 0x80;
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return static_cast<unsigned char>(c) < 0x80 || static_cast<unsigned char>(c) < first_affected;
  });
}

}  // namespace

CharClass char_class(uint32_t c) noexcept {
  if (c < 128) return kAsciiClasses[c];
  if (is_wide_space(c)) return CharClass::space;
  const auto kind = category(c);
  if (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) return CharClass::letter;
  if (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO) return CharClass::number;
  return CharClass::other;
}

bool is_word_char(uint32_t c) noexcept {
  if (c < 128) return kAsciiClasses[c] == CharClass::letter || kAsciiClasses[c] == CharClass::number || c == '_';
  const auto kind = category(c);
  return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) || is_mark(kind) ||
         kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_PC;
}

LastChar last_char(std::string_view text) noexcept {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) --begin;
  return {decode_utf8(text.substr(begin)).code_point, begin};
}

void normalize(std::string& text, NormalForm form) {
  if (is_unchanged_by(text, form)) return;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  auto chars = decompose(text, UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  if (form == NormalForm::nfc || form == NormalForm::nfkc) {
    const auto n = utf8proc_normalize_utf32(chars.data(), static_cast<utf8proc_ssize_t>(chars.size()),
                                            static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    chars.resize(static_cast<size_t>(std::max<utf8proc_ssize_t>(n, 0)));
  }
  text.clear();
  for (const auto c : chars) append_utf8(text, static_cast<uint32_t>(c));
}

void lowercase(std::string& text) {
  std::string out;
  out.reserve(text.size());
  for_each_char(text, [&](uint32_t c) {
    constexpr uint32_t kCapitalIWithDot = 0x130;  // the one character whose lower case has two
    if (c == kCapitalIWithDot) {
      out += "i\xcc\x87";
    } else {
      append_utf8(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  });
  text = std::move(out);
}

void remove_marks(std::string& text) {
  std::string out;
  out.reserve(text.size());
  for_each_char(text, [&](uint32_t c) {
    if (!is_mark(category(c))) append_utf8(out, c);
  });
  text = std::move(out);
}

void trim_spaces(std::string& text, bool left, bool right) {
  std::string_view rest = text;
  while (left && !rest.empty() && is_space(decode_utf8(rest).code_point)) rest.remove_prefix(decode_utf8(rest).n_bytes);
  while (right && !rest.empty() && is_space(last_char(rest).code_point)) rest = rest.substr(0, last_char(rest).begin);
  text = std::string(rest);
}

}  // namespace packhorse
