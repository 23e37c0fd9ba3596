#pragma once
// From the hidden states of a prompt to its embedding.

#include <cstdint>
#include <span>
#include <vector>

#include "packhorse/packhorse.h"

namespace packhorse {

/// Sums hidden states as they are computed, in order of position: chunks do not change the result.
class HiddenSum {
 public:
  /// Starts anew with a prompt of which nothing is computed.
  void reset() { sum_.clear(); }
  void add(std::span<const float> hidden);
  /// Of `n_prompt` tokens.
  std::vector<float> embedding(const PoolingParams& params, int64_t n_prompt) const;

 private:
  std::vector<double> sum_;  // [hidden_size]; of the last position alone, or of all
};

inline bool is_mean(const PoolingParams& params) { return params.pooling == PoolingParams::Pooling::mean; }

}  // namespace packhorse
