#pragma once
// Floats to the nearest codes under a given scale, and the scales that formats derive from the largest magnitude.

#include <cstdint>
#include <span>

#include "codec/encoding.h"

namespace packhorse {

/// NaN or infinity when one of x is.
float largest_magnitude(std::span<const float> x);

/// Largest number of E4M3 or E5M2, whichever the elements of `encoding` are.
float largest_float8(const Encoding& encoding) noexcept;

/// Code of E2M1 (table kE2M1), ties to the even code, saturating at 6; the sign stays, also that of zero.
uint8_t f32_to_e2m1(float f) noexcept;

// Powers of two for E8M0 scales, at least 2^-127. `largest` is finite and not negative.

/// The smallest power of two under which `largest` is at most `code_max`.
float power_scale_above(float largest, float code_max) noexcept;
/// The power of two below `largest` once that is rounded half up to `mantissa` explicit bits, less `shift` powers (the
/// exponent of the element's own largest power of two): values above its largest code saturate.
float power_scale_even(float largest, int mantissa, int shift) noexcept;

// out[i] = the code nearest to x[i] / scale, ties to even; scale 0 makes zeros.

/// `encoding` has E4M3 or E5M2 elements.
void round_to_float8(const Encoding& encoding, std::span<const float> x, float scale, uint8_t* out);
void round_to_e2m1(std::span<const float> x, float scale, uint8_t* out);
/// Whole numbers in [low, high], stored plus `offset`.
void round_to_whole(std::span<const float> x, float scale, int low, int high, int offset, uint8_t* out);

}  // namespace packhorse
