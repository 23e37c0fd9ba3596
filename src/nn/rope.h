#pragma once
// Rotary position embedding (arXiv 2104.09864), pairs (i, i + half) of the rotated part of a head.

#include <cstdint>
#include <vector>

#include "nn/config.h"
#include "nn/model.h"

namespace packhorse {

/// Frequencies of a model. Scaling types: default, linear, dynamic (NTK, fixed at load from `max_model_len`), llama3,
/// yarn.
class Rope {
 public:
  Rope() = default;
  /// `rotary_dim` dimensions of each head rotate. `divisors` (GGUF's rope_freqs, [rotary_dim / 2]) replace the config's
  /// scaling when they are not empty. Throws Error{model} for an unknown scaling type or a setting out of range.
  Rope(const Config& config, int64_t rotary_dim, int64_t max_model_len, const std::vector<float>& divisors);

  /// cos and sin [m][half] of the batch's positions; one table serves all layers.
  struct Table {
    const float* cos = nullptr;
    const float* sin = nullptr;
    int64_t half = 0;
  };
  Table table(const Batch& batch, ForwardCtx& ctx) const;
  /// Rotates heads [first_head, first_head + n_heads) beside each other at x[m, stride] in place.
  static void rotate(const Table& table, float* x, int64_t m, int64_t stride, int64_t n_heads, int64_t head_dim,
                     ForwardCtx& ctx);

 private:
  std::vector<double> frequency_;  // [half]
  double amplitude_ = 1;           // of cos and sin (yarn)
};

}  // namespace packhorse
