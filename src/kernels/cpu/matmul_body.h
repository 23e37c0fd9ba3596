#pragma once
// Matrix product of packed panels with a tile of tokens, over a vector type S, with int8 activations; exact_body.h has
// float activations. See kernels/op.h for the arithmetic that all rows share; loops over tokens are unrolled so that
// the sums stay in registers.

#include <cstdint>

#include "kernels/cpu/codes_body.h"
#include "kernels/op.h"

namespace packhorse {
namespace {

/// Tokens per sweep over a range of panels: their activations stay in the second-level cache.
constexpr int64_t kTokenChunk = 96;
/// In bytes; the best of 1 to 32 KB on Zen 5.
constexpr int64_t kPrefetchDistance = 8192;

/// The first tile of a chunk brings codes in from memory, the next ones find them in a cache. Hardware prefetching
/// alone reaches half the bandwidth with blocks of 5 or 6 cache lines. (Without the attribute GCC takes the function
/// for one without effects and drops its calls.)
template <int Lines>
[[gnu::always_inline]] inline void prefetch(const uint8_t* code, int64_t m0) {
  if (m0 % kTokenChunk != 0) return;
#pragma GCC unroll 32
  for (int line = 0; line < Lines; ++line) __builtin_prefetch(code + kPrefetchDistance + 64 * line);
}

/// Writes a tile's sums: bias is added last, columns past n are dropped.
template <class S, int T>
void store_tile(const MatmulArgs& a, int64_t m0, int64_t row, const typename S::F (&acc)[T]) {
  const int64_t valid = a.weight.n - row;
  if (valid <= 0) return;
  float bias[S::kLanes] = {}, out[S::kLanes];
  if (a.bias) {
    for (int i = 0; i < S::kLanes && i < valid; ++i) bias[i] = a.bias[row + i];
  }
  for (int t = 0; t < T; ++t) {
    const typename S::F v = a.bias ? S::add(acc[t], S::load(bias)) : acc[t];
    float* y = a.y + (m0 + t) * a.y_stride + row;
    if (valid >= S::kLanes) {
      S::store(y, v);
    } else {
      S::store(out, v);
      for (int i = 0; i < valid; ++i) y[i] = out[i];
    }
  }
}

/// Calls tile<T>(m0, panel, half) for every panel and tile of tokens.
template <class S, class Tile>
void for_tiles(const MatmulArgs& a, int64_t unit_begin, int64_t unit_end, Tile tile) {
  for (int64_t chunk = 0; chunk < a.m; chunk += kTokenChunk) {
    const int64_t chunk_end = a.m < chunk + kTokenChunk ? a.m : chunk + kTokenChunk;
    for (int64_t panel = unit_begin; panel < unit_end; ++panel) {
      for (int half = 0; half < 16 / S::kLanes; ++half) {
        int64_t m = chunk;
        for (; m + S::kTile <= chunk_end; m += S::kTile) tile.template operator()<S::kTile>(m, panel, half);
        if constexpr (S::kTile > 4) {
          for (; m + 4 <= chunk_end; m += 4) tile.template operator()<4>(m, panel, half);
        }
        for (; m < chunk_end; ++m) tile.template operator()<1>(m, panel, half);
      }
    }
  }
}

/// Bytes of a block of codes, known at compile time or at run time, and the cache lines to prefetch: at least as many.
template <int Lines>
struct FixedLines {
  static constexpr int kLines = Lines;
  static constexpr int64_t bytes(const WeightView&) { return 64 * Lines; }
};
struct AnyLines {
  static constexpr int kLines = 8;
  static int64_t bytes(const WeightView& w) { return 64 * w.encoding.bits; }
};
struct GridLines {
  static constexpr int kLines = 4;
  static int64_t bytes(const WeightView& w) { return grid_block_bytes(*w.encoding.grid); }
};

/// Integer codes as unsigned bytes for dot products: what is subtracted from them, and how they are multiplied.
template <class S, int Bits>
struct IntegerCodes : FixedLines<Bits> {
  int32_t correction;  // times the sum of the activations, taken off the dot product
  explicit IntegerCodes(const WeightView& w)
      : correction(Bits == 8 ? w.encoding.offset - 128 + S::kWideBias : w.encoding.offset) {}
  void unpack(const uint8_t* p, int half, typename S::I w[8]) const {
    unpack_block<S, Bits>(p + half * S::kLanes * 4, w);
  }
  typename S::F adjust(typename S::F scale) const { return scale; }
  static typename S::I dot(typename S::I acc, typename S::I w, typename S::I x) {
    if constexpr (Bits == 8)
      return S::dot4_wide(acc, w, x);
    else
      return S::dot4(acc, w, x);
  }
};

/// The same for a width that is known at run time.
template <class S>
struct AnyIntegerCodes : AnyLines {
  int bits;
  int32_t correction;
  explicit AnyIntegerCodes(const WeightView& w)
      : bits(w.encoding.bits), correction(w.encoding.offset - 128 + S::kWideBias) {}
  void unpack(const uint8_t* p, int half, typename S::I w[8]) const {
    unpack_block<S>(bits, p + half * S::kLanes * 4, w);
  }
  typename S::F adjust(typename S::F scale) const { return scale; }
  static typename S::I dot(typename S::I acc, typename S::I w, typename S::I x) { return S::dot4_wide(acc, w, x); }
};

/// Table codes through the table's int8 approximation; Bits = 0: of a width known at run time.
template <class S, int Bits>
struct TableCodes : FixedLines<Bits> {
  int32_t correction = S::kWideBias;
  typename S::I table;
  typename S::F step;
  explicit TableCodes(const WeightView& w) : step(S::set1(w.encoding.table->approx_step)) {
    uint8_t biased[16];
    for (int i = 0; i < 16; ++i) biased[i] = static_cast<uint8_t>(w.encoding.table->approx[i] + 128);
    table = S::load_table(biased);
  }
  void unpack(const uint8_t* p, int half, typename S::I w[8]) const {
    unpack_block<S, Bits>(p + half * S::kLanes * 4, w);
    for (int j = 0; j < 8; ++j) w[j] = S::lookup(table, w[j]);
  }
  typename S::F adjust(typename S::F scale) const { return S::mul(scale, step); }
  static typename S::I dot(typename S::I acc, typename S::I w, typename S::I x) { return S::dot4_wide(acc, w, x); }
};

/// Grid codes.
template <class S>
struct GridCodes : GridLines {
  int32_t correction = S::kWideBias;
  const CodeGrid& grid;
  typename S::F factor;
  explicit GridCodes(const WeightView& w) : grid(*w.encoding.grid), factor(S::set1(w.encoding.factor)) {}
  void unpack(const uint8_t* p, int half, typename S::I w[8]) const { unpack_grid<S>(grid, p, half, 0x80, w); }
  typename S::F adjust(typename S::F scale) const { return S::mul(scale, factor); }
  static typename S::I dot(typename S::I acc, typename S::I w, typename S::I x) { return S::dot4_wide(acc, w, x); }
};

/// Grouped activations (act_block_index) of T consecutive tokens: 1, or whole groups from the first token of one on.
template <class Element, int T>
struct ActTile {
  static constexpr int kGroups = T == 1 ? 1 : T / kActTokens;
  const Element* groups[kGroups];

