// Split expressions without a scanner, on PCRE2.
//
// It stops a match after a number of steps but does not tell how many it took. Each attempt therefore starts with a
// small limit that grows when it is hit, and every attempt that hits it is charged to the text's budget: the total work
// is bounded by the budget plus one small limit per piece.

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/pattern.h"
#include "text/vocab.h"

namespace packhorse {
namespace {

constexpr uint64_t kStepsPerByte = 64;
constexpr uint64_t kFreeSteps = 1'000'000;
constexpr uint64_t kFirstLimit = 512;
constexpr size_t kMaxGrowth = 32;

/// Oniguruma's \w, which has more than PCRE2's: marks, letter numbers, connectors, and the Latin-1 superscripts and
/// fractions.
constexpr std::string_view kWordClass = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

/// The expression as PCRE2 writes it; Error{model} for what PCRE2 would read as something else without complaint.
class Translator {
 public:
  Translator(std::string_view expression, const std::string& where) : expression_(expression), where_(where) {}

  std::string run() {
    while (i_ < expression_.size()) step(expression_.substr(i_));
    return std::move(out_);
  }

 private:
  void step(std::string_view rest) {
    if (rest[0] == '\\') return escape(rest);
    if (!in_class_) {
      in_class_ = rest[0] == '[';
      // A bracket that is the first of a class stands for itself.
      return copy(!in_class_ ? 1 : rest.starts_with("[]") ? 2 : rest.starts_with("[^]") ? 3 : 1);
    }
    if (rest.starts_with("[:")) {
      const size_t end = rest.find(":]");
      if (end == rest.npos) refuse("[: without :]");
      return copy(end + 2);
    }
    if (rest[0] == '[') refuse("a character class within a character class");
    if (rest.starts_with("&&")) refuse("&& in a character class");
    in_class_ = rest[0] != ']';
    copy(1);
  }

  void escape(std::string_view rest) {
    if (rest.starts_with("\\h") || rest.starts_with("\\H")) refuse(rest.substr(0, 2));
    const bool is_word = rest.starts_with("\\w"), is_no_word = rest.starts_with("\\W");
    if (!is_word && !is_no_word) return copy(2);
    if (is_no_word && in_class_) refuse("\\W in a character class");
    if (!in_class_) out_ += is_word ? "[" : "[^";
    out_ += kWordClass;
    if (!in_class_) out_ += "]";
    i_ += 2;
  }

  void copy(size_t n) {
    out_ += expression_.substr(i_, n);
    i_ += n;
  }
  [[noreturn]] void refuse(std::string_view syntax) const {
    fail_model("{}: expression '{}': {} is not supported", where_, printable(expression_), syntax);
  }

  std::string_view expression_;
  const std::string& where_;
  std::string out_;
  size_t i_ = 0;
  bool in_class_ = false;
};

}  // namespace

MatchScratch::MatchScratch(size_t text_bytes)
    : steps_left(kFreeSteps + kStepsPerByte * text_bytes), max_text_bytes_(kMaxGrowth * text_bytes + kMaxTokenBytes) {}

void MatchScratch::check_grown(size_t text_bytes) const {
  if (text_bytes > max_text_bytes_) {
    fail(ErrorKind::request, "the tokenizer's normalizer makes {} bytes of the text (limit {})", text_bytes,
         max_text_bytes_);
  }
}

namespace {

class Pcre final : public Pattern {
 public:
  Pcre(Regex regex, std::string_view expression) : regex_(std::move(regex)), expression_(printable(expression)) {}

  bool next(std::string_view text, size_t from, MatchScratch& scratch, Span& match) const override {
    for (size_t i = from; i <= text.size(); i += i < text.size() ? decode_utf8(text.substr(i)).n_bytes : 1) {
      if (match_at(text, i, scratch, match)) return true;
    }
    return false;
  }

 private:
  bool match_at(std::string_view text, size_t begin, MatchScratch& scratch, Span& match) const {
    if (!scratch.regex) scratch.regex.emplace();
    for (uint64_t limit = kFirstLimit;; limit *= 8) {
      const auto steps = static_cast<uint32_t>(std::min<uint64_t>(limit, UINT32_MAX));
      const Regex::Outcome outcome = regex_.match_at(text, begin, steps, *scratch.regex, match);
      if (outcome != Regex::Outcome::too_costly) return outcome == Regex::Outcome::match;
      if (limit > scratch.steps_left) {
        fail(ErrorKind::request, "the text exceeds what the tokenizer's expression '{}' may cost", expression_);
      }
      scratch.steps_left -= limit;
    }
  }

  Regex regex_;
  std::string expression_;
};

}  // namespace

std::unique_ptr<Pattern> make_pcre(std::string_view expression, const std::string& where) {
  const std::string translated = Translator(expression, where).run();
  // Oniguruma's ^ and $ match at each line.
  return std::make_unique<Pcre>(Regex(translated, where, {.multiline = true, .shown = expression}), expression);
}

}  // namespace packhorse
