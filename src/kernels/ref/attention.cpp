// Attention in double, without a running softmax.

#include "kernels/ref/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "codec/kv_codes.h"

namespace packhorse {
namespace {

/// Scale and zero point of a token's head in a block's keys or values.
KvScale kv_scale(const AttentionArgs& a, const uint8_t* half, int64_t kv_head, int64_t slot) {
  if (!kv_has_token_scales(a.dtype)) return {1, 0};
  float stored;
  std::memcpy(
      &stored,
      half + kv_code_bytes(a.dtype, a.n_kv_heads * a.head_dim * kKvBlockTokens) + (kv_head * kKvBlockTokens + slot) * 4,
      4);
  return unpack_kv_scale(a.dtype, stored);
}

double key_at(const AttentionArgs& a, const uint8_t* keys, int64_t kv_head, int64_t slot, int64_t d) {
  const int64_t row = kv_head * a.head_dim + d;
  if (a.dtype != KvDType::int4_token) return kv_code_value(a.dtype, keys, row * kKvBlockTokens + slot);
  return kv_code_value(a.dtype, keys, (row / 2 * kKvBlockTokens + slot) * 2 + d % 2);
}

void attend(const AttentionArgs& a, int64_t token, int64_t head) {
  const int64_t position = a.first_position + token, kv_head = head / (a.n_heads / a.n_kv_heads);
  const int64_t first = a.window > 0 ? std::max<int64_t>(0, position - a.window + 1) : 0;
  const float* q = a.q + token * a.q_stride + head * a.head_dim;
  std::vector<double> p, out(static_cast<size_t>(a.head_dim));
  double largest = -INFINITY, total = 0;
  for (int64_t key = first; key <= position; ++key) {
    const uint8_t* keys = a.keys + a.block_table[key / kKvBlockTokens] * a.block_stride;
    const int64_t slot = key % kKvBlockTokens;
    const KvScale scale = kv_scale(a, keys, kv_head, slot);
    double dot = 0;
    for (int64_t d = 0; d < a.head_dim; ++d) {
      dot += static_cast<double>(q[d]) * (key_at(a, keys, kv_head, slot, d) - scale.zero);
    }
    p.push_back(dot * scale.scale * a.scale * (a.key_scale ? a.key_scale[kv_head] : 1));
    largest = std::max(largest, p.back());
  }
  for (int64_t key = first; key <= position; ++key) {
    const uint8_t* values = a.values + a.block_table[key / kKvBlockTokens] * a.block_stride;
    const int64_t row = kv_head * kKvBlockTokens + key % kKvBlockTokens;
    const KvScale scale = kv_scale(a, values, kv_head, key % kKvBlockTokens);
    const double weight = std::exp(p[static_cast<size_t>(key - first)] - largest);
    total += weight;
    for (int64_t d = 0; d < a.head_dim; ++d) {
      const double value = kv_code_value(a.dtype, values, row * a.head_dim + d) - scale.zero;
      out[static_cast<size_t>(d)] += weight * scale.scale * value;
    }
  }
  for (int64_t d = 0; d < a.head_dim; ++d) {
    a.out[token * a.out_stride + head * a.head_dim + d] =
        static_cast<float>(out[static_cast<size_t>(d)] / total * (a.value_scale ? a.value_scale[kv_head] : 1));
  }
}

}  // namespace

void ref_attention(const AttentionArgs& a, int64_t begin, int64_t end) noexcept {
  const int64_t group = a.n_heads / a.n_kv_heads;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t first = item / a.n_kv_heads * kAttentionTile;
    for (int64_t token = first; token < std::min(first + kAttentionTile, a.n_tokens); ++token) {
      for (int64_t h = 0; h < group; ++h) attend(a, token, item % a.n_kv_heads * group + h);
    }
  }
}

}  // namespace packhorse