  /// `size` elements a block.
  ActTile(const Element* x, int64_t size, int64_t n_blocks, int64_t m0) {
    for (int g = 0; g < kGroups; ++g) groups[g] = x + act_block_index(m0 + g * kActTokens, 0, n_blocks) * size;
  }
  const Element* at(int t, int64_t b, int64_t size) const {
    return groups[t / kActTokens] + (b * kActTokens + t % kActTokens) * size;
  }
};

/// Activations in int8 blocks of 32.
template <class S, class Codes, class Scales, int T>
void tile_int8(const MatmulArgs& a, const Codes& codes, const uint8_t* code, const uint8_t* scale, int64_t m0, int half,
               typename S::F (&acc)[T]) {
  constexpr int kSubs = Scales::kPerBlock, kVectors = 8 / kSubs;
  const int64_t n_blocks = a.weight.k_padded / kBlockK;
  const ActTile<int8_t, T> x(a.x.q, kBlockK, n_blocks, m0);
  const ActTile<ActBlock, T> blocks(a.x.blocks, 1, n_blocks, m0);
  const int64_t block_bytes = Codes::bytes(a.weight);
  typename S::I correction[kSubs];
  for (int i = 0; i < kSubs; ++i) correction[i] = S::set1_i32(-codes.correction);
  Scales scales(a.weight, scale, half);
  for (int t = 0; t < T; ++t) acc[t] = S::zero();
  for (int64_t b = 0; b < n_blocks; ++b) {
    typename S::I w[8];
    typename S::F s[kSubs], m[kSubs];
    const uint8_t* block_codes = code + b * block_bytes;
    prefetch<Codes::kLines>(block_codes, m0);
    codes.unpack(block_codes, half, w);
    scales.next(s, m);
    for (int i = 0; i < kSubs; ++i) {
      s[i] = codes.adjust(s[i]);
      if constexpr (Scales::kZero) correction[i] = S::sub_i32(S::set1_i32(-codes.correction), scales.zero[i]);
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      const int8_t* q = x.at(t, b, kBlockK);
      const ActBlock& block = *blocks.at(t, b, 1);
#pragma GCC unroll 2
      for (int i = 0; i < kSubs; ++i) {
        const int32_t isum = block.isum[kSubs == 1 ? 2 : i];
        typename S::I dot = S::mul_i32(correction[i], S::set1_i32(isum));
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j)
          dot = Codes::dot(dot, w[i * kVectors + j], S::broadcast4(q + 4 * (i * kVectors + j)));
        acc[t] = S::fma(S::to_float(dot), S::mul(s[i], S::set1(block.scale)), acc[t]);
        if constexpr (Scales::kMin) {
          const float sum = kSubs == 1 ? block.sum : block.scale * static_cast<float>(isum);
          acc[t] = S::fma(m[i], S::set1(sum), acc[t]);
        }
      }
    }
  }
}

template <class S, class Codes, class Scales>
void matmul_int8(const MatmulArgs& a, int64_t unit_begin, int64_t unit_end) noexcept {
  const Codes codes(a.weight);
  for_tiles<S>(a, unit_begin, unit_end, [&]<int T>(int64_t m0, int64_t panel, int half) {
    typename S::F acc[T];
    tile_int8<S, Codes, Scales, T>(a, codes, a.weight.codes + panel * a.weight.code_stride,
                                   a.weight.scales + panel * a.weight.scale_stride, m0, half, acc);
    store_tile<S, T>(a, m0, panel * 16 + half * S::kLanes, acc);
  });
}

/// Activations in int8 with one scale per token and weights in int8 with one scale per row: the dot product is exact
/// over all of K; outliers are added in float, ascending in K.
template <class S>
void matmul_int8_token(const MatmulArgs& a, int64_t unit_begin, int64_t unit_end) noexcept {
  using I = typename S::I;
  using F = typename S::F;
  const IntegerCodes<S, 8> codes(a.weight);
  const I correction = S::set1_i32(-codes.correction);
  const int64_t n_blocks = a.weight.k_padded / kBlockK;
  for_tiles<S>(a, unit_begin, unit_end, [&]<int T>(int64_t m0, int64_t panel, int half) {
    const uint8_t* code = a.weight.codes + panel * a.weight.code_stride;
    const ActTile<int8_t, T> x(a.x.q, kBlockK, n_blocks, m0);
    const ActTile<ActBlock, T> blocks(a.x.blocks, 1, n_blocks, m0);
    I dot[T];
    F acc[T];
    for (int t = 0; t < T; ++t) dot[t] = S::set1_i32(0);
    for (int64_t b = 0; b < n_blocks; ++b) {
      I w[8];
      prefetch<8>(code + b * 512, m0);
      codes.unpack(code + b * 512, half, w);
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const int8_t* q = x.at(t, b, kBlockK);
        dot[t] = S::add_i32(dot[t], S::mul_i32(correction, S::set1_i32(blocks.at(t, b, 1)->isum[2])));
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) dot[t] = codes.dot(dot[t], w[j], S::broadcast4(q + 4 * j));
      }
    }
    const uint8_t* scale = a.weight.scales + panel * a.weight.scale_stride + half * S::kLanes * 4;
    const F row_scale = S::load(reinterpret_cast<const float*>(scale)), factor = S::set1(a.weight.encoding.factor);
    const F product = S::set1(a.weight.encoding.act.product);
    for (int t = 0; t < T; ++t) {
      acc[t] = S::mul(S::mul(S::to_float(dot[t]), S::mul(S::set1(a.x.token_max[m0 + t]), row_scale)), product);
      const Outlier* outliers = a.x.outliers + (m0 + t) * a.x.stride;
      for (int32_t o = 0; o < a.x.n_outliers[m0 + t]; ++o) {
        const int32_t k = outliers[o].k;
        const I column = S::load_codes(code + k / kBlockK * 512 + k % kBlockK / 4 * 64 + half * S::kLanes * 4);
        const F w = S::mul(S::sub(S::to_float(S::byte(column, k % 4)), S::set1(a.weight.encoding.offset)), row_scale);
        const F dequantized = S::mul(w, factor);
        acc[t] = S::fma(S::set1(outliers[o].value), dequantized, acc[t]);
      }
    }
    store_tile<S, T>(a, m0, panel * 16 + half * S::kLanes, acc);
  });
}

}  // namespace
}  // namespace packhorse
