#pragma once
// Quantization of activations, RMS norm and SiLU, over a vector type S. Sums run in 16 lanes (element i in lane i mod
// 16) on every instruction set and are folded in halves, so all give the same bits.

#include <immintrin.h>

#include <cstdint>

#include "kernels/op.h"

namespace packhorse {
namespace {

/// Sixteen running lanes, whatever the vector width.
template <class S>
struct Lanes16 {
  static constexpr int kVectors = 16 / S::kLanes;
  typename S::F v[kVectors];
  Lanes16() {
    for (auto& lane : v) lane = S::zero();
  }
  float sum() const {
    float lanes[16];
    for (int i = 0; i < kVectors; ++i) S::store(lanes + i * S::kLanes, v[i]);
    for (int step = 8; step > 0; step /= 2) {
      for (int i = 0; i < step; ++i) lanes[i] += lanes[i + step];
    }
    return lanes[0];
  }
};

/// e^x for x <= 88; 0 below -87. Cephes' polynomial, error below 2 ulp.
template <class S>
typename S::F exp(typename S::F x) {
  using F = typename S::F;
  const F clamped = S::max(S::set1(-87.0f), x);  // in this order a NaN stays
  const F n = S::round(S::mul(clamped, S::set1(1.44269504088896341f)));
  F r = S::fma(n, S::set1(-0.693359375f), clamped);
  r = S::fma(n, S::set1(2.12194440e-4f), r);
  F p = S::set1(1.9875691500e-4f);
  p = S::fma(p, r, S::set1(1.3981999507e-3f));
  p = S::fma(p, r, S::set1(8.3334519073e-3f));
  p = S::fma(p, r, S::set1(4.1665795894e-2f));
  p = S::fma(p, r, S::set1(1.6666665459e-1f));
  p = S::fma(p, r, S::set1(5.0000001201e-1f));
  p = S::fma(p, S::mul(r, r), S::add(r, S::set1(1.0f)));
  return S::scale_exponent(p, n);
}

/// One block of 32: q = round(x * inverse); `bad` is NaN when an element is not finite, else 0.
template <class S>
void quantize_block(const float* x, float inverse, int8_t* q, int32_t isum[3]) {
  const typename S::F scale = S::set1(inverse);
  for (int i = 0; i < kBlockK; i += S::kLanes) S::store_i8(q + i, S::round(S::mul(S::load(x + i), scale)));
  for (int half = 0; half < 2; ++half) {
    int32_t sum = 0;
    for (int i = 0; i < 16; ++i) sum += q[half * 16 + i];
    isum[half] = sum;
  }
  isum[2] = isum[0] + isum[1];
}

/// Largest magnitude of n floats (a multiple of 32), NaN when one is NaN or infinite.
template <class S>
float max_magnitude(const float* x, int64_t n) {
  typename S::F best = S::zero(), bad = S::zero();
  for (int64_t i = 0; i < n; i += S::kLanes) {
    const typename S::F v = S::load(x + i);
    best = S::max(S::abs(v), best);
    bad = S::fma(v, S::zero(), bad);
  }
  float lanes[S::kLanes], bads[S::kLanes], out = 0, nan = 0;
  S::store(lanes, best);
  S::store(bads, bad);
  for (int i = 0; i < S::kLanes; ++i) {
    out = lanes[i] > out ? lanes[i] : out;
    nan += bads[i];
  }
  return out + nan;
}

constexpr float kSmallest = 1e-30f;  // below it a block counts as zero: 127 / amax would overflow

template <class S>
void quantize_token_blocks(const QuantizeActArgs& a, int64_t m, const float* x) {
  const int64_t n_blocks = a.stride / kBlockK;
  for (int64_t b = 0; b < n_blocks; ++b) {
    const float amax = max_magnitude<S>(x + b * kBlockK, kBlockK);
    const int64_t index = act_block_index(m, b, n_blocks);
    ActBlock& block = a.blocks[index];
    const bool zero = amax < kSmallest;
    const float step = common_step(a, m, b * kBlockK, (b + 1) * kBlockK);
    const bool by_step = step > 0 && amax <= 127.0f * step;
    block.scale = zero ? 0.0f : by_step ? step : amax / 127.0f;
    quantize_block<S>(x + b * kBlockK,
                      zero      ? 0.0f
                      : by_step ? 1.0f / step
                                : 127.0f / amax,
                      a.q + index * kBlockK, block.isum);
    block.sum = block.scale * static_cast<float>(block.isum[2]);
  }
}

/// LLM.int8(): values are rounded to float16 first; outliers leave the row before its maximum is taken, their codes are
/// zero.
template <class S>
void quantize_whole_token(const QuantizeActArgs& a, int64_t m, float* x) {
  int32_t n_outliers = 0;
  Outlier* outliers = a.outliers + m * a.stride;
  const float* given = a.x + m * a.x_stride;
  for (int64_t k = 0; k < a.stride; k += S::kLanes) S::store(x + k, S::round_to_f16(S::load(x + k)));
  if (a.outlier_threshold > 0) {
    for (int64_t k = 0; k < a.k; ++k) {
      const float magnitude = x[k] < 0 ? -x[k] : x[k];
      if (magnitude >= a.outlier_threshold) {
        outliers[n_outliers++] = {static_cast<int32_t>(k), given[k]};
        x[k] = 0;
      }
    }
  }
  a.n_outliers[m] = n_outliers;
  const float amax = max_magnitude<S>(x, a.stride);
  const bool zero = amax < kSmallest;
  a.token_max[m] = amax;
  for (int64_t b = 0; b < a.stride / kBlockK; ++b) {
    const int64_t index = act_block_index(m, b, a.stride / kBlockK);
    quantize_block<S>(x + b * kBlockK, zero ? 0.0f : 127.0f / amax, a.q + index * kBlockK, a.blocks[index].isum);
  }
}

/// k floats as bfloat16, zeros up to the stride.
template <class S>
void round_to_bf16(const float* x, int64_t k, int64_t stride, uint16_t* out) {
  int64_t i = 0;
  for (; i + S::kLanes <= k; i += S::kLanes) S::store_bf16(out + i, S::load(x + i));
  float tail[S::kLanes];
  for (; i < stride; i += S::kLanes) {
    for (int lane = 0; lane < S::kLanes; ++lane) tail[lane] = i + lane < k ? x[i + lane] : 0.0f;
    S::store_bf16(out + i, S::load(tail));
  }
}

/// Whichever outputs are given. `f32` is needed by int8_token as its working copy.
template <class S>
void quantize_act(const QuantizeActArgs& a, int64_t begin, int64_t end) noexcept {
  for (int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.x_stride;
    if (a.f32) {
      float* copy = a.f32 + m * a.stride;
      __builtin_memcpy(copy, x, static_cast<uint64_t>(a.k) * 4);
      __builtin_memset(copy + a.k, 0, static_cast<uint64_t>(a.stride - a.k) * 4);
      x = copy;
    }
    if (a.bf16) round_to_bf16<S>(x, a.k, a.stride, a.bf16 + m * a.stride);
    if (a.token_max)
      quantize_whole_token<S>(a, m, a.f32 + m * a.stride);
    else if (a.q)
      quantize_token_blocks<S>(a, m, x);
  }
}

template <class S>
void rms_norm(const RmsNormArgs& a, int64_t begin, int64_t end) noexcept {
  for (int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.n;
    float* y = a.y + m * a.n;
    Lanes16<S> lanes;
    int64_t i = 0;
    for (; i + 16 <= a.n; i += 16) {
      for (int v = 0; v < lanes.kVectors; ++v) {
        const typename S::F e = S::load(x + i + v * S::kLanes);
        lanes.v[v] = S::fma(e, e, lanes.v[v]);
      }
    }
    float sum = lanes.sum();
    for (int64_t j = i; j < a.n; ++j) sum += x[j] * x[j];
    const float mean = sum / static_cast<float>(a.n) + a.eps;
    const float r = 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean)));
    for (i = 0; i + S::kLanes <= a.n; i += S::kLanes) {
      S::store(y + i, S::mul(S::mul(S::load(x + i), S::set1(r)), S::load(a.weight + i)));
    }
    for (; i < a.n; ++i) y[i] = x[i] * r * a.weight[i];
  }
}

template <class S>
typename S::F silu(typename S::F gate) {
  const typename S::F e = exp<S>(S::min(S::set1(88.0f), S::sub(S::zero(), gate)));
  return S::div(gate, S::add(S::set1(1.0f), e));
}

template <class S>
void silu_mul(const SiluMulArgs& a, int64_t begin, int64_t end) noexcept {
  for (int64_t m = begin; m < end; ++m) {
    const float* gate = a.gate_up + m * 2 * a.n;
    const float* up = gate + a.n;
    float* y = a.y + m * a.n;
    int64_t i = 0;
    for (; i + S::kLanes <= a.n; i += S::kLanes) S::store(y + i, S::mul(silu<S>(S::load(gate + i)), S::load(up + i)));
    if (i < a.n) {
      float tail[2][S::kLanes] = {};
      for (int64_t j = i; j < a.n; ++j) tail[0][j - i] = gate[j], tail[1][j - i] = up[j];
      S::store(tail[0], S::mul(silu<S>(S::load(tail[0])), S::load(tail[1])));
      for (int64_t j = i; j < a.n; ++j) y[j] = tail[0][j - i];
    }
  }
}

}  // namespace
}  // namespace packhorse
