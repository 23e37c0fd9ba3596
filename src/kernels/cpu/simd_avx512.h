#pragma once
// The vector type that kernel bodies are written over, for AVX-512 (F, BW, VL, DQ). 16 lanes: a panel's 16 rows at
// once.

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/minifloat.h"
#include "kernels/cpu/table_loads.h"

namespace packhorse {
namespace {

struct Avx512 {
  static constexpr int kLanes = 16;
  static constexpr int kTile = 12;     // tokens whose sums fit the registers beside 8 vectors of codes
  static constexpr int kWideBias = 0;  // dot4_wide multiplies (code - 128)
  using F = __m512;
  using I = __m512i;

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  /// Zero where x < limit is false turns around: keep[x >= limit].
  static F keep_ge(F value, F x, F limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ), value);
  }
  static F keep_lt(F value, F x, F limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_LT_OQ), value);
  }
  /// a * 2^n for whole n within the exponent's range.
  static F scale_exponent(F a, F n) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23)));
  }

  static I set1_i32(int32_t x) { return _mm512_set1_epi32(x); }
  static F float_of_bits(I v) { return _mm512_castsi512_ps(v); }
  /// v, which is not negative, with the highest bits of `sign`.
  static F with_sign(F v, I sign) {
    const I highest = set1_i32(static_cast<int32_t>(0x80000000));
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(v), sign, highest, 0xf8));
  }
  static F to_float(I v) { return _mm512_cvtepi32_ps(v); }
  static I load_codes(const uint8_t* p) { return _mm512_loadu_si512(p); }
  template <int N>
  static I shift_right(I v) {
    return N == 0 ? v : _mm512_srli_epi32(v, N);
  }
  template <int N>
  static I shift_left(I v) {
    return N == 0 ? v : _mm512_slli_epi32(v, N);
  }
  static I and_bytes(I v, uint8_t mask) { return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask))); }
  static I and_(I a, I b) { return _mm512_and_si512(a, b); }
  static I or_(I a, I b) { return _mm512_or_si512(a, b); }
  /// a | (b & mask), the mask in every byte.
  static I or_bytes(I a, I b, uint8_t mask) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(static_cast<char>(mask)), 0xf8);
  }
  static I low_byte(I v) { return _mm512_and_si512(v, _mm512_set1_epi32(0xff)); }
  static I mul_i32(I a, I b) { return _mm512_mullo_epi32(a, b); }
  static I sub_i32(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I add_i32(I a, I b) { return _mm512_add_epi32(a, b); }
  /// Byte i of every lane.
  static I byte(I v, int i) { return low_byte(_mm512_srl_epi32(v, _mm_cvtsi32_si128(8 * i))); }
  static I load_table(const uint8_t table[16]) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  }
  static I lookup(I table, I index) { return _mm512_shuffle_epi8(table, index); }
  static F lookup_f32(const float table[16], I index) { return _mm512_permutexvar_ps(index, _mm512_loadu_ps(table)); }
  static I broadcast4(const int8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
  /// acc + sum of four products per lane; codes at most 127, so that pairs fit int16.
  static I dot4(I acc, I u8, I s8) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(u8, s8), _mm512_set1_epi16(1)));
  }
  /// The same for codes of all 8 bits, minus kWideBias - 128 each: |w| * sign(x) avoids the saturation.
  static I dot4_wide(I acc, I u8, I s8) {
    const I w = _mm512_xor_si512(u8, _mm512_set1_epi8(static_cast<char>(0x80)));
    const I x = _mm512_mask_sub_epi8(s8, _mm512_movepi8_mask(w), _mm512_setzero_si512(), s8);
    return dot4(acc, _mm512_abs_epi8(w), x);
  }

  static F round_to_f16(F v) {
    return _mm512_cvtph_ps(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F load_f16(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F load_bf16(const uint8_t* p) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
  }
  /// Even and odd columns of a vector of bfloat16 pairs.
  static F bf16_even(I pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
  static F bf16_odd(I pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int32_t>(0xffff0000))));
  }
  /// Stores lanes as bfloat16, rounded to nearest even; a NaN stays one.
  static void store_bf16(uint16_t* p, F v) {
    const I u = _mm512_castps_si512(v), high = _mm512_srli_epi32(u, 16);
    const I rounded = _mm512_srli_epi32(
        _mm512_add_epi32(u, _mm512_add_epi32(_mm512_and_si512(high, set1_i32(1)), set1_i32(0x7fff))), 16);
    const I out = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), high, set1_i32(0x40));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(out));
  }
  /// Of signed bytes, four a lane: byte i of each lane.
  template <int Byte>
  static I signed_byte(I v) {
    return _mm512_srai_epi32(shift_left<24 - 8 * Byte>(v), 24);
  }
  static void store_i32(uint32_t* p, I v) { _mm512_storeu_si512(p, v); }
  /// Entries of 4 bytes, one a lane.
  [[gnu::always_inline]] static I gather_fours(const int8_t* table, const uint32_t index[16]) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(load_fours(table, index)), load_fours(table, index + 8), 1);
  }
  /// First and second halves of entries of 8 bytes.
  [[gnu::always_inline]] static void gather_eights(const int8_t* table, const uint32_t index[16], I halves[2]) {
    __m256i low[2], high[2];
    load_eights(table, index, low), load_eights(table, index + 8, high);
    for (int i = 0; i < 2; ++i) halves[i] = _mm512_inserti64x4(_mm512_castsi256_si512(low[i]), high[i], 1);
  }
  /// Changes the sign of byte i where bit i is set.
  static I negate_bytes(I v, const uint8_t* bits) {
    uint64_t mask;
    __builtin_memcpy(&mask, bits, 8);
    return _mm512_mask_sub_epi8(v, mask, _mm512_setzero_si512(), v);
  }
  static I xor_bytes(I v, uint8_t mask) { return _mm512_xor_si512(v, _mm512_set1_epi8(static_cast<char>(mask))); }
  /// 2^floor(log2 |a|) of normal numbers.
  static F power_below(F a) { return _mm512_castsi512_ps(and_i32(_mm512_castps_si512(a), 0x7f800000)); }
  static F load_e8m0(const uint8_t* p) {
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_slli_epi32(bytes(p), 23), set1_i32(0x00400000)));
  }
  static F load_e4m3(const uint8_t* p) { return Minifloats<Avx512>(8, 3, 7)(shift_left<24>(bytes(p))); }
  static F load_e5m2(const uint8_t* p) {
    const __m256i words = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm512_cvtph_ps(_mm256_slli_epi16(words, 8));
  }
  static I load_u8_i32(const uint8_t* p) { return bytes(p); }
  static I load_u16_i32(const uint8_t* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static I shift_right_by(I v, int n) { return _mm512_srl_epi32(v, _mm_cvtsi32_si128(n)); }
  static I shift_left_by(I v, int n) { return _mm512_sll_epi32(v, _mm_cvtsi32_si128(n)); }
  static I shift_right_each(I v, I n) { return _mm512_srlv_epi32(v, n); }
  static I and_i32(I v, int32_t mask) { return _mm512_and_si512(v, set1_i32(mask)); }
  static F load_u8(const uint8_t* p) { return to_float(bytes(p)); }
  static F load_i8(const uint8_t* p) {
    return to_float(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static F load_low_nibble(const uint8_t* p) { return to_float(_mm512_and_si512(bytes(p), _mm512_set1_epi32(15))); }
  /// One code a lane of 8 bytes, low nibble first.
  static F load_nibbles(const uint8_t* p) {
    const __m128i pairs = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    const I each = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(pairs, pairs));
    const I shifted = _mm512_srlv_epi32(each, _mm512_set1_epi64(int64_t{4} << 32));
    return to_float(_mm512_and_si512(shifted, _mm512_set1_epi32(15)));
  }
  static F load_high_nibble(const uint8_t* p) { return to_float(_mm512_srli_epi32(bytes(p), 4)); }
  /// Stores lanes as int8; they are whole numbers in [-127, 127].
  static void store_i8(int8_t* p, F v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
  }

 private:
  static I bytes(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};

}  // namespace
}  // namespace packhorse
