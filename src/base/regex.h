#pragma once
// Regular expressions that stand in files, on PCRE2. What a match may cost is always limited.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace packhorse {

/// Bytes [begin, end) of a text.
struct Span {
  size_t begin = 0, end = 0;
};

/// Memory that matches reuse. Not shared between threads.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();

 private:
  friend class Regex;
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

class Regex {
 public:
  struct Options {
    bool multiline = false;       // ^ and $ match at each line
    std::string_view shown = {};  // the expression in messages where the file has it in another dialect
  };
  enum class Outcome : uint8_t { match, no_match, too_costly };

  /// `where` names the field in messages. Throws Error{model} when it is no expression, or a huge one.
  Regex(std::string_view expression, const std::string& where, const Options& options);
  Regex(std::string_view expression, const std::string& where) : Regex(expression, where, Options{}) {}
  ~Regex();
  Regex(Regex&&) noexcept;

  /// Looks for a match that begins at byte `begin`, with at most `max_steps` steps of backtracking. `text` is valid
  /// UTF-8.
  Outcome match_at(std::string_view text, size_t begin, uint32_t max_steps, RegexScratch& scratch, Span& match) const;
  /// Whether the text begins with a match (Python's re.match). Throws Error{model} when that is too costly to tell.
  bool matches_start_of(std::string_view text) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
  std::string where_;
};

}  // namespace packhorse
