#pragma once
// Matrix product of weights in floats of at most 8 bits with activations rounded to bfloat16, for AVX-512 with BF16. A
// slice of columns is widened to bfloat16, which is exact, in the first-level cache, and serves all tokens of a chunk.

#include "kernels/cpu/matmul_body.h"
#include "kernels/cpu/simd_avx512.h"

namespace packhorse {
namespace {

constexpr int64_t kSlice = kScaledSlice;

/// acc + odd column * odd column, then + even * even, each a fused multiply-add.
inline __m512 dot2(__m512 acc, __m512i w, __m512i x) {
  return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
}

inline __m512i broadcast_pair(const uint16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm512_set1_epi32(pair);
}

/// Minifloats of one format in 16-bit words.
struct MinifloatToBf16 {
  __m512i add, keep, subnormals;
  int bits, shift;
  __m512i exponent;

  explicit MinifloatToBf16(const Encoding& e)
      : add(_mm512_set1_epi16(static_cast<int16_t>((127 - e.bias) << 7))),
        keep(_mm512_set1_epi16(static_cast<int16_t>(((1 << (e.bits - 1)) - 1) << (7 - e.mantissa)))),
        bits(e.bits),
        shift(7 - e.mantissa),
        exponent(_mm512_set1_epi16(static_cast<int16_t>((1 << (e.bits - 1)) - (1 << e.mantissa)))) {
    uint16_t table[32] = {};
    const float unit = minifloat_unit(e);
    for (int i = 0; i < 32; ++i) {  // a sign bit may be among the five of the index
      const float value = static_cast<float>(i & ((1 << e.mantissa) - 1)) * unit;
      uint32_t word;
      __builtin_memcpy(&word, &value, 4);
      table[i] = static_cast<uint16_t>(word >> 16);
    }
    subnormals = _mm512_loadu_si512(table);
  }
  /// Of the smallest subnormal number.
  static float minifloat_unit(const Encoding& e) {
    const uint32_t word = static_cast<uint32_t>(128 - e.bias - e.mantissa) << 23;
    float unit;
    __builtin_memcpy(&unit, &word, 4);
    return unit;
  }
  __m512i operator()(__m512i words) const {
    const __m128i up = _mm_cvtsi32_si128(shift), sign_up = _mm_cvtsi32_si128(16 - bits);
    __m512i out = _mm512_add_epi16(_mm512_and_si512(_mm512_sll_epi16(words, up), keep), add);
    const __mmask32 is_subnormal = _mm512_testn_epi16_mask(words, exponent);
    out = _mm512_mask_permutexvar_epi16(out, is_subnormal, words, subnormals);
    return _mm512_ternarylogic_epi32(out, _mm512_sll_epi16(words, sign_up), _mm512_set1_epi16(-0x8000), 0xf8);
  }
};

/// A panel's codes and scales, slice by slice.
struct ScaledPanel {
  const uint8_t* code;
  AnyGroups<Avx512> groups;
  __m512 scale;
  alignas(64) uint16_t pairs[kSlice / 2][16][2];  // [column pair][row][2]

  ScaledPanel(const MatmulArgs& a, int64_t panel)
      : code(a.weight.codes + panel * a.weight.code_stride),
        groups(a.weight, a.weight.scales + panel * a.weight.scale_stride, 0) {}

