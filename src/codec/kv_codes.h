#pragma once
// What the KV cache stores of one head of one token, and what that stands for.

#include <cstdint>

#include "codec/kv_dtype.h"

namespace packhorse {

/// Codes of x[n], n even, kv_code_bytes(type, n) bytes: x / scale, to the nearest code, ties to even; floats of 8 bits
/// saturate. Types with a scale per token take their own from x and return it as it is to be stored, others return 1:
///   fp8_token   largest magnitude / 448
///   int8_token  largest magnitude / 127
///   int4_token  (largest - smallest) / 15 of x and 0, with round(-smallest / scale) as zero point
/// A number that is not finite makes such a scale NaN, so that it shows in the logits.
float encode_kv(KvDType type, const float* x, int64_t n, float scale, uint8_t* codes);
/// The number that element i of codes is, before scale and zero point.
float kv_code_value(KvDType type, const uint8_t* codes, int64_t i);

/// The Walsh-Hadamard transform of the head, unnormalized: applied twice it multiplies by hadamard_block(head_dim). Of
/// a head whose size is no power of two, of each block by itself.
void hadamard(float* x, int64_t head_dim);
/// The largest power of two that divides the head size.
inline constexpr int64_t hadamard_block(int64_t head_dim) { return head_dim & -head_dim; }

}  // namespace packhorse
