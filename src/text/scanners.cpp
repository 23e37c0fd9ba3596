// Hand-written scanners for the split patterns that most models share. Every one of these patterns matches at each
// position of a text, so that a scanner only says how long the first piece is.

#include <array>

#include "base/utf8.h"
#include "text/pattern.h"
#include "text/split_patterns.h"

namespace packhorse {
namespace {

/// A text with the class of the character at a place; reading past the end gives no class at all.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  struct Char {
    uint32_t code_point = 0;
    size_t end = 0;
    bool exists = false;
    CharClass kind = CharClass::other;
    bool is(CharClass k) const { return exists && kind == k; }
    bool is_newline() const { return exists && (code_point == '\n' || code_point == '\r'); }
  };
  Char at(size_t i) const {
    if (i >= text_.size()) return {.end = i};
    const Utf8Char c = decode_utf8(text_.substr(i));
    return {c.code_point, i + c.n_bytes, true, char_class(c.code_point)};
  }
  /// End of the run of at most `limit` characters of class `kind` that begins at `i`.
  size_t run(size_t i, CharClass kind, size_t limit = SIZE_MAX) const {
    for (size_t n = 0; n < limit; ++n) {
      const Char c = at(i);
      if (!c.is(kind)) break;
      i = c.end;
    }
    return i;
  }
  size_t newlines(size_t i) const {
    while (at(i).is_newline()) ++i;
    return i;
  }

 private:
  std::string_view text_;
};

/// 's|'t|'re|'ve|'m|'ll|'d at the start of `text`: length, or 0.
size_t contraction(std::string_view text, bool any_case) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const auto letter = [&](size_t i) -> char {
    if (i >= text.size()) return 0;
    const char c = text[i];
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char first = letter(1), second = letter(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  if (any_case && text.substr(1).starts_with("\u017f")) return 3;  // the long s folds to s
  return 0;
}

/// \s+(?!\S)|\s+ for a run of spaces: all of it at the end of the text, else all but its last character, which belongs
/// to what follows, unless it is the only one.
size_t spaces(const Reader& read) {
  size_t end = 0, before_last = 0;
  for (auto c = read.at(0); c.is(CharClass::space); c = read.at(end)) {
    before_last = end;
    end = c.end;
  }
  return read.at(end).exists && before_last > 0 ? before_last : end;
}

size_t scan_gpt2(std::string_view text) {
  if (const size_t n = contraction(text, false)) return n;
  const Reader read(text);
  const size_t begin = text[0] == ' ' ? 1 : 0;
  const auto c = read.at(begin);
  if (c.exists && c.kind != CharClass::space) return read.run(begin, c.kind);
  return spaces(read);
}

/// The form of Llama 3 and its descendants, which differ in how many digits stay together.
template <size_t max_digits>
size_t scan_llama3(std::string_view text) {
  if (const size_t n = contraction(text, true)) return n;
  const Reader read(text);
  const auto first = read.at(0);
  if (first.is(CharClass::letter)) return read.run(0, CharClass::letter);
  if (!first.is_newline() && first.kind != CharClass::number && read.at(first.end).is(CharClass::letter)) {
    return read.run(first.end, CharClass::letter);
  }
  if (first.kind == CharClass::number) return read.run(0, CharClass::number, max_digits);
  const size_t begin = text[0] == ' ' ? 1 : 0;
  if (read.at(begin).is(CharClass::other)) return read.newlines(read.run(begin, CharClass::other));
  size_t last_newline = 0;  // \s*[\r\n]+ ends at the last newline of the run of spaces
  for (auto c = first; c.is(CharClass::space); c = read.at(c.end)) {
    if (c.is_newline()) last_newline = c.end;
  }
  return last_newline > 0 ? last_newline : spaces(read);
}

using Scan = size_t (*)(std::string_view);

class Scanner final : public Pattern {
 public:
  explicit Scanner(Scan scan) : scan_(scan) {}
  bool next(std::string_view text, size_t from, MatchScratch&, Span& match) const override {
    if (from >= text.size()) return false;
    match = {from, from + scan_(text.substr(from))};
    return true;
  }

 private:
  Scan scan_;
};

struct Known {
  std::string_view expression;
  Scan scan;
};
constexpr std::array<Known, 3> kKnown{{
    {split_patterns::kGpt2, scan_gpt2},
    {split_patterns::kLlama3, scan_llama3<3>},
    {split_patterns::kQwen2, scan_llama3<1>},
}};

}  // namespace

std::unique_ptr<Pattern> make_scanner(std::string_view expression) {
  for (const Known& known : kKnown) {
    if (known.expression == expression) return std::make_unique<Scanner>(known.scan);
  }
  return nullptr;
}

}  // namespace packhorse
