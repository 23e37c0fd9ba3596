#include "text/pattern.h"

#include "base/utf8.h"

namespace packhorse {
namespace {

class Literal final : public Pattern {
 public:
  explicit Literal(std::string literal) : literal_(std::move(literal)) {}
  bool next(std::string_view text, size_t from, MatchScratch&, Span& match) const override {
    const size_t begin = text.find(literal_, from);
    if (begin == text.npos) return false;
    match = {begin, begin + literal_.size()};
    return true;
  }

 private:
  std::string literal_;
};

class OfClass final : public Pattern {
 public:
  OfClass(CharClass char_class, bool runs) : class_(char_class), runs_(runs) {}
  bool next(std::string_view text, size_t from, MatchScratch&, Span& match) const override {
    for (size_t i = from; i < text.size();) {
      const Utf8Char c = decode_utf8(text.substr(i));
      if (char_class(c.code_point) != class_) {
        i += c.n_bytes;
        continue;
      }
      match = {i, i + c.n_bytes};
      while (runs_ && match.end < text.size()) {
        const Utf8Char more = decode_utf8(text.substr(match.end));
        if (char_class(more.code_point) != class_) break;
        match.end += more.n_bytes;
      }
      return true;
    }
    return false;
  }

 private:
  CharClass class_;
  bool runs_;
};

}  // namespace

std::unique_ptr<Pattern> make_literal(std::string literal) { return std::make_unique<Literal>(std::move(literal)); }

std::unique_ptr<Pattern> make_class(CharClass char_class, bool runs) {
  return std::make_unique<OfClass>(char_class, runs);
}

std::unique_ptr<Pattern> make_regex(std::string_view expression, const std::string& where) {
  if (auto scanner = make_scanner(expression)) return scanner;
  if (expression == R"(\p{N})") return make_class(CharClass::number, false);
  if (expression == R"(\p{N}+)") return make_class(CharClass::number, true);
  return make_pcre(expression, where);
}

}  // namespace packhorse
