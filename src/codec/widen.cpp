#include "codec/widen.h"

#include <bit>
#include <cstring>

namespace packhorse {
namespace {

constexpr int kRun = 64;  // constant trip counts are what -O2 vectorizes

template <class T, float (*kConvert)(T)>
void convert_runs(const uint8_t* in, int64_t n, float* out) {
  T raw[kRun] = {};
  float wide[kRun];
  for (int64_t i = 0; i < n; i += kRun) {
    const auto count = static_cast<size_t>(n - i < kRun ? n - i : kRun);
    std::memcpy(raw, in + i * static_cast<int64_t>(sizeof(T)), count * sizeof(T));
    for (int j = 0; j < kRun; ++j) wide[j] = kConvert(raw[j]);
    std::memcpy(out + i, wide, count * sizeof(float));
  }
}

float from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

/// The magnitude is read as a float32 with a too small exponent and scaled up; subnormals come out right by themselves.
float from_f16(uint16_t bits) {
  const float magnitude = std::bit_cast<float>(static_cast<uint32_t>(bits & 0x7fff) << 13) * 0x1p112f;
  const uint32_t special = (bits & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | special |
                              static_cast<uint32_t>(bits & 0x8000) << 16);
}

float rounded_to_f16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude + 0xfffu + (magnitude >> 13 & 1u)) & ~0x1fffu;
  // Below the normal range the step is 2^-24, which is that of float32 just above 0.5.
  const uint32_t tiny = std::bit_cast<uint32_t>((std::bit_cast<float>(magnitude) + 0.5f) - 0.5f);
  uint32_t result = magnitude < 0x38800000u ? tiny : normal;
  result = magnitude >= 0x477ff000u ? 0x7f800000u : result;
  result = magnitude > 0x7f800000u ? 0x7fc00000u : result;
  return std::bit_cast<float>(result | (bits & 0x80000000u));
}

}  // namespace

void widen(Element element, const uint8_t* in, int64_t n, float* out) {
  if (element == Element::f32) {
    std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
  } else if (element == Element::f16) {
    convert_runs<uint16_t, from_f16>(in, n, out);
  } else {
    convert_runs<uint16_t, from_bf16>(in, n, out);
  }
}

void round_to_f16(float* values, int64_t n) {
  convert_runs<float, rounded_to_f16>(reinterpret_cast<const uint8_t*>(values), n, values);
}

}  // namespace packhorse
