#pragma once
// Rounding of activations to what a format's codes can say, over a vector type S.

#include <cstdint>

#include "kernels/cpu/elementwise_body.h"
#include "kernels/op.h"

namespace packhorse {
namespace {

/// y[i] = f(x[i]) for vectors; the last one is filled up with zeros.
template <class S, class F>
void map_vectors(const float* x, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + S::kLanes <= n; i += S::kLanes) S::store(y + i, f(S::load(x + i)));
  if (i == n) return;
  float tail[S::kLanes] = {};
  for (int64_t j = i; j < n; ++j) tail[j - i] = x[j];
  S::store(tail, f(S::load(tail)));
  for (int64_t j = i; j < n; ++j) y[j] = tail[j - i];
}

struct Range {
  float low = 0, high = 0;  // at most 0, at least 0
  float magnitude = 0;      // NaN when a number is not finite
};

template <class S>
Range range_of(const float* x, int64_t n) {
  Range range;
  int64_t i = 0;
  if (n >= S::kLanes) {
    typename S::F low = S::zero(), high = S::zero(), bad = S::zero();
    for (; i + S::kLanes <= n; i += S::kLanes) {
      const typename S::F v = S::load(x + i);
      low = S::min(v, low), high = S::max(v, high), bad = S::fma(v, S::zero(), bad);
    }
    float lows[S::kLanes], highs[S::kLanes], bads[S::kLanes];
    S::store(lows, low), S::store(highs, high), S::store(bads, bad);
    for (int lane = 0; lane < S::kLanes; ++lane) {
      range.low = lows[lane] < range.low ? lows[lane] : range.low;
      range.high = highs[lane] > range.high ? highs[lane] : range.high;
      range.magnitude += bads[lane];
    }
  }
  for (; i < n; ++i) {
    range.low = x[i] < range.low ? x[i] : range.low;
    range.high = x[i] > range.high ? x[i] : range.high;
    range.magnitude += x[i] * 0.0f;
  }
  range.magnitude += -range.low > range.high ? -range.low : range.high;
  return range;
}

/// Codes of an ActScheme: whole numbers, or floats of a mantissa's width down to 2^smallest.
struct ActCodes {
  bool is_whole;
  float low, high;
  int mantissa;
  float smallest_power;
};
constexpr ActCodes act_codes(ActScheme::Code code) {
  switch (code) {
    case ActScheme::Code::fp8:
      return {false, -448, 448, 3, 0x1p-6f};
    case ActScheme::Code::fp8_e5m2:
      return {false, -57344, 57344, 2, 0x1p-14f};
    case ActScheme::Code::e2m1:
      return {false, -6, 6, 1, 1};
    case ActScheme::Code::int4:
      return {true, -8, 7, 0, 0};
    default:
      return {true, -128, 127, 0, 0};
  }
}

/// What codes are multiples of, where they are few.
constexpr float step_of_codes(ActScheme::Code code) {
  return code == ActScheme::Code::e2m1 ? 0.5f : act_codes(code).is_whole ? 1.0f : 0.0f;
}

/// Nearest code, ties to even.
template <class S>
typename S::F nearest_code(const ActCodes& codes, typename S::F v) {
  v = S::min(S::set1(codes.high), S::max(S::set1(codes.low), v));
  if (codes.is_whole) return S::round(v);
  const typename S::F power = S::max(S::power_below(v), S::set1(codes.smallest_power));
  const typename S::F step = S::mul(power, S::set1(1.0f / static_cast<float>(1 << codes.mantissa)));
  return S::mul(S::round(S::div(v, step)), step);
}

inline float power_of_two_below(float x, uint32_t add) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  bits = (bits + add) & 0x7f800000;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

struct ActScale {
  float scale, zero;  // x ~ (code - zero) * scale
};

/// Scale of n numbers. 0: they all count as zero.
template <class S>
ActScale dynamic_scale(const RoundActArgs& a, const float* x, int64_t n) {
  using Scale = ActScheme::Scale;
  const ActScheme& scheme = a.scheme;
  const Range range = range_of<S>(x, n);
  float magnitude = range.magnitude;
  if (scheme.limit > 0 && magnitude > scheme.limit) magnitude = scheme.limit;
  switch (scheme.scale) {
    case Scale::power_floor:
    case Scale::power_even: {
      const uint32_t half = scheme.scale == Scale::power_even ? 1u << (22 - act_codes(scheme.code).mantissa) : 0;
      return {power_of_two_below(magnitude, half) / static_cast<float>(1 << scheme.shift), 0};
    }
    case Scale::power_ceil:
      return {power_of_two_below(magnitude / scheme.divisor, 0x7fffff), 0};
    case Scale::nvfp4: {
      float block[S::kLanes] = {magnitude / scheme.divisor / a.act_scale};
      S::store(block, nearest_code<S>(act_codes(ActScheme::Code::fp8), S::load(block)));
      return {block[0] * a.act_scale + magnitude * 0.0f, 0};
    }
    default:
      break;
  }
  if (scheme.symmetric) {
    const float scale = magnitude / scheme.divisor;
    return {scale < scheme.smallest ? scheme.smallest : scale, 0};
  }
  const float wide = (range.high - range.low) / scheme.divisor + magnitude * 0.0f;
  const float scale = wide < scheme.smallest ? scheme.smallest : wide;
  float zero[S::kLanes] = {scale > 0 ? range.low / scale : 0.0f};
  S::store(zero, S::sub(S::set1(-128.0f), S::round(S::load(zero))));
  return {scale, zero[0] < -128.0f ? -128.0f : zero[0] > 127.0f ? 127.0f : zero[0]};
}

template <class S>
void round_row(const RoundActArgs& a, float* y, float* steps) {
  const ActCodes codes = act_codes(a.scheme.code);
  const int64_t group = a.group();
  for (int64_t k = 0; k < a.k; k += group) {
    const int64_t n = a.k - k < group ? a.k - k : group;
    const ActScale s = a.scheme.scale == ActScheme::Scale::fixed ? ActScale{a.act_scale, static_cast<float>(a.act_zero)}
                                                                 : dynamic_scale<S>(a, y + k, n);
    const typename S::F scale = S::set1(s.scale);
    if (steps) *steps++ = s.scale * step_of_codes(a.scheme.code);
    if (s.scale == 0) {
      __builtin_memset(y + k, 0, static_cast<uint64_t>(n) * 4);
    } else if (codes.is_whole) {
      const ActCodes shifted{true, codes.low - s.zero, codes.high - s.zero, 0, 0};
      map_vectors<S>(y + k, y + k, n, [&](typename S::F v) {
        return S::mul(nearest_code<S>(shifted, S::round(S::div(v, scale))), scale);
      });
    } else {
      map_vectors<S>(y + k, y + k, n,
                     [&](typename S::F v) { return S::mul(nearest_code<S>(codes, S::div(v, scale)), scale); });
    }
  }
}

template <class S>
void round_act(const RoundActArgs& a, int64_t begin, int64_t end) noexcept {
  for (int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.k;
    float* y = a.y + m * a.k;
    if (a.order) {
      for (int64_t i = 0; i < a.k; ++i) {
        const int64_t from = a.order[i];
        y[i] = a.scale ? x[from] * a.scale[from] : x[from];
      }
    } else if (a.scale) {
      for (int64_t i = 0; i < a.k; ++i) y[i] = x[i] * a.scale[i];
    } else {
      __builtin_memcpy(y, x, static_cast<uint64_t>(a.k) * 4);
    }
    if (a.scheme.code != ActScheme::Code::none && a.scheme.code != ActScheme::Code::llm_int8)
      round_row<S>(a, y, a.steps ? a.steps + m * a.n_groups() : nullptr);
  }
}

}  // namespace
}  // namespace packhorse
