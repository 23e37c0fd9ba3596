#include "engine/sampler/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/sampler/row_math.h"

namespace packhorse {

std::vector<TokenLogit> largest_logits(std::span<const float> row, int64_t n) {
  const size_t count = std::min(static_cast<size_t>(n), row.size());
  std::vector<TokenLogit> kept;
  if (count == 0) return kept;
  kept.reserve(std::min(2 * count, row.size()));
  const auto prune = [&] {
    if (kept.size() <= count) return;
    std::nth_element(kept.begin(), kept.begin() + static_cast<ptrdiff_t>(count) - 1, kept.end(), more_likely);
    kept.resize(count);
  };
  float bar = -std::numeric_limits<float>::infinity();  // n earlier logits are at least this large
  for (size_t i = 0; i < row.size(); ++i) {
    if (row[i] <= bar) continue;
    kept.push_back({row[i], static_cast<int32_t>(i)});
    if (kept.size() < 2 * count) continue;
    prune();
    bar = kept.back().logit;
  }
  prune();
  return kept;
}

std::vector<TokenScore> score_tokens(std::span<const float> row, float max_logit, int64_t n_top, int32_t token) {
  const double log_sum = static_cast<double>(max_logit) + std::log(row_exp_sum(row, max_logit));
  const auto logprob = [&](float logit) { return static_cast<float>(static_cast<double>(logit) - log_sum); };
  std::vector<TokenLogit> top = largest_logits(row, n_top < 0 ? static_cast<int64_t>(row.size()) : n_top);
  std::sort(top.begin(), top.end(), more_likely);

  std::vector<TokenScore> scores;
  scores.reserve(top.size() + 1);
  bool has_token = false;
  for (const TokenLogit& entry : top) {
    scores.push_back({entry.token, logprob(entry.logit), static_cast<int64_t>(scores.size()) + 1});
    has_token |= entry.token == token;
  }
  if (!has_token) {
    const float own = row[static_cast<size_t>(token)];
    const auto rank = std::count_if(row.begin(), row.end(), [&](float x) { return x >= own; });
    scores.push_back({token, logprob(own), rank});
  }
  return scores;
}

}  // namespace packhorse
