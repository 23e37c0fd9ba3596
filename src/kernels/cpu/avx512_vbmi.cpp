// Rows for AVX-512 with VBMI (Ice Lake, Zen 4 and later): codebooks of ggml's "i" types by permutations of bytes, 64
// indices at a time, where other sets gather. Everything else is served by the sets below.

#include "codec/grids.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/matmul_body.h"
#include "kernels/cpu/panel.h"
#include "kernels/cpu/simd_avx512_vnni.h"

namespace packhorse {
namespace {

/// Bytes of a table of N entries at 64 indices: their low 8 bits, and masks of the higher ones.
template <int N>
[[gnu::always_inline]] inline __m512i lookup(const uint8_t* table, __m512i low, const __mmask64* high) {
  if constexpr (N == 128) {
    return _mm512_permutex2var_epi8(_mm512_load_si512(table), low, _mm512_load_si512(table + 64));
  } else {
    const __m512i first = lookup<N / 2>(table, low, high), second = lookup<N / 2>(table + N / 2, low, high);
    constexpr int kBit = N == 256 ? 7 : N == 512 ? 8 : N == 1024 ? 9 : 10;
    const __mmask64 pick = kBit == 7 ? _mm512_movepi8_mask(low) : high[kBit - 8];
    return _mm512_mask_blend_epi8(pick, first, second);
  }
}

uint64_t load_word(const uint8_t* p) {
  uint64_t word;
  __builtin_memcpy(&word, p, 8);
  return word;
}

/// The chosen bits of two words, one after the other.
[[gnu::always_inline]] inline uint64_t pick_bits(const uint8_t* p, uint64_t chosen) {
  return _pext_u64(load_word(p), chosen) | _pext_u64(load_word(p + 8), chosen) << 32;
}

/// Which bits of two lanes of 32 become the eight bytes of a word: from bit `first` of each up by `step`.
constexpr int64_t shifts(int first, int step) {
  uint64_t out = 0;
  for (int i = 0; i < 8; ++i) {
    const auto from = static_cast<uint64_t>(i / 4 * 32 + first + i % 4 * step + 64) % 64;
    out |= from << (8 * i);
  }
  return static_cast<int64_t>(out);
}
/// The same where two values of 3 bits come from one plane and two from another.
constexpr int64_t shifts_in_pairs(int byte) {
  uint64_t out = 0;
  for (int i = 0; i < 8; ++i) {
    const auto from = static_cast<uint64_t>(i / 4 * 32 + 8 * byte + i % 2 * 3);
    out |= from << (8 * i);
  }
  return static_cast<int64_t>(out);
}

/// A codebook's entries of Width values, with signs, at indices of IndexBits bits.
template <int Width, int IndexBits>
struct IqCodes : GridLines {
  using I = __m512i;
  static constexpr int kEntries = 1 << IndexBits;
  static constexpr int kExtra = IndexBits - 8;
  static constexpr int kHighBytes = (32 / Width * kExtra + 7) / 8;
  int32_t correction = Avx512Vnni::kWideBias;
  const uint8_t* planes;
  I levels;  // plus 128
  __m512 factor;

  explicit IqCodes(const WeightView& w) : planes(w.encoding.grid->planes), factor(_mm512_set1_ps(w.encoding.factor)) {
    uint8_t biased[16] = {};
    for (int i = 0; i < 8; ++i) biased[i] = static_cast<uint8_t>(w.encoding.grid->levels[i] + 128);
    levels = Avx512::load_table(biased);
  }

  [[gnu::always_inline]] void unpack(const uint8_t* p, int, I w[8]) const {
    const uint8_t* high = p + 16 * (32 / Width);
    if constexpr (Width == 8)
      unpack_eights(p, high, w);
    else
      unpack_fours(p, high, w);
    const uint8_t* signs = high + 16 * kHighBytes;
    for (int j = 0; j < 8; ++j) w[j] = Avx512::negate_bytes(w[j], signs + 8 * j);  // 256 - (v + 128) is -v + 128
  }
  __m512 adjust(__m512 scale) const { return _mm512_mul_ps(scale, factor); }
  static I dot(I acc, I w, I x) { return Avx512Vnni::dot4_wide(acc, w, x); }