  void next_group() {
    groups.next();
    scale = groups.with_outer(_mm512_mul_ps(groups.scale, groups.factor));
  }
  void widen(const MinifloatToBf16& to_bf16, int64_t n_columns) {
    // Bytes 0 and 1, or 2 and 3, of each lane as words.
    const __m512i low = _mm512_set4_epi32(static_cast<int32_t>(0x800d800c), static_cast<int32_t>(0x80098008),
                                          static_cast<int32_t>(0x80058004), static_cast<int32_t>(0x80018000));
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(2));
    auto* out = reinterpret_cast<__m512i*>(pairs);
    for (int64_t k = 0; k < n_columns; k += kBlockK, code += 64 * to_bf16.bits) {
      __m512i c[8];
      prefetch<8>(code, 0);
      unpack_block<Avx512>(to_bf16.bits, code, c);
      for (int j = 0; j < 8; ++j) {
        *out++ = to_bf16(_mm512_shuffle_epi8(c[j], low));
        *out++ = to_bf16(_mm512_shuffle_epi8(c[j], high));
      }
    }
  }
};

template <int T, int P>
void add_slice(const MatmulArgs& a, const ScaledPanel (&panels)[P], int64_t m, int64_t k, int64_t n_columns,
               __m512 (*sums)[P]) {
  const uint16_t* x = a.x.bf16 + m * a.x.stride + k;
  __m512 acc[P][T];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) acc[p][t] = _mm512_setzero_ps();
  }
  for (int64_t pair = 0; pair < n_columns / 2; ++pair) {
    __m512i w[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) w[p] = _mm512_load_si512(panels[p].pairs[pair]);
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      const __m512i columns = broadcast_pair(x + t * a.x.stride + 2 * pair);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) acc[p][t] = dot2(acc[p][t], w[p], columns);
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int p = 0; p < P; ++p) sums[t][p] = _mm512_fmadd_ps(acc[p][t], panels[p].scale, sums[t][p]);
  }
}

/// Tokens [begin, end), at most a chunk, with P panels from `panel` on.
template <int P>
void scaled_chunk(const MatmulArgs& a, const MinifloatToBf16& to_bf16, int64_t begin, int64_t end, int64_t panel,
                  ScaledPanel (&panels)[P]) {
  const int64_t k_padded = a.weight.k_padded, group = a.weight.group_k < a.weight.k ? a.weight.group_k : k_padded;
  __m512 sums[kTokenChunk][P];
  for (int64_t t = 0; t < end - begin; ++t) {
    for (int p = 0; p < P; ++p) sums[t][p] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < k_padded;) {
    const int64_t group_end = k + group < k_padded ? k + group : k_padded;
    for (int p = 0; p < P; ++p) panels[p].next_group();
    while (k < group_end) {
      const int64_t n_columns = group_end - k < kSlice ? group_end - k : kSlice;
      for (int p = 0; p < P; ++p) panels[p].widen(to_bf16, n_columns);
      int64_t m = begin;
      for (; m + 8 <= end; m += 8) add_slice<8, P>(a, panels, m, k, n_columns, sums + (m - begin));
      for (; m + 2 <= end; m += 2) add_slice<2, P>(a, panels, m, k, n_columns, sums + (m - begin));
      for (; m < end; ++m) add_slice<1, P>(a, panels, m, k, n_columns, sums + (m - begin));
      k += n_columns;
    }
  }
  for (int64_t t = 0; t < end - begin; ++t) {
    for (int p = 0; p < P; ++p) {
      const __m512 y[1] = {sums[t][p]};
      store_tile<Avx512, 1>(a, begin + t, (panel + p) * 16, y);
    }
  }
}

inline void matmul_minifloat(const MatmulArgs& a, int64_t unit_begin, int64_t unit_end) noexcept {
  const MinifloatToBf16 to_bf16(a.weight.encoding);
  for (int64_t begin = 0; begin < a.m; begin += kTokenChunk) {
    const int64_t end = a.m < begin + kTokenChunk ? a.m : begin + kTokenChunk;
    int64_t panel = unit_begin;
    for (; a.m > 1 && panel + 3 <= unit_end; panel += 3) {
      ScaledPanel panels[] = {{a, panel}, {a, panel + 1}, {a, panel + 2}};
      scaled_chunk(a, to_bf16, begin, end, panel, panels);
    }
    for (; panel < unit_end; ++panel) {
      ScaledPanel panels[] = {{a, panel}};
      scaled_chunk(a, to_bf16, begin, end, panel, panels);
    }
  }
}

}  // namespace
}  // namespace packhorse
