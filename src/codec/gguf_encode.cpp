// The types with one scale per block: the element of largest magnitude, or the range, decides it.

#include "codec/gguf_encode.h"

#include <algorithm>
#include <cmath>

#include "codec/gguf_lanes.h"

namespace packhorse {
namespace {

using gguf_lanes::stored;

constexpr int kBlock = 32, kTernaryBlock = 256;

float inverse(float scale) { return scale != 0 ? 1 / scale : 0.0f; }

/// Toward zero. A scale so small that its inverse is infinite leaves no codes but 0.
int truncated(float value) { return static_cast<int>(std::fabs(value) < 512 ? value : 0.0f); }

/// To the nearest, halves away from zero.
int rounded_away(float value) {
  const int whole = truncated(value);
  return whole + truncated(2 * (value - static_cast<float>(whole)));
}

float largest_magnitude(const float* x, int n) {
  float largest = 0;
  for (int i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

/// The first element of largest magnitude, with its sign.
float extreme(const float* x) {
  float magnitude = 0, value = 0;
  for (int i = 0; i < kBlock; ++i) {
    const bool is_larger = magnitude < std::fabs(x[i]);
    value = is_larger ? x[i] : value;
    magnitude = is_larger ? std::fabs(x[i]) : magnitude;
  }
  return value;
}

/// Codes of 2 * kHalf levels around zero; the extreme is the lowest one.
template <int kHalf>
void encode_around_zero(std::span<const float> row, const GgufTarget& out) {
  for (size_t b = 0; b < row.size() / kBlock; ++b) {
    const float* const x = row.data() + b * kBlock;
    uint8_t* const codes = out.codes + b * kBlock;
    const float scale = extreme(x) / -kHalf, inv = inverse(scale);
    out.scale[b] = stored(scale);
    for (int i = 0; i < kBlock; ++i)
      codes[i] = static_cast<uint8_t>(std::min(truncated(x[i] * inv + (kHalf + 0.5f)), 2 * kHalf - 1));
  }
}

/// Codes 0..kTop from the smallest element to the largest.
template <int kTop>
void encode_range(std::span<const float> row, const GgufTarget& out) {
  for (size_t b = 0; b < row.size() / kBlock; ++b) {
    const float* const x = row.data() + b * kBlock;
    uint8_t* const codes = out.codes + b * kBlock;
    float low = x[0], high = x[0];
    for (int i = 1; i < kBlock; ++i) low = std::min(low, x[i]), high = std::max(high, x[i]);
    const float scale = (high - low) / kTop, inv = inverse(scale);
    out.scale[b] = stored(scale);
    out.min[b] = stored(low);
    for (int i = 0; i < kBlock; ++i)
      codes[i] = static_cast<uint8_t>(std::min(truncated((x[i] - low) * inv + 0.5f), kTop));
  }
}

}  // namespace

void encode_q4_0(std::span<const float> row, const GgufTarget& out) { encode_around_zero<8>(row, out); }
void encode_q5_0(std::span<const float> row, const GgufTarget& out) { encode_around_zero<16>(row, out); }
void encode_q4_1(std::span<const float> row, const GgufTarget& out) { encode_range<15>(row, out); }
void encode_q5_1(std::span<const float> row, const GgufTarget& out) { encode_range<31>(row, out); }

void encode_q8_0(std::span<const float> row, const GgufTarget& out) {
  for (size_t b = 0; b < row.size() / kBlock; ++b) {
    const float* const x = row.data() + b * kBlock;
    uint8_t* const codes = out.codes + b * kBlock;
    const float scale = largest_magnitude(x, kBlock) / 127, inv = inverse(scale);
    out.scale[b] = stored(scale);
    for (int i = 0; i < kBlock; ++i) codes[i] = static_cast<uint8_t>(rounded_away(x[i] * inv) + 128);
  }
}

void encode_ternary(std::span<const float> row, const GgufTarget& out) {
  for (size_t b = 0; b < row.size() / kTernaryBlock; ++b) {
    const float* const x = row.data() + b * kTernaryBlock;
    uint8_t* const codes = out.codes + b * kTernaryBlock;
    const float scale = largest_magnitude(x, kTernaryBlock), inv = inverse(scale);
    out.scale[b] = stored(scale);
    for (int i = 0; i < kTernaryBlock; ++i) codes[i] = static_cast<uint8_t>(rounded_away(x[i] * inv) + 1);
  }
}

}  // namespace packhorse
