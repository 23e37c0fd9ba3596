#pragma once
// The vector type that kernel bodies are written over, for AVX2 with FMA and F16C. 8 lanes: a panel takes two passes.

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/minifloat.h"
#include "kernels/cpu/table_loads.h"

namespace packhorse {
namespace {

struct Avx2 {
  static constexpr int kLanes = 8;
  static constexpr int kTile = 4;      // tokens per pass; the codes' vectors live in the first-level cache
  static constexpr int kWideBias = 0;  // dot4_wide multiplies (code - 128)
  using F = __m256;
  using I = __m256i;

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float x) { return _mm256_set1_ps(x); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F keep_ge(F value, F x, F limit) { return _mm256_and_ps(value, _mm256_cmp_ps(x, limit, _CMP_GE_OQ)); }
  static F keep_lt(F value, F x, F limit) { return _mm256_and_ps(value, _mm256_cmp_ps(x, limit, _CMP_LT_OQ)); }
  static F scale_exponent(F a, F n) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
  }

  static I set1_i32(int32_t x) { return _mm256_set1_epi32(x); }
  static F float_of_bits(I v) { return _mm256_castsi256_ps(v); }
  static F with_sign(F v, I sign) { return _mm256_or_ps(v, _mm256_and_ps(_mm256_castsi256_ps(sign), set1(-0.0f))); }
  static F to_float(I v) { return _mm256_cvtepi32_ps(v); }
  static I load_codes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  template <int N>
  static I shift_right(I v) {
    return N == 0 ? v : _mm256_srli_epi32(v, N);
  }
  template <int N>
  static I shift_left(I v) {
    return N == 0 ? v : _mm256_slli_epi32(v, N);
  }
  static I and_bytes(I v, uint8_t mask) { return _mm256_and_si256(v, _mm256_set1_epi8(static_cast<char>(mask))); }
  static I and_(I a, I b) { return _mm256_and_si256(a, b); }
  static I or_(I a, I b) { return _mm256_or_si256(a, b); }
  static I or_bytes(I a, I b, uint8_t mask) { return or_(a, and_bytes(b, mask)); }
  static I low_byte(I v) { return _mm256_and_si256(v, _mm256_set1_epi32(0xff)); }
  static I mul_i32(I a, I b) { return _mm256_mullo_epi32(a, b); }
  static I sub_i32(I a, I b) { return _mm256_sub_epi32(a, b); }
  static I add_i32(I a, I b) { return _mm256_add_epi32(a, b); }
  static I byte(I v, int i) { return low_byte(_mm256_srl_epi32(v, _mm_cvtsi32_si128(8 * i))); }
  static I load_table(const uint8_t table[16]) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  }
  static I lookup(I table, I index) { return _mm256_shuffle_epi8(table, index); }
  static F lookup_f32(const float table[16], I index) {
    const F low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), index);
    const F high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
  }
  static I broadcast4(const int8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
  }
  static I dot4(I acc, I u8, I s8) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u8, s8), _mm256_set1_epi16(1)));
  }
  static I dot4_wide(I acc, I u8, I s8) {
    const I w = _mm256_xor_si256(u8, _mm256_set1_epi8(static_cast<char>(0x80)));
    return dot4(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(s8, w));
  }

  static F round_to_f16(F v) {
    return _mm256_cvtph_ps(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F load_f16(const uint8_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static F load_bf16(const uint8_t* p) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
  }
  static F bf16_even(I pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
  static F bf16_odd(I pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int32_t>(0xffff0000))));
  }
  static void store_bf16(uint16_t* p, F v) {
    const I u = _mm256_castps_si256(v), high = _mm256_srli_epi32(u, 16);
    const I odd = _mm256_and_si256(high, set1_i32(1));
    const I rounded = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, set1_i32(0x7fff))), 16);
    const I nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const I out = _mm256_blendv_epi8(rounded, _mm256_or_si256(high, set1_i32(0x40)), nan);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(out), _mm256_extracti128_si256(out, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), words);
  }
  /// Of signed bytes, four a lane: byte i of each lane.
  template <int Byte>
  static I signed_byte(I v) {
    return _mm256_srai_epi32(shift_left<24 - 8 * Byte>(v), 24);
  }
  static void store_i32(uint32_t* p, I v) { _mm256_storeu_si256(reinterpret_cast<I*>(p), v); }
  /// Entries of 4 bytes, one a lane.
  [[gnu::always_inline]] static I gather_fours(const int8_t* table, const uint32_t index[8]) {
    return load_fours(table, index);
  }
  /// First and second halves of entries of 8 bytes.
  [[gnu::always_inline]] static void gather_eights(const int8_t* table, const uint32_t index[8], I halves[2]) {
    load_eights(table, index, halves);
  }
  /// Changes the sign of byte i where bit i is set.
  static I negate_bytes(I v, const uint8_t* bits) {
    int32_t word;
    __builtin_memcpy(&word, bits, 4);
    const I spread = _mm256_shuffle_epi8(
        _mm256_set1_epi32(word), _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
    const I bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    const I negative = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
    return _mm256_sub_epi8(_mm256_xor_si256(v, negative), negative);
  }
  static I xor_bytes(I v, uint8_t mask) { return _mm256_xor_si256(v, _mm256_set1_epi8(static_cast<char>(mask))); }
  /// 2^floor(log2 |a|) of normal numbers.
  static F power_below(F a) { return _mm256_and_ps(a, _mm256_castsi256_ps(set1_i32(0x7f800000))); }
  static F load_e8m0(const uint8_t* p) {
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_slli_epi32(bytes(p), 23), set1_i32(0x00400000)));
  }
  static F load_e4m3(const uint8_t* p) { return Minifloats<Avx2>(8, 3, 7)(shift_left<24>(bytes(p))); }
  static F load_e5m2(const uint8_t* p) {
    const __m128i words = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return _mm256_cvtph_ps(_mm_slli_epi16(words, 8));
  }
  static I load_u8_i32(const uint8_t* p) { return bytes(p); }
  static I load_u16_i32(const uint8_t* p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static I shift_right_by(I v, int n) { return _mm256_srl_epi32(v, _mm_cvtsi32_si128(n)); }
  static I shift_left_by(I v, int n) { return _mm256_sll_epi32(v, _mm_cvtsi32_si128(n)); }
  static I shift_right_each(I v, I n) { return _mm256_srlv_epi32(v, n); }
  static I and_i32(I v, int32_t mask) { return _mm256_and_si256(v, set1_i32(mask)); }
  static F load_u8(const uint8_t* p) { return to_float(bytes(p)); }
  static F load_i8(const uint8_t* p) {
    return to_float(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static F load_low_nibble(const uint8_t* p) { return to_float(_mm256_and_si256(bytes(p), _mm256_set1_epi32(15))); }
  /// One code a lane of 4 bytes, low nibble first.
  static F load_nibbles(const uint8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    const I words = _mm256_srlv_epi32(_mm256_set1_epi32(four), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    return to_float(_mm256_and_si256(words, _mm256_set1_epi32(15)));
  }
  static F load_high_nibble(const uint8_t* p) { return to_float(_mm256_srli_epi32(bytes(p), 4)); }
  static void store_i8(int8_t* p, F v) {
    const I i = _mm256_cvtps_epi32(v);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }

 private:
  static I bytes(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
};

}  // namespace
}  // namespace packhorse
