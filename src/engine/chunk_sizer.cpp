#include "engine/chunk_sizer.h"

#include <algorithm>
#include <cmath>

namespace packhorse {

int64_t ChunkSizer::budget(int64_t n_decodes, int64_t max_tokens) {
  if (n_decodes == 0) return max_tokens;
  const bool is_other_crowd = std::abs(n_decodes - n_known_decodes_) * 4 > n_known_decodes_;
  if (is_other_crowd || n_steps_since_probe_ >= kStepsPerProbe) return 0;
  return std::min(static_cast<int64_t>(chunk_), max_tokens);
}

void ChunkSizer::observe(int64_t n_decodes, int64_t n_prefill, double seconds) {
  if (n_decodes == 0) return;
  if (n_prefill == 0) {
    decode_seconds_ = n_decodes == n_known_decodes_ ? (decode_seconds_ + seconds) / 2 : seconds;
    n_known_decodes_ = n_decodes;
    n_steps_since_probe_ = 0;
    return;
  }
  ++n_steps_since_probe_;
  const double wanted = decode_seconds_ * (kStretch - 1), added = seconds - decode_seconds_;
  // A part of what prompt tokens add does not depend on their number: the root goes towards the right size step by
  // step.
  const double factor = std::sqrt(wanted / std::max(added, wanted / (kMostGrowth * kMostGrowth)));
  const double size = std::clamp(static_cast<double>(n_prefill) * factor, kLeast, kMostChunk);
  const bool is_rest = n_prefill < static_cast<int64_t>(chunk_) && factor >= 1;  // of a prompt: more was allowed
  if (!is_rest) chunk_ = size;
}

}  // namespace packhorse
