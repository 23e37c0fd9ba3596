#pragma once
// Element types of the KV cache and how a block of it is laid out. Plain facts, so that instruction-set files can
// include it; always inlined, lest the linker keep one instruction set's copy for all.
//
// A block holds kKvBlockTokens consecutive positions of one sequence, for one layer; keys, then values:
//   keys    codes [n_kv_heads][head_dim][kKvBlockTokens]   so that one vector holds one dimension of 16 keys
//   values  codes [n_kv_heads][kKvBlockTokens][head_dim]
// Types with a scale per token and head have scales, float32 [n_kv_heads][kKvBlockTokens], after the codes of either.
// Codes of 4 bits lie two to a byte, that of the even dimension low: keys [n_kv_heads][head_dim / 2][kKvBlockTokens],
// values [n_kv_heads][kKvBlockTokens][head_dim / 2].

#include <cstdint>

namespace packhorse {

inline constexpr int64_t kKvBlockTokens = 16;  // positions per block

enum class KvDType : uint8_t { f32, f16, bf16, fp8_e4m3, fp8_e5m2, fp8_token, int8_token, int4_token };

[[gnu::always_inline]] inline constexpr int64_t kv_bits(KvDType type) {
  switch (type) {
    case KvDType::f32:
      return 32;
    case KvDType::f16:
    case KvDType::bf16:
      return 16;
    case KvDType::int4_token:
      return 4;
    default:
      return 8;
  }
}
/// Whether each token and head has a scale of its own.
[[gnu::always_inline]] inline constexpr bool kv_has_token_scales(KvDType type) {
  return type == KvDType::fp8_token || type == KvDType::int8_token || type == KvDType::int4_token;
}
/// Whether keys and values are stored rotated (nn/attention.h).
[[gnu::always_inline]] inline constexpr bool kv_is_rotated(KvDType type) { return type == KvDType::int4_token; }

/// Bytes of n codes; n is even.
[[gnu::always_inline]] inline constexpr int64_t kv_code_bytes(KvDType type, int64_t n) { return n * kv_bits(type) / 8; }
/// Bytes of a block's keys or values, codes and scales.
[[gnu::always_inline]] inline constexpr int64_t kv_half_block_bytes(KvDType type, int64_t n_kv_heads,
                                                                    int64_t head_dim) {
  const int64_t scales = kv_has_token_scales(type) ? n_kv_heads * kKvBlockTokens * 4 : 0;
  return kv_code_bytes(type, n_kv_heads * head_dim * kKvBlockTokens) + scales;
}

/// A scale as stored, and the zero point: a code c stands for (c - zero) * scale. That of 4-bit codes lies in the low 4
/// bits of the scale's mantissa, which the scale itself has as zeros.
struct KvScale {
  float scale, zero;
};
[[gnu::always_inline]] inline KvScale unpack_kv_scale(KvDType type, float stored) {
  if (type != KvDType::int4_token) return {stored, 0};
  uint32_t bits;
  __builtin_memcpy(&bits, &stored, 4);
  const auto zero = static_cast<float>(static_cast<int32_t>(bits & 15));
  bits &= ~15u;
  __builtin_memcpy(&stored, &bits, 4);
  return {stored, zero};
}

}  // namespace packhorse
