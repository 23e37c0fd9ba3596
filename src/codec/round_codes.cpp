#include "codec/round_codes.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/half.h"
#include "codec/nearest.h"

namespace packhorse {
namespace {

constexpr int kLowestPower = -127;

bool is_e5m2(const Encoding& encoding) { return encoding.mantissa == kE5M2.mantissa; }

/// Applies `code` to x / scale.
template <class F>
void round_all(std::span<const float> x, float scale, uint8_t zero, uint8_t* out, F&& code) {
  if (scale == 0) {
    std::fill_n(out, x.size(), zero);
    return;
  }
  for (size_t i = 0; i < x.size(); ++i) out[i] = code(x[i] / scale);
}

}  // namespace

float largest_magnitude(std::span<const float> x) {
  uint32_t largest = 0;  // as bits, magnitudes have the order of their values, and NaN is above infinity
  for (const float value : x) largest = std::max(largest, std::bit_cast<uint32_t>(value) & 0x7fffffffu);
  return std::bit_cast<float>(largest);
}

uint8_t f32_to_e2m1(float f) noexcept {
  const float m = std::fabs(f);
  const int code = (m > 0.25f) + (m >= 0.75f) + (m > 1.25f) + (m >= 1.75f) + (m > 2.5f) + (m >= 3.5f) + (m > 5.0f);
  return static_cast<uint8_t>(code | (std::signbit(f) ? 8 : 0));
}

float power_scale_above(float largest, float code_max) noexcept {
  int exponent = kLowestPower;
  const float mantissa = std::frexp(largest / code_max, &exponent);  // in [0.5, 1), or 0
  if (mantissa <= 0.5f) --exponent;
  return std::ldexp(1.0f, mantissa == 0 ? kLowestPower : std::max(exponent, kLowestPower));
}

float power_scale_even(float largest, int mantissa, int shift) noexcept {
  if (largest == 0) return std::ldexp(1.0f, kLowestPower);
  int exponent = 0;
  const float part = std::frexp(largest, &exponent) + std::ldexp(0.5f, -mantissa - 1);
  return std::ldexp(1.0f, std::max(exponent - (part < 1) - shift, kLowestPower));
}

float largest_float8(const Encoding& encoding) noexcept { return is_e5m2(encoding) ? 57344 : 448; }

void round_to_float8(const Encoding& encoding, std::span<const float> x, float scale, uint8_t* out) {
  if (is_e5m2(encoding)) return round_all(x, scale, 0, out, [](float v) { return f32_to_e5m2(v); });
  round_all(x, scale, 0, out, [](float v) { return f32_to_e4m3(v); });
}

void round_to_e2m1(std::span<const float> x, float scale, uint8_t* out) {
  round_all(x, scale, 0, out, [](float v) { return f32_to_e2m1(v); });
}

void round_to_whole(std::span<const float> x, float scale, int low, int high, int offset, uint8_t* out) {
  round_all(x, scale, static_cast<uint8_t>(offset), out,
            [&](float v) { return static_cast<uint8_t>(nearest_whole(v, low, high) + offset); });
}

}  // namespace packhorse
