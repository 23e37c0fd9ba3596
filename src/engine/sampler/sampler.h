#pragma once
// From rows of logits to tokens and log-probabilities.

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/sampler/logprobs.h"
#include "engine/sampler/stages.h"

namespace packhorse {

struct RowResult {
  const char* error = nullptr;     // why there is no token; null when there is one
  bool is_refusal = false;         // the request leaves none; else the model is the cause
  int32_t token = -1;              // chosen or given
  std::vector<TokenScore> scores;  // when n_logprobs was set
};

/// Results depend on the row alone: neither on the other rows nor on the number of threads.
class Sampler {
 public:
  explicit Sampler(ThreadPool& pool) : pool_(pool), scratch_(static_cast<size_t>(pool.size())) {}

  /// One result per job.
  std::vector<RowResult> run(std::span<const RowJob> jobs);

 private:
  struct Scratch {
    std::vector<float> logits;
    TokenCounts counts;
    Distribution distribution;
  };
  static RowResult run_row(const RowJob& job, Scratch& scratch);
  static int32_t choose(const RowJob& job, float max_logit, Scratch& scratch, const char*& error);

  ThreadPool& pool_;
  std::vector<Scratch> scratch_;  // one per thread
};

}  // namespace packhorse
