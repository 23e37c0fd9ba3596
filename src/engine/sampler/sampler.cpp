#include "engine/sampler/sampler.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "engine/sampler/random.h"
#include "engine/sampler/row_math.h"

namespace packhorse {

std::vector<RowResult> Sampler::run(std::span<const RowJob> jobs) {
  std::vector<RowResult> results(jobs.size());
  std::atomic<size_t> next{0};
  const auto n_workers = std::min(static_cast<int64_t>(scratch_.size()), static_cast<int64_t>(jobs.size()));
  pool_.run(n_workers, [&](int64_t worker) {
    for (size_t i = next++; i < jobs.size(); i = next++) {
      results[i] = run_row(jobs[i], scratch_[static_cast<size_t>(worker)]);
    }
  });
  return results;
}

RowResult Sampler::run_row(const RowJob& job, Scratch& scratch) {
  const RowMax max = row_max(job.logits);
  RowResult result;
  if (!max.all_finite) {
    result.error = "the model's logits are not finite";
    return result;
  }
  result.token = job.given_token >= 0 ? job.given_token : choose(job, max.value, scratch, result.error);
  result.is_refusal = result.error != nullptr;
  if (!result.error && job.n_logprobs) {
    result.scores = score_tokens(job.logits, max.value, *job.n_logprobs, result.token);
  }
  return result;
}

int32_t Sampler::choose(const RowJob& job, float max_logit, Scratch& scratch, const char*& error) {
  std::span<const float> logits = job.logits;
  for (const LogitStage& stage : logit_stages()) {
    if (!stage.wanted(job)) continue;
    if (logits.data() == job.logits.data()) {
      scratch.logits.assign(logits.begin(), logits.end());
      logits = scratch.logits;
      scratch.counts.resize(logits.size());
    }
    stage.apply(job, scratch.logits, scratch.counts);
  }
  if (logits.data() != job.logits.data()) max_logit = *std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(max_logit)) {
    error = job.matcher ? job.matcher->error() : nullptr;
    if (!error) error = "the sampling parameters leave no token to choose";
    return -1;
  }
  if (job.params->temperature == 0) {
    return static_cast<int32_t>(std::find(logits.begin(), logits.end(), max_logit) - logits.begin());
  }
  Distribution& distribution = scratch.distribution;
  distribution.assign(logits, max_logit, job.params->temperature);
  for (const Filter& filter : filters()) {
    if (filter.wanted(job)) filter.apply(job, distribution);
  }
  const auto position = static_cast<int64_t>(job.prompt_tokens.size() + job.output_tokens.size());
  return distribution.draw(uniform_draw(job.seed, job.output_index, position));
}

}  // namespace packhorse
