#pragma once
// Where a text matches a pattern: what normalizers replace and pre-tokenizers split at.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/regex.h"
#include "text/unicode.h"

namespace packhorse {

/// What matching may cost over one text, and the memory it reuses. Not shared between threads.
class MatchScratch {
 public:
  explicit MatchScratch(size_t text_bytes);
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  /// Error{request} when a text has grown beyond what a normalizer may make of it.
  void check_grown(size_t text_bytes) const;

  uint64_t steps_left;                // of backtracking
  std::optional<RegexScratch> regex;  // made when the first expression needs it

 private:
  size_t max_text_bytes_;
};

class Pattern {
 public:
  virtual ~Pattern() = default;
  /// First match that begins at `from` or later; false when there is none. A match may be empty. `text` is valid UTF-8.
  virtual bool next(std::string_view text, size_t from, MatchScratch& scratch, Span& match) const = 0;
};

/// A regular expression of tokenizer.json (Oniguruma's dialect). The common ones are matched by hand-written scanners,
/// others by PCRE2 with a budget of steps: a text that exhausts it is an Error{request}. `where` names the field in
/// errors about the expression itself, which are Error{model}.
std::unique_ptr<Pattern> make_regex(std::string_view expression, const std::string& where);
std::unique_ptr<Pattern> make_pcre(std::string_view expression, const std::string& where);
/// `literal` must not be empty.
std::unique_ptr<Pattern> make_literal(std::string literal);
/// Each character of a class, or each run of them.
std::unique_ptr<Pattern> make_class(CharClass char_class, bool runs);
/// Scanner of a well-known expression; null for others.
std::unique_ptr<Pattern> make_scanner(std::string_view expression);

}  // namespace packhorse