 private:
  [[gnu::always_inline]] void unpack_eights(const uint8_t* p, const uint8_t* high, I w[8]) const {
    __mmask64 masks[2] = {};
    for (int bit = 0; bit < kExtra; ++bit) {
      if constexpr (kExtra == 1) masks[bit] = pick_bits(high, 0x0f0f0f0f0f0f0f0f);
      if constexpr (kExtra == 2) masks[bit] = pick_bits(high, uint64_t{0x5555555555555555} << bit);
    }
    const I low = _mm512_loadu_si512(p);
    const I halves[2] = {lookup<kEntries>(planes, low, masks), lookup<kEntries>(planes + kEntries, low, masks)};
    static constexpr int64_t kShifts[] = {shifts(0, 2), shifts(8, 2), shifts(16, 2), shifts(24, 2)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const I control = _mm512_set1_epi64(kShifts[i]);
      for (int half = 0; half < 2; ++half) {
        const I level = Avx512::and_bytes(_mm512_multishift_epi64_epi8(control, halves[half]), 3);
        w[2 * i + half] = _mm512_shuffle_epi8(levels, level);
      }
    }
  }

  [[gnu::always_inline]] void unpack_fours(const uint8_t* p, const uint8_t* high, I w[8]) const {
    static constexpr int64_t kShifts[] = {shifts_in_pairs(0), shifts_in_pairs(1), shifts_in_pairs(2),
                                          shifts_in_pairs(3)};
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      __mmask64 masks[1] = {};
      if constexpr (kExtra == 1) masks[0] = pick_bits(high, uint64_t{0x0f0f0f0f0f0f0f0f} << (4 * v));
      const I low = _mm512_loadu_si512(p + 64 * v);
      const I first = lookup<kEntries>(planes, low, masks), second = lookup<kEntries>(planes + kEntries, low, masks);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const I control = _mm512_set1_epi64(kShifts[i]);
        constexpr __mmask64 kSecond = 0xcccccccccccccccc;
        const I both =
            _mm512_mask_multishift_epi64_epi8(_mm512_multishift_epi64_epi8(control, first), kSecond, control, second);
        w[4 * v + i] = _mm512_shuffle_epi8(levels, Avx512::and_bytes(both, 7));
      }
    }
  }
};

/// First halves of kIq1 by cells of 16 entries, of which each holds but two (grids.h): the lookup takes 3 permutations
/// where one of all 2048 entries takes 16.
struct Iq1Cells {
  alignas(64) uint8_t first[128], second[128];
  alignas(64) uint8_t end[128];  // of the first, as first_half() counts entries
  Iq1Cells() {
    for (int cell = 0; cell < 128; ++cell) {
      const auto half = [&](int rank) { return kIq1.planes[iq1_place(cell, rank)]; };
      int n = 1;
      while (n < 16 && half(n) == half(0)) ++n;
      first[cell] = half(0), second[cell] = half(15);
      end[cell] = static_cast<uint8_t>(n < 8 ? n : 128 + n - 8);
    }
  }
};

/// IQ1's ternary grid: bytes 8 * level + 2 * (shifted up), 9 more than the values.
struct Iq1Codes : GridLines {
  using I = __m512i;
  int32_t correction = 9;
  const Iq1Cells& cells;
  __m512 factor;

  explicit Iq1Codes(const WeightView& w) : cells(shared_cells()), factor(_mm512_set1_ps(w.encoding.factor)) {}

