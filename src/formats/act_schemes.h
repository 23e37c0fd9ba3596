#pragma once
// How the dialects quantize activations, by name.

#include "codec/encoding.h"

namespace packhorse {

inline constexpr float kE4M3Max = 448, kE2M1Max = 6, kInt8Max = 127;

/// E4M3 with a scale of the checkpoint's.
inline constexpr ActScheme kFp8Static{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::fixed};
/// E4M3 with a scale per token, or per group of columns of a token.
constexpr ActScheme fp8_dynamic(int64_t group = 0, ActScheme::Scale scale = ActScheme::Scale::max) {
  return {.code = ActScheme::Code::fp8, .scale = scale, .group = static_cast<uint16_t>(group), .divisor = kE4M3Max};
}
inline constexpr ActScheme kInt8Static{.code = ActScheme::Code::int8, .scale = ActScheme::Scale::fixed};
inline constexpr ActScheme kInt8PerToken{.code = ActScheme::Code::int8, .divisor = kInt8Max};
/// E2M1 under two levels of scales: E4M3 for 16 columns, and the checkpoint's.
inline constexpr ActScheme kNvfp4Act{
    .code = ActScheme::Code::e2m1, .scale = ActScheme::Scale::nvfp4, .group = 16, .divisor = kE2M1Max};
/// Groups of 32 under a power of two. The rules for it: power_floor and power_even (the element's own largest power of
/// two is `shift`), power_ceil (the largest magnitude never saturates).
constexpr ActScheme mx_act(ActScheme::Code code, ActScheme::Scale rule) {
  const bool is_fp8 = code == ActScheme::Code::fp8;
  if (rule == ActScheme::Scale::power_ceil)
    return {.code = code, .scale = rule, .group = 32, .divisor = is_fp8 ? kE4M3Max : kE2M1Max};
  return {.code = code, .scale = rule, .group = 32, .shift = static_cast<int8_t>(is_fp8 ? 8 : 2)};
}

}  // namespace packhorse
