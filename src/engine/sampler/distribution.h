#pragma once
// What one token is drawn from: a weight per token of the vocabulary, narrowed by filters that set weights to zero.

#include <cstdint>
#include <span>
#include <vector>

namespace packhorse {

/// Unnormalized probabilities; the most likely token weighs 1. The object is scratch: reuse saves the allocation.
class Distribution {
 public:
  /// softmax(logits / temperature) up to a factor. `max_logit` is finite; logits may be minus infinity.
  void assign(std::span<const float> logits, float max_logit, double temperature);

  /// Drops tokens less likely than `min_p` times the most likely one.
  void keep_min_p(double min_p);
  /// Keeps the k most likely tokens and all that are as likely as the last of them.
  void keep_top_k(int64_t k);
  /// Keeps the most likely tokens until their share reaches `p`, at least one. Equally likely tokens count from the
  /// highest id down, as a stable ascending sort leaves them.
  void keep_top_p(double p);

  /// The token at which the cumulative share, in order of id, exceeds `uniform` of [0, 1).
  int32_t draw(double uniform) const;

  std::span<const float> weights() const { return weights_; }

 private:
  std::span<const float> logits_;
  std::vector<float> weights_;  // [vocab_size]
};

}  // namespace packhorse
