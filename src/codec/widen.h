#pragma once
// Runs of float elements to float32, exactly. Written so that compilers vectorize them for any x86-64.

#include <cstdint>

#include "codec/encoding.h"

namespace packhorse {

/// n raw little-endian elements of a float type.
void widen(Element element, const uint8_t* in, int64_t n, float* out);
/// Rounds each value to the nearest float16, ties to even; overflow becomes infinity.
void round_to_f16(float* values, int64_t n);

}  // namespace packhorse
