// What values of SamplingParams are legal, and what some of them imply.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/utf8.h"

namespace packhorse {
namespace {

constexpr double kGreedyBelow = 1e-5;
constexpr double kMinTemperature = 1e-2;  // below it, scaled logits overflow
constexpr int64_t kMaxSequences = 16384;  // offline; servers set a lower limit
constexpr double kMaxBias = 100;
constexpr size_t kMaxTexts = 1024;                 // stop strings, and bad words
constexpr size_t kMaxTextBytes = size_t{1} << 16;  // of all of them: bounds the memory of what matches them
constexpr size_t kMaxGrammarBytes = size_t{1} << 18;

template <class Value>
void require(bool holds, const char* parameter, const char* rule, const Value& value) {
  if (!holds) fail(ErrorKind::request, "{} must be {}, got {}", parameter, rule, value);
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    if (!c.valid) return false;
    text.remove_prefix(c.n_bytes);
  }
  return true;
}

void check_sampling(const SamplingParams& p) {
  require(p.n >= 1, "n", "at least 1", p.n);
  require(p.n <= kMaxSequences, "n", "at most 16384", p.n);
  require(std::abs(p.presence_penalty) <= 2, "presence_penalty", "in [-2, 2]", p.presence_penalty);
  require(std::abs(p.frequency_penalty) <= 2, "frequency_penalty", "in [-2, 2]", p.frequency_penalty);
  require(std::isfinite(p.repetition_penalty), "repetition_penalty", "a finite number", p.repetition_penalty);
  require(p.repetition_penalty > 0, "repetition_penalty", "greater than zero", p.repetition_penalty);
  require(std::isfinite(p.temperature), "temperature", "a finite number", p.temperature);
  require(p.temperature >= 0 && p.temperature <= 2, "temperature", "in [0, 2]", p.temperature);
  require(p.top_p > 0 && p.top_p <= 1, "top_p", "in (0, 1]", p.top_p);
  require(p.top_k >= -1, "top_k", "0 (disabled) or at least 1", p.top_k);
  require(p.min_p >= 0 && p.min_p <= 1, "min_p", "in [0, 1]", p.min_p);
}

void check_lengths(const SamplingParams& p) {
  if (p.max_tokens) require(*p.max_tokens >= 1, "max_tokens", "at least 1", *p.max_tokens);
  require(p.min_tokens >= 0, "min_tokens", "greater than or equal to 0", p.min_tokens);
  if (p.max_tokens && p.min_tokens > *p.max_tokens) {
    fail(ErrorKind::request, "min_tokens must be less than or equal to max_tokens={}, got {}", *p.max_tokens,
         p.min_tokens);
  }
  if (p.logprobs) require(*p.logprobs >= -1, "logprobs", "non-negative or -1", *p.logprobs);
  if (p.prompt_logprobs) require(*p.prompt_logprobs >= -1, "prompt_logprobs", "non-negative or -1", *p.prompt_logprobs);
}

void check_texts(const char* parameter, const std::vector<std::string>& texts) {
  size_t n_bytes = 0;
  for (const std::string& text : texts) {
    if (text.empty()) fail(ErrorKind::request, "{} cannot contain an empty string", parameter);
    if (!is_utf8(text)) fail(ErrorKind::request, "{} must be valid UTF-8, got '{}'", parameter, printable(text));
    n_bytes += text.size();
  }
  require(texts.size() <= kMaxTexts, parameter, "at most 1024 strings", texts.size());
  require(n_bytes <= kMaxTextBytes, parameter, "at most 65536 bytes in all", n_bytes);
}

void check_stop(const SamplingParams& p) {
  check_texts("stop", p.stop);
  if (!p.stop.empty() && !p.detokenize) {
    fail(ErrorKind::request, "stop strings are only supported when detokenize is True, got detokenize=False");
  }
}

void check_token_rules(const SamplingParams& p) {
  for (const auto& [token, bias] : p.logit_bias) {
    if (std::isnan(bias)) fail(ErrorKind::request, "logit_bias must be numbers, got nan for token id {}", token);
  }
  if (p.allowed_token_ids && p.allowed_token_ids->empty()) {
    fail(ErrorKind::request, "allowed_token_ids must not be empty, got 0 ids");
  }
  check_texts("bad_words", p.bad_words);
}

void check_structured_outputs(const StructuredOutputs& s) {
  const int n_set = int{s.json.has_value()} + int{s.regex.has_value()} + int{!s.choice.empty()} +
                    int{s.grammar.has_value()} + int{s.json_object} + int{s.structural_tag.has_value()};
  require(n_set == 1, "structured_outputs", "exactly one of json, regex, choice, grammar, json_object, structural_tag",
          n_set);
  std::vector<std::string_view> texts(s.choice.begin(), s.choice.end());
  for (const auto* text : {&s.json, &s.regex, &s.grammar, &s.structural_tag}) {
    if (*text) texts.push_back(**text);
  }
  size_t n_bytes = 0;
  for (const std::string_view text : texts) {
    if (!is_utf8(text)) fail(ErrorKind::request, "structured_outputs must be valid UTF-8, got '{}'", printable(text));
    n_bytes += text.size();
  }
  require(n_bytes <= kMaxGrammarBytes, "structured_outputs", "at most 262144 bytes", n_bytes);
  check_texts("reasoning_starts", s.reasoning_starts);
  check_texts("reasoning_ends", s.reasoning_ends);
  if (!s.reasoning_starts.empty()) {
    require(!s.reasoning_ends.empty(), "reasoning_ends", "given with reasoning_starts", s.reasoning_ends.size());
  }
}

}  // namespace

void SamplingParams::validate_and_normalize() {
  check_sampling(*this);
  check_lengths(*this);
  check_stop(*this);
  check_token_rules(*this);
  if (structured_outputs) check_structured_outputs(*structured_outputs);
  for (auto& [token, bias] : logit_bias) bias = std::clamp(bias, -kMaxBias, kMaxBias);
  if (seed == -1) seed.reset();
  if (temperature < kGreedyBelow) {
    if (n > 1) fail(ErrorKind::request, "n must be 1 when using greedy sampling, got {}", n);
    temperature = 0;
    top_p = 1;
    top_k = 0;
    min_p = 0;
  } else if (temperature < kMinTemperature) {
    temperature = kMinTemperature;
  }
  if (top_k == -1) top_k = 0;
}

}  // namespace packhorse
