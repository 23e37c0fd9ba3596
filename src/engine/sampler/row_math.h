#pragma once
// Passes over one row of logits, in independent lanes: the order of operations is fixed, and compilers use vector
// instructions.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/lanes.h"

namespace packhorse {

/// Up to four values from `count` at `from`; the others are so low that their exponential is 0.
inline FloatLanes load_lanes(const float* from, size_t count) {
  FloatLanes lanes = FloatLanes{} - 1e30f;
  if (count >= kLanes) {
    std::memcpy(&lanes, from, sizeof lanes);
  } else {
    std::memcpy(&lanes, from, count * sizeof(float));
  }
  return lanes;
}

inline void store_lanes(FloatLanes lanes, float* to, size_t count) {
  if (count >= kLanes) {
    std::memcpy(to, &lanes, sizeof lanes);
  } else {
    std::memcpy(to, &lanes, count * sizeof(float));
  }
}

/// e^x for x <= 0, within 2 ulp; 0 below -87 and for minus infinity.
inline FloatLanes exp_nonpositive(FloatLanes x) {
  constexpr auto kLowest = static_cast<int32_t>(0xc2ae0000u);  // bits of -87
  const IntLanes sign = IntLanes{} + INT32_MIN;
  const IntLanes bits = std::bit_cast<IntLanes>(x) | sign;  // the bits of a lower negative float are a larger integer
  const IntLanes is_zero = bits > kLowest;
  const auto clamped = std::bit_cast<FloatLanes>((bits & ~is_zero) | (is_zero & kLowest));
  const FloatLanes shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: low bits become the rounded exponent
  const FloatLanes n = shifted - 12582912.0f;
  const FloatLanes r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;  // ln 2 in two parts
  FloatLanes p = r * 1.98756915e-4f + 1.39819995e-3f;  // (e^r - 1 - r) / r^2 on [-ln 2 / 2, ln 2 / 2], from Cephes
  p = p * r + 8.33345191e-3f;
  p = p * r + 4.16657959e-2f;
  p = p * r + 1.66666655e-1f;
  p = p * r + 5.00000012e-1f;
  p = p * (r * r) + r + 1.0f;
  const IntLanes scale = ((std::bit_cast<IntLanes>(shifted) + 127) & 0xff) << 23;
  return std::bit_cast<FloatLanes>(std::bit_cast<IntLanes>(p * std::bit_cast<FloatLanes>(scale)) & ~is_zero);
}

struct RowMax {
  float value = 0;
  bool all_finite = true;
};

/// Largest logit, and whether all are finite (else `value` says nothing).
inline RowMax row_max(std::span<const float> row) {
  constexpr size_t kMaxLanes = 16;
  float largest[kMaxLanes];
  uint32_t exponents[kMaxLanes] = {};
  std::fill_n(largest, kMaxLanes, row[0]);
  // Adding one to an exponent of all ones, that of infinities and NaN, carries into the sign bit.
  const auto carry = [](float x) { return (std::bit_cast<uint32_t>(x) & 0x7f800000u) + 0x00800000u; };
  size_t i = 0;
  for (; i + kMaxLanes <= row.size(); i += kMaxLanes) {
    for (size_t lane = 0; lane < kMaxLanes; ++lane) {
      const float x = row[i + lane];
      largest[lane] = x > largest[lane] ? x : largest[lane];
      exponents[lane] |= carry(x);
    }
  }
  for (; i < row.size(); ++i) {
    largest[0] = std::max(largest[0], row[i]);
    exponents[0] |= carry(row[i]);
  }
  uint32_t any = 0;
  for (const uint32_t bits : exponents) any |= bits;
  return {*std::max_element(largest, largest + kMaxLanes), (any & 0x80000000u) == 0};
}

/// Sum of e^(x - max) over the row.
inline double row_exp_sum(std::span<const float> row, float max) {
  constexpr size_t kPart = 1024;  // float32 partial sums stay short
  double sum = 0;
  for (size_t begin = 0; begin < row.size(); begin += kPart) {
    const size_t end = std::min(begin + kPart, row.size());
    FloatLanes part{};
    for (size_t i = begin; i < end; i += kLanes) part += exp_nonpositive(load_lanes(&row[i], end - i) - max);
    for (size_t lane = 0; lane < kLanes; ++lane) sum += static_cast<double>(part[lane]);
  }
  return sum;
}

}  // namespace packhorse