  [[gnu::always_inline]] void unpack(const uint8_t* p, int, I w[8]) const {
    const I low = _mm512_loadu_si512(p);
    const I pairs = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 64)));
    const I next = _mm512_slli_epi16(pairs, 4);  // pairs | next has a nibble of `high` in the low bits of every byte
    const I high = _mm512_ternarylogic_epi32(pairs, next, _mm512_set1_epi8(7), kOrThenAnd);
    const I up = _mm512_ternarylogic_epi32(pairs, next, _mm512_set1_epi8(8), kNorThenAnd);
    const I halves[2] = {first_half(low, high), second_half(low, high)};
    static constexpr int64_t kLevel[] = {shifts(-3, 2), shifts(5, 2), shifts(13, 2), shifts(21, 2)};
    static constexpr int64_t kUp[] = {shifts(2, 0), shifts(10, 0), shifts(18, 0), shifts(26, 0)};
    const I level_bits = _mm512_set1_epi8(3 << 3);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const I shift = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(kUp[i]), up);
      const I control = _mm512_set1_epi64(kLevel[i]);
      for (int half = 0; half < 2; ++half) {
        const I level = _mm512_multishift_epi64_epi8(control, halves[half]);
        w[2 * i + half] = _mm512_ternarylogic_epi32(level, shift, level_bits, kAndThenOr);
      }
    }
  }
  __m512 adjust(__m512 scale) const { return _mm512_mul_ps(scale, factor); }
  static I dot(I acc, I w, I x) { return Avx512Vnni::dot4(acc, w, x); }

 private:
  // (a | b) & c, ~(a | b) & c, (a & c) | b
  static constexpr int kOrThenAnd = 0xa8, kNorThenAnd = 0x02, kAndThenOr = 0xec;

  static const Iq1Cells& shared_cells() {
    static const Iq1Cells cells;
    return cells;
  }
  [[gnu::always_inline]] I first_half(I low, I high) const {
    const I key = _mm512_ternarylogic_epi32(low, high, _mm512_set1_epi8(static_cast<char>(0x80)), kAndThenOr);
    const __mmask64 is_first = _mm512_cmplt_epu8_mask(key, lookup<128>(cells.end, low, nullptr));
    return _mm512_mask_blend_epi8(is_first, lookup<128>(cells.second, low, nullptr),
                                  lookup<128>(cells.first, low, nullptr));
  }
  [[gnu::always_inline]] static I second_half(I low, I high) {
    const __mmask64 masks[3] = {_mm512_test_epi8_mask(high, _mm512_set1_epi8(1)),
                                _mm512_test_epi8_mask(high, _mm512_set1_epi8(2)),
                                _mm512_test_epi8_mask(high, _mm512_set1_epi8(4))};
    return lookup<2048>(kIq1.planes + 2048, low, masks);
  }
};

template <const CodeGrid* Grid, int SubSize>
const char* why_not(const Problem& p) {
  if (!p.fast) return "float activations are asked for";
  if (p.weight.act.code == ActScheme::Code::llm_int8) return "the format quantizes activations itself";
  const Encoding& e = p.weight;
  if (e.element != Element::grid || e.grid != Grid) return "another kind of element";
  return e.scale == ScaleType::u8 && e.super_size == 256 && e.grouping.size == SubSize ? nullptr : "other scales";
}

template <const CodeGrid* Grid, class Codes, int SubSize>
constexpr Kernel row(const char* name) {
  return {.op = Op::matmul,
          .name = name,
          .cost = 10,
          .why_not = why_not<Grid, SubSize>,
          .run = {.matmul = matmul_int8<Avx512Vnni, Codes, SuperScales<Avx512Vnni, ScaleType::u8, SubSize, false>>},
          .act = ActForm::int8_block,
          .layout = panel_layout,
          .pack = pack_panel};
}

constexpr Kernel kRows[] = {
    row<&kIq2Xxs, IqCodes<8, 8>, 32>("int8.iq2_xxs"), row<&kIq2Xs, IqCodes<8, 9>, 16>("int8.iq2_xs"),
    row<&kIq2S, IqCodes<8, 10>, 16>("int8.iq2_s"),    row<&kIq3Xxs, IqCodes<4, 8>, 32>("int8.iq3_xxs"),
    row<&kIq3S, IqCodes<4, 9>, 32>("int8.iq3_s"),     row<&kIq1, Iq1Codes, 32>("int8.iq1_s"),
    row<&kIq1, Iq1Codes, 16>("int8.iq1_m"),
};

}  // namespace

extern constexpr KernelSet kAvx512Vbmi{.name = "avx512_vbmi",
                                       .needs = cpu::avx512 | cpu::avx512_vnni | cpu::avx512_vbmi,
                                       .rows = kRows,
                                       .n_rows = sizeof kRows / sizeof(Kernel)};

}  // namespace packhorse
