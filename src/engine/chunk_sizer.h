#pragma once
// How many prompt tokens a step may take beside sequences that are generating, from the time that steps took.

#include <cstdint>

namespace packhorse {

/// Keeps steps with prompt tokens below kStretch times the steps without: what a long prompt costs the others stays
/// bounded, and it gets the same share of the time whatever machine and model are.
class ChunkSizer {
 public:
  /// Prompt tokens for the next step, at least 1. Without limit while nothing generates. Now and then 0: a step alone
  /// for those that generate, to learn anew what it takes.
  int64_t budget(int64_t n_decodes, int64_t max_tokens);
  /// What a step took that had so many tokens of either kind.
  void observe(int64_t n_decodes, int64_t n_prefill, double seconds);

 private:
  static constexpr double kStretch = 1.75;
  static constexpr int64_t kFirstChunk = 32;  // before anything is known
  static constexpr int64_t kStepsPerProbe = 64;
  static constexpr double kNewShare = 0.25;  // of the latest step in the averages

  double decode_seconds_ = 0;  // of a step without prompt tokens, with n_known_decodes_
  int64_t n_known_decodes_ = 0;
  double seconds_per_token_ = 0;  // that a prompt token adds
  int64_t n_steps_since_probe_ = 0;
};

}  // namespace packhorse
