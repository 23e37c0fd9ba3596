#include "base/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr uint32_t kHeapKiB = 64 * 1024;
constexpr size_t kMaxExpressionBytes = 16384;
constexpr uint32_t kMaxStepsOfAName = 100'000;

template <auto free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    free(p);
  }
};
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>>;

}  // namespace

struct RegexScratch::Memory {
  MatchData data{pcre2_match_data_create(1, nullptr)};
  MatchContext context{pcre2_match_context_create(nullptr)};
  Memory() {
    if (!data || !context) fail(ErrorKind::resource, "out of memory");
    pcre2_set_heap_limit(context.get(), kHeapKiB);
  }
};

RegexScratch::RegexScratch() : memory_(std::make_unique<Memory>()) {}
RegexScratch::~RegexScratch() = default;

struct Regex::Code {
  std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>> code;
};

Regex::Regex(std::string_view expression, const std::string& where, const Options& options) : where_(where) {
  const std::string_view shown = options.shown.empty() ? expression : options.shown;
  if (shown.size() > kMaxExpressionBytes)
    fail_model("{}: expression of {} bytes (limit {})", where, shown.size(), kMaxExpressionBytes);
  int error = 0;
  size_t position = 0;
  code_ = std::make_unique<Code>();
  code_->code.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | (options.multiline ? uint32_t{PCRE2_MULTILINE} : 0u), &error,
      &position, nullptr));
  if (!code_->code) {
    unsigned char message[160];
    pcre2_get_error_message(error, message, sizeof message);
    fail_model("{}: expression '{}': {} at byte {}", where, printable(shown), reinterpret_cast<const char*>(message),
               position);
  }
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

Regex::Outcome Regex::match_at(std::string_view text, size_t begin, uint32_t max_steps, RegexScratch& scratch,
                               Span& match) const {
  auto& [data, context] = *scratch.memory_;
  pcre2_set_match_limit(context.get(), max_steps);
  const int result = pcre2_match(code_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), begin,
                                 PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, data.get(), context.get());
  if (result < 0) return result == PCRE2_ERROR_NOMATCH ? Outcome::no_match : Outcome::too_costly;
  const size_t* offsets = pcre2_get_ovector_pointer(data.get());
  match = {offsets[0], std::max(offsets[0], offsets[1])};  // \K could make a match that ends before it begins
  return Outcome::match;
}

bool Regex::matches_start_of(std::string_view text) const {
  RegexScratch scratch;
  Span match;
  const Outcome outcome = match_at(text, 0, kMaxStepsOfAName, scratch, match);
  if (outcome == Outcome::too_costly)
    fail_model("{}: an expression that takes too many steps on '{}'", where_, printable(text));
  return outcome == Outcome::match;
}

}  // namespace packhorse
