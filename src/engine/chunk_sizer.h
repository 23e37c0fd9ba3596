#pragma once
// How many prompt tokens a step may take beside sequences that generate, from the time that steps took.

#include <cstdint>

namespace packhorse {

/// Keeps steps with prompt tokens near kStretch times the steps without: what a long prompt costs the others stays
/// bounded, and it gets the same share of the time whatever machine and model are.
class ChunkSizer {
 public:
  /// Prompt tokens for the next step: no fewer than kLeast, no more than max_tokens, and as many as these while nothing
  /// generates. Now and then 0: a step alone for those that generate, to learn anew what it takes.
  int64_t budget(int64_t n_decodes, int64_t max_tokens);
  /// What a step took that had so many tokens of either kind.
  void observe(int64_t n_decodes, int64_t n_prefill, double seconds);

 private:
  static constexpr double kStretch = 1.9;
  static constexpr double kLeast = 16;       // fewer cost a step about as much: kernels compute rows in tiles
  static constexpr double kFirstChunk = 32;  // before anything is known
  static constexpr double kMostChunk = 1 << 20;
  static constexpr double kMostGrowth = 2;  // from one step to the next
  static constexpr int64_t kStepsPerProbe = 16;

  double decode_seconds_ = 0;  // of a step without prompt tokens, with n_known_decodes_
  int64_t n_known_decodes_ = 0;
  double chunk_ = kFirstChunk;
  int64_t n_steps_since_probe_ = 0;
};

}  // namespace packhorse
