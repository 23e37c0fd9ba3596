#pragma once
// The pipeline between the logits of a model and the token that is chosen, as two tables that later parameters join:
// stages that change logits, in their order, then filters that narrow the distribution after temperature.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/sampler/distribution.h"
#include "engine/sampler/token_rules.h"
#include "engine/structured/output_matcher.h"
#include "packhorse/packhorse.h"

namespace packhorse {

/// One row of logits and what is wanted of it.
struct RowJob {
  std::span<const float> logits = {};      // [vocab_size], left as they are
  const SamplingParams* params = nullptr;  // normalized
  std::span<const int32_t> prompt_tokens = {};
  std::span<const int32_t> output_tokens = {};  // so far
  std::span<const int32_t> stop_tokens = {};    // all ids that would end the output
  const TokenRules* rules = nullptr;            // null without
  OutputMatcher* matcher = nullptr;             // of this row alone; null without
  uint64_t seed = 0;
  int64_t output_index = 0;
  std::optional<int64_t> n_logprobs = {};  // -1 = all
  int32_t given_token = -1;                // the token to score; -1 = choose one
};

/// One count per token of the vocabulary, for stages that visit each token of a text once: all zero between stages.
using TokenCounts = std::vector<int32_t>;

struct LogitStage {
  const char* name;
  bool (*wanted)(const RowJob&);
  void (*apply)(const RowJob&, std::span<float> logits, TokenCounts& counts);
};
struct Filter {
  const char* name;
  bool (*wanted)(const RowJob&);
  void (*apply)(const RowJob&, Distribution&);
};

std::span<const LogitStage> logit_stages();
std::span<const Filter> filters();

}  // namespace packhorse
