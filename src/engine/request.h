#pragma once
// One request and its outputs while they are being generated.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/output_text.h"
#include "engine/pooling.h"
#include "engine/sampler/token_rules.h"
#include "engine/structured/output_matcher.h"
#include "packhorse/packhorse.h"

namespace packhorse {

struct Request;

/// One of the n outputs of a request: what the scheduler moves between waiting and running.
struct Sequence {
  Request* request = nullptr;
  int64_t index = 0;            // of the output
  std::vector<int32_t> tokens;  // prompt, then output

  // KV cache; the scheduler's.
  std::vector<int32_t> blocks;  // of positions 0, 16, 32, ...
  int64_t n_computed = 0;       // leading tokens whose keys and values are in `blocks`
  int64_t n_known_blocks = 0;   // leading blocks that the prefix cache knows

  // Output so far.
  std::optional<OutputText> text;          // nothing without detokenization
  std::unique_ptr<OutputMatcher> matcher;  // null without structured output
  std::vector<TokenLogprobs> logprobs;
  double cumulative_logprob = 0;
  std::string finish_reason;
  std::optional<std::string> stop_string;
  std::optional<int64_t> stop_token_id;
  int64_t n_reported = 0;  // output tokens that earlier reports held
  bool end_reported = false;

  bool finished() const { return !finish_reason.empty(); }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens.size()); }
  int64_t n_output() const;
  /// Whether only its latest output token is not computed.
  bool is_decoding() const { return n_output() > 0 && n_computed + 1 == n_tokens(); }
  std::span<const int32_t> prompt_tokens() const;
  std::span<const int32_t> output_tokens() const;
};

struct Request {
  uint64_t id = 0;
  SamplingParams params;                 // normalized
  std::optional<PoolingParams> pooling;  // what is wanted instead of tokens
  std::optional<std::string> prompt;
  std::string cache_salt;
  int64_t priority = 0;  // lower goes first
  int64_t n_prompt = 0;
  int64_t max_tokens = 0;  // of an output, within the context
  uint64_t seed = 0;
  std::vector<int32_t> stop_tokens;           // all ids that end an output, eos among them even when ignored
  std::unique_ptr<StopStrings> stop_strings;  // null without
  std::unique_ptr<const TokenRules> rules;    // null without

  std::vector<std::unique_ptr<Sequence>> sequences;           // [n]
  std::vector<std::optional<TokenLogprobs>> prompt_logprobs;  // of the positions computed so far; [0] is empty
  bool prompt_logprobs_reported = false;
  bool prompt_reported = false;
  bool has_news = false;  // since the last outputs
  HiddenSum hidden_sum;
  std::optional<std::vector<float>> embedding;  // once computed
  std::optional<int64_t> n_cached_tokens;       // set when first scheduled
  std::string refusal;                          // why it failed, where it is the cause itself
  RequestMetrics metrics;

  bool finished() const {
    for (const auto& sequence : sequences) {
      if (!sequence->finished()) return false;
    }
    return true;
  }
};

inline int64_t Sequence::n_output() const { return n_tokens() - request->n_prompt; }
inline std::span<const int32_t> Sequence::prompt_tokens() const {
  return std::span(tokens).first(static_cast<size_t>(request->n_prompt));
}
inline std::span<const int32_t> Sequence::output_tokens() const {
  return std::span(tokens).subspan(static_cast<size_t>(request->n_prompt));
}

/// Positions [begin, end) of the next `n_tokens` tokens whose logits score the prompt token after them. The first
/// output does it for its request; positions scored before a preemption are not scored again.
struct PromptRows {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
};
inline PromptRows prompt_rows(const Sequence& sequence, int64_t n_tokens) {
  const Request& request = *sequence.request;
  if (!request.params.prompt_logprobs || sequence.index != 0) return {};
  const auto n_scored = static_cast<int64_t>(request.prompt_logprobs.size());  // at least 1
  const int64_t begin = std::max(sequence.n_computed, n_scored - 1);
  return {begin, std::max(begin, std::min(sequence.n_computed + n_tokens, request.n_prompt - 1))};
}

/// The finished and the new of a request, as its output kind wants it.
RequestOutput make_output(Request& request);

}  // namespace packhorse
