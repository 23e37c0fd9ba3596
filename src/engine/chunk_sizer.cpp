#include "engine/chunk_sizer.h"

#include <algorithm>
#include <cmath>

namespace packhorse {

int64_t ChunkSizer::budget(int64_t n_decodes, int64_t max_tokens) {
  if (n_decodes == 0) return max_tokens;
  const bool is_other_crowd = std::abs(n_decodes - n_known_decodes_) * 4 > n_known_decodes_;
  if (decode_seconds_ == 0 || is_other_crowd || n_steps_since_probe_ >= kStepsPerProbe) return 0;
  if (seconds_per_token_ == 0) return std::min(kFirstChunk, max_tokens);
  const double tokens = decode_seconds_ * (kStretch - 1) / seconds_per_token_;
  return static_cast<int64_t>(std::clamp(tokens, 1.0, static_cast<double>(max_tokens)));
}

void ChunkSizer::observe(int64_t n_decodes, int64_t n_prefill, double seconds) {
  if (n_decodes == 0) return;
  const auto average = [](double& value, double latest) {
    value = value == 0 ? latest : value + kNewShare * (latest - value);
  };
  if (n_prefill == 0) {
    if (n_decodes != n_known_decodes_) decode_seconds_ = 0;
    average(decode_seconds_, seconds);
    n_known_decodes_ = n_decodes;
    n_steps_since_probe_ = 0;
    return;
  }
  ++n_steps_since_probe_;
  // A chunk that seems to cost nothing may grow, but not without bound at once.
  const double added = std::max(seconds - decode_seconds_, seconds / 16);
  average(seconds_per_token_, added / static_cast<double>(n_prefill));
}

}  // namespace packhorse
