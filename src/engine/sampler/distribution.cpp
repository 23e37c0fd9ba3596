#include "engine/sampler/distribution.h"

#include <algorithm>
#include <array>
#include <bit>

#include "engine/sampler/logprobs.h"
#include "engine/sampler/row_math.h"

namespace packhorse {
namespace {

// Weights lie in [0, 1], where the bits of a float are ordered as its value: the leading ones sort them into buckets
// that are 1/16 of a power of two wide.
constexpr uint32_t kBucketShift = 19;
constexpr size_t kBuckets = (0x3f800000u >> kBucketShift) + 1;
size_t bucket_of(float weight) { return std::bit_cast<uint32_t>(weight) >> kBucketShift; }

}  // namespace

void Distribution::assign(std::span<const float> logits, float max_logit, double temperature) {
  logits_ = logits;
  weights_.resize(logits.size());
  const auto scale = static_cast<float>(1 / temperature);
  for (size_t i = 0; i < logits.size(); i += kLanes) {
    const size_t count = logits.size() - i;
    store_lanes(exp_nonpositive((load_lanes(&logits[i], count) - max_logit) * scale), &weights_[i], count);
  }
}

void Distribution::keep_min_p(double min_p) {
  const auto bar = static_cast<float>(min_p);
  for (float& weight : weights_) weight = weight < bar ? 0.0f : weight;
}

void Distribution::keep_top_k(int64_t k) {
  if (k >= static_cast<int64_t>(logits_.size())) return;
  const std::vector<TokenLogit> top = largest_logits(logits_, k);
  const float bar = std::max_element(top.begin(), top.end(), more_likely)->logit;
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = logits_[i] < bar ? 0.0f : weights_[i];
}

void Distribution::keep_top_p(double p) {
  std::array<double, kBuckets> mass{};
  for (const float weight : weights_) mass[bucket_of(weight)] += static_cast<double>(weight);
  double total = 0;
  for (const double m : mass) total += m;

  size_t last = kBuckets - 1;  // bucket in which the share reaches p
  double above = 0;            // mass of the tokens that come before
  while (last > 0 && above + mass[last] < p * total) above += mass[last--];

  std::vector<TokenLogit> tied;  // of that bucket
  for (size_t i = 0; i < weights_.size(); ++i) {
    const size_t bucket = bucket_of(weights_[i]);
    if (bucket == last) tied.push_back({weights_[i], static_cast<int32_t>(i)});
    if (bucket <= last) weights_[i] = 0;
  }
  std::sort(tied.begin(), tied.end(), [](const TokenLogit& a, const TokenLogit& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token > b.token;
  });
  for (const TokenLogit& entry : tied) {
    if (above > 0 && above >= p * total) break;
    weights_[static_cast<size_t>(entry.token)] = entry.logit;
    above += static_cast<double>(entry.logit);
  }
}

int32_t Distribution::draw(double uniform) const {
  constexpr size_t kPart = 256;
  double total = 0;
  std::vector<double> parts;
  parts.reserve(weights_.size() / kPart + 1);
  for (size_t begin = 0; begin < weights_.size(); begin += kPart) {
    double part = 0;
    for (size_t i = begin; i < std::min(begin + kPart, weights_.size()); ++i) part += static_cast<double>(weights_[i]);
    parts.push_back(part);
    total += part;
  }
  double rest = uniform * total;
  size_t part = 0;
  while (part + 1 < parts.size() && rest >= parts[part]) rest -= parts[part++];
  int32_t chosen = -1;  // rounding may leave `rest` just past the end: then the last token with weight is it
  for (size_t i = part * kPart; i < std::min((part + 1) * kPart, weights_.size()); ++i) {
    if (weights_[i] == 0) continue;
    chosen = static_cast<int32_t>(i);
    rest -= static_cast<double>(weights_[i]);
    if (rest < 0) break;
  }
  if (chosen >= 0) return chosen;
  for (size_t i = weights_.size(); i-- > 0;) {
    if (weights_[i] != 0) return static_cast<int32_t>(i);
  }
  return 0;  // unreachable: the most likely token weighs 1
}

}  // namespace packhorse
