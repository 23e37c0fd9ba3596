#include "engine/sampler/stages.h"

#include <limits>
#include <unordered_map>
#include <unordered_set>

namespace packhorse {
namespace {

bool wants_min_tokens(const RowJob& job) {
  return static_cast<int64_t>(job.output_tokens.size()) < job.params->min_tokens;
}
void mask_stop_tokens(const RowJob& job, std::span<float> logits) {
  for (const int32_t token : job.stop_tokens) {
    logits[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
  }
}

bool wants_repetition_penalty(const RowJob& job) { return job.params->repetition_penalty != 1; }
void penalize_repetition(const RowJob& job, std::span<float> logits) {
  const auto penalty = static_cast<float>(job.params->repetition_penalty);
  std::unordered_set<int32_t> seen(job.prompt_tokens.begin(), job.prompt_tokens.end());
  seen.insert(job.output_tokens.begin(), job.output_tokens.end());
  for (const int32_t token : seen) {
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

bool wants_count_penalties(const RowJob& job) {
  return job.params->frequency_penalty != 0 || job.params->presence_penalty != 0;
}
void penalize_counts(const RowJob& job, std::span<float> logits) {
  std::unordered_map<int32_t, int64_t> counts;
  for (const int32_t token : job.output_tokens) ++counts[token];
  for (const auto& [token, count] : counts) {
    const double penalty = job.params->frequency_penalty * static_cast<double>(count) + job.params->presence_penalty;
    logits[static_cast<size_t>(token)] -= static_cast<float>(penalty);
  }
}

constexpr LogitStage kLogitStages[] = {
    {"min_tokens", wants_min_tokens, mask_stop_tokens},
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
