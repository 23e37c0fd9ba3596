#pragma once
// Scalar conversions between float and the 16- and 8-bit formats, round to nearest even. Inputs and outputs are raw
// bits.

#include <bit>
#include <cmath>
#include <cstdint>

namespace packhorse {

inline float bf16_to_f32(uint16_t h) noexcept { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

inline uint16_t f32_to_bf16(float f) noexcept {
  const auto u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(u >> 16 | 0x40);  // quiet NaN
  return static_cast<uint16_t>((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

inline float f16_to_f32(uint16_t h) noexcept {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t magnitude = h & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude < 0x400u) {  // zero and subnormals are multiples of 2^-24
    const float f = static_cast<float>(magnitude) * 0x1p-24f;
    return sign ? -f : f;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
}

inline uint16_t f32_to_f16(float f) noexcept {
  const auto u = std::bit_cast<uint32_t>(f);
  const auto sign = static_cast<uint16_t>(u >> 16 & 0x8000u);
  const uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low mantissa bits
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13));
}

/// E4M3 without infinities: at most 448; 0x7f and 0xff are NaN (OCP OFP8).
inline float e4m3_to_f32(uint8_t code) noexcept {
  if ((code & 0x7f) == 0x7f) return std::bit_cast<float>(0x7fc00000u);
  return f16_to_f32(static_cast<uint16_t>((code & 0x80) << 8 | (code & 0x7f) << 7)) * 256.0f;
}

/// Saturates at 448; NaN stays NaN.
inline uint8_t f32_to_e4m3(float f) noexcept {
  const auto sign = static_cast<uint8_t>(std::bit_cast<uint32_t>(f) >> 24 & 0x80u);
  const float magnitude = std::fabs(f);
  if (magnitude != magnitude) return static_cast<uint8_t>(sign | 0x7f);
  if (magnitude >= 448.0f) return static_cast<uint8_t>(sign | 0x7e);
  if (magnitude < 0x1p-6f) return static_cast<uint8_t>(sign | static_cast<uint8_t>(std::nearbyint(magnitude * 512.0f)));
  const auto u = std::bit_cast<uint32_t>(magnitude);
  return static_cast<uint8_t>(sign | (((u + 0x7ffffu + (u >> 20 & 1u)) >> 20) - (120u << 3)));
}

/// E5M2: a float16 without its low mantissa bits; 0x7c and 0xfc are infinities (OCP OFP8).
inline float e5m2_to_f32(uint8_t code) noexcept { return f16_to_f32(static_cast<uint16_t>(code << 8)); }

/// Saturates at 57344; NaN stays NaN.
inline uint8_t f32_to_e5m2(float f) noexcept {
  const auto sign = static_cast<uint8_t>(std::bit_cast<uint32_t>(f) >> 24 & 0x80u);
  const float magnitude = std::fabs(f);
  if (magnitude != magnitude) return static_cast<uint8_t>(sign | 0x7f);
  if (magnitude >= 57344.0f) return static_cast<uint8_t>(sign | 0x7b);
  if (magnitude < 0x1p-14f)
    return static_cast<uint8_t>(sign | static_cast<uint8_t>(std::nearbyint(magnitude * 0x1p16f)));
  const auto u = std::bit_cast<uint32_t>(magnitude);
  return static_cast<uint8_t>(sign | (((u + 0xfffffu + (u >> 21 & 1u)) >> 21) - (112u << 2)));
}

/// E8M0, a power of two: 2^(code - 127); 0xff is NaN (OCP MX).
inline float e8m0_to_f32(uint8_t code) noexcept {
  if (code == 0xff) return std::bit_cast<float>(0x7fc00000u);
  return std::bit_cast<float>(code ? static_cast<uint32_t>(code) << 23 : 0x00400000u);
}

}  // namespace packhorse
