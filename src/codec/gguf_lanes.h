#pragma once
// What the encoders of ggml's types that search for scales have in common: each lane works on a group of its own, so
// that sums keep their order.

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "base/lanes.h"

namespace packhorse::gguf_lanes {

/// Groups of smaller magnitudes count as zeros.
inline constexpr float kAllZero = 1e-15f;

/// As a 16-bit float holds it.
inline float stored(float scale) { return f16_to_f32(f32_to_f16(scale)); }

inline FloatLanes all(float value) { return FloatLanes{value, value, value, value}; }
inline FloatLanes select(IntLanes mask, FloatLanes yes, FloatLanes no) {
  return std::bit_cast<FloatLanes>((std::bit_cast<IntLanes>(yes) & mask) | (std::bit_cast<IntLanes>(no) & ~mask));
}
inline FloatLanes magnitude(FloatLanes x) { return std::bit_cast<FloatLanes>(std::bit_cast<IntLanes>(x) & INT32_MAX); }
inline bool any(IntLanes mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }
inline FloatLanes clamp(FloatLanes x, float low, float high) {
  const FloatLanes raised = x > all(low) ? x : all(low);
  return raised < all(high) ? raised : all(high);
}

/// To the nearest integer, ties to even: the sum's mantissa is the integer plus 2^22. What does not fit wraps around,
/// which ggml's codes show.
inline FloatLanes nearest(FloatLanes x) {
  const IntLanes mantissa = std::bit_cast<IntLanes>(x + 12582912.0f) & 0x7fffff;
  return __builtin_convertvector(mantissa - 0x400000, FloatLanes);
}
inline int nearest(float x) { return static_cast<int>(std::bit_cast<uint32_t>(x + 12582912.0f) & 0x7fffff) - 0x400000; }

/// Element i of four groups of kSize that follow each other.
template <int kSize>
struct FourGroups {
  explicit FourGroups(const float* from) {
    for (int i = 0; i < kSize; ++i)
      x[i] = FloatLanes{from[i], from[kSize + i], from[2 * kSize + i], from[3 * kSize + i]};
  }
  FloatLanes x[kSize];
};

/// The first element of largest magnitude of each group, with its sign.
template <int kSize>
FloatLanes extremes(const FourGroups<kSize>& groups) {
  FloatLanes largest{}, value{};
  for (const FloatLanes x : groups.x) {
    const IntLanes is_larger = magnitude(x) > largest;
    largest = select(is_larger, magnitude(x), largest);
    value = select(is_larger, x, value);
  }
  return value;
}

/// Codes of four groups, one byte each, group by group.
template <int kSize>
void store_codes(const FloatLanes (&codes)[kSize], uint8_t* out) {
  for (int i = 0; i < kSize; ++i) {
    const IntLanes whole = __builtin_convertvector(codes[i], IntLanes);
    for (int lane = 0; lane < static_cast<int>(kLanes); ++lane)
      out[lane * kSize + i] = static_cast<uint8_t>(whole[lane]);
  }
}

inline void store_groups(FloatLanes lanes, float* out) { std::memcpy(out, &lanes, sizeof lanes); }

/// nearest((x + shift) / scale) from `low` to `high`, less `low`.
template <int kSize>
void divide_to_codes(const float* x, float shift, float scale, float low, float high, uint8_t* out) {
  for (int i = 0; i < kSize; i += static_cast<int>(kLanes)) {
    FloatLanes lanes;
    std::memcpy(&lanes, x + i, sizeof lanes);
    const FloatLanes code = clamp(nearest((lanes + shift) / scale), low, high) - low;
    const IntLanes whole = __builtin_convertvector(code, IntLanes);
    for (int lane = 0; lane < static_cast<int>(kLanes); ++lane) out[i + lane] = static_cast<uint8_t>(whole[lane]);
  }
}

}  // namespace packhorse::gguf_lanes
