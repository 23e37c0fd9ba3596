// Names, order and arithmetic are those of vLLM's V1 sampler: vllm/v1/sample/sampler.py (Sampler, whose docstring lists
// the steps), ops/bad_words.py, logits_processor/builtin.py, and apply_penalties of model_executor/layers/utils.py.

#include "engine/sampler/stages.h"

#include <algorithm>
#include <limits>

namespace packhorse {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

/// The first stage: what it lets through is as the model gave it.
bool wants_allowed(const RowJob& job) { return job.rules && !job.rules->allowed.empty(); }
void keep_allowed(const RowJob& job, std::span<float> logits, TokenCounts&) {
  std::fill(logits.begin(), logits.end(), kNever);
  for (const int32_t token : job.rules->allowed) {
    logits[static_cast<size_t>(token)] = job.logits[static_cast<size_t>(token)];
  }
}

/// An output that is complete ends, also before min_tokens and with ignore_eos: nothing else may follow.
bool wants_grammar(const RowJob& job) { return job.matcher != nullptr; }
bool is_short(const RowJob& job) { return static_cast<int64_t>(job.output_tokens.size()) < job.params->min_tokens; }
void keep_grammar(const RowJob& job, std::span<float> logits, TokenCounts&) {
  job.matcher->mask(logits, is_short(job) || job.params->ignore_eos);
}

/// The output alone counts as what stands before the last token of a word, not the prompt.
bool wants_bad_words(const RowJob& job) { return job.rules && !job.rules->bad_words.empty(); }
void mask_bad_words(const RowJob& job, std::span<float> logits, TokenCounts&) {
  for (const std::vector<int32_t>& word : job.rules->bad_words) {
    const std::span<const int32_t> start = std::span(word).first(word.size() - 1);
    if (start.size() > job.output_tokens.size()) continue;
    if (std::ranges::equal(start, job.output_tokens.last(start.size()))) {
      logits[static_cast<size_t>(word.back())] = kNever;
    }
  }
}

bool wants_min_tokens(const RowJob& job) { return is_short(job) && !(job.matcher && job.matcher->only_stop_left()); }
void mask_stop_tokens(const RowJob& job, std::span<float> logits, TokenCounts&) {
  for (const int32_t token : job.stop_tokens) logits[static_cast<size_t>(token)] = kNever;
}

bool wants_logit_bias(const RowJob& job) { return job.rules && !job.rules->biases.empty(); }
void add_biases(const RowJob& job, std::span<float> logits, TokenCounts&) {
  for (const auto& [token, bias] : job.rules->biases) logits[static_cast<size_t>(token)] += bias;
}

bool wants_repetition_penalty(const RowJob& job) { return job.params->repetition_penalty != 1; }
void penalize_repetition(const RowJob& job, std::span<float> logits, TokenCounts& counts) {
  const auto penalty = static_cast<float>(job.params->repetition_penalty);
  const std::span<const int32_t> parts[] = {job.prompt_tokens, job.output_tokens};
  for (const auto& tokens : parts) {
    for (const int32_t token : tokens) {
      if (counts[static_cast<size_t>(token)]++ > 0) continue;
      float& logit = logits[static_cast<size_t>(token)];
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  for (const auto& tokens : parts) {
    for (const int32_t token : tokens) counts[static_cast<size_t>(token)] = 0;
  }
}

bool wants_count_penalties(const RowJob& job) {
  return job.params->frequency_penalty != 0 || job.params->presence_penalty != 0;
}
void penalize_counts(const RowJob& job, std::span<float> logits, TokenCounts& counts) {
  const auto frequency = static_cast<float>(job.params->frequency_penalty);
  const auto presence = static_cast<float>(job.params->presence_penalty);
  for (const int32_t token : job.output_tokens) ++counts[static_cast<size_t>(token)];
  for (const int32_t token : job.output_tokens) {
    int32_t& count = counts[static_cast<size_t>(token)];
    if (count == 0) continue;  // seen before
    float& logit = logits[static_cast<size_t>(token)];
    logit -= frequency * static_cast<float>(count);
    logit -= presence;
    count = 0;
  }
}

constexpr LogitStage kLogitStages[] = {
    {"allowed_token_ids", wants_allowed, keep_allowed},
    {"structured_outputs", wants_grammar, keep_grammar},
    {"bad_words", wants_bad_words, mask_bad_words},
    {"min_tokens", wants_min_tokens, mask_stop_tokens},
    {"logit_bias", wants_logit_bias, add_biases},
    {"repetition_penalty", wants_repetition_penalty, penalize_repetition},
    {"frequency_penalty, presence_penalty", wants_count_penalties, penalize_counts},
};

constexpr Filter kFilters[] = {
    {"min_p", [](const RowJob& job) { return job.params->min_p > 0; },
     [](const RowJob& job, Distribution& d) { d.keep_min_p(job.params->min_p); }},
    {"top_k", [](const RowJob& job) { return job.params->top_k > 0; },
     [](const RowJob& job, Distribution& d) { d.keep_top_k(job.params->top_k); }},
    {"top_p", [](const RowJob& job) { return job.params->top_p < 1; },
     [](const RowJob& job, Distribution& d) { d.keep_top_p(job.params->top_p); }},
};

}  // namespace

std::span<const LogitStage> logit_stages() { return kLogitStages; }
std::span<const Filter> filters() { return kFilters; }

}  // namespace packhorse
