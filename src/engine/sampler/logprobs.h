#pragma once
// Log-probabilities of one row of logits, as the model gave them.

#include <cstdint>
#include <span>
#include <vector>

namespace packhorse {

struct TokenLogit {
  float logit = 0;
  int32_t token = 0;
};

/// Order of likelihood; among equals the lower id comes first.
inline bool more_likely(const TokenLogit& a, const TokenLogit& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

/// The `n` largest logits above minus infinity, in no order; all of them when there are fewer.
std::vector<TokenLogit> largest_logits(std::span<const float> row, int64_t n);

struct TokenScore {
  int32_t token = 0;
  float logprob = 0;
  int64_t rank = 0;  // 1 = most likely
};

/// Scores of the `n_top` most likely tokens (-1 = all), the most likely first, then of `token` unless it is among them.
/// `max_logit` is that of the row, whose logits are all finite.
std::vector<TokenScore> score_tokens(std::span<const float> row, float max_logit, int64_t n_top, int32_t token);

}  // namespace packhorse
