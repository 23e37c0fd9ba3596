#pragma once
// Matrix product of packed panels with a tile of tokens, over a vector type S. See kernels/op.h for the arithmetic that
// all rows share; loops over tokens are unrolled so that the sums stay in registers.

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

// --- exact: dequantize a block to float32, then multiply ---

template <class S, Element E>
struct FloatBlock : FixedLines<E == Element::f32 ? 32 : 16> {
  FloatBlock(const WeightView&, const uint8_t*, int) {}
  /// w[k] = column k of this half's rows.
  void decode(const WeightView&, const uint8_t* code, int64_t b, int half, typename S::F w[kBlockK]) {
    if constexpr (E == Element::bf16) {
      const uint8_t* p = code + b * kBlockK * 32 + half * S::kLanes * 4;
      for (int k = 0; k < kBlockK; k += 2, p += 64) {
        const typename S::I pair = S::load_codes(p);
        w[k] = S::bf16_even(pair), w[k + 1] = S::bf16_odd(pair);
      }
    } else {
      constexpr int kWidth = E == Element::f32 ? 4 : 2;
      const uint8_t* p = code + b * kBlockK * 16 * kWidth + half * S::kLanes * kWidth;
      for (int k = 0; k < kBlockK; ++k, p += 16 * kWidth) {
        if constexpr (E == Element::f32)
          w[k] = S::load(reinterpret_cast<const float*>(p));
        else
          w[k] = S::load_f16(p);
      }
    }
  }
};

/// Four columns of a vector of codes as floats: the codes, or their table values.
template <class S, bool Table>
void widen(const WeightView& w, typename S::I codes, typename S::F out[4]) {
  const typename S::I c[4] = {S::low_byte(codes), S::low_byte(S::template shift_right<8>(codes)),
                              S::low_byte(S::template shift_right<16>(codes)), S::template shift_right<24>(codes)};
  for (int i = 0; i < 4; ++i) {
    if constexpr (Table)
      out[i] = S::lookup_f32(w.encoding.table->values, c[i]);
    else
      out[i] = S::sub(S::to_float(c[i]), S::set1(w.encoding.offset));
  }
}

template <class S, int Bits, bool Table, class Scales>
struct CodedBlock : FixedLines<Bits> {
  Scales scales;
  CodedBlock(const WeightView& w, const uint8_t* scale, int half) : scales(w, scale, half) {}
  void decode(const WeightView& view, const uint8_t* code, int64_t b, int half, typename S::F w[kBlockK]) {
    constexpr int kSubs = Scales::kPerBlock;
    typename S::I c[8];
    typename S::F s[kSubs], m[kSubs];
    unpack_block<S, Bits>(code + b * 64 * Bits + half * S::kLanes * 4, c);
    scales.next(s, m);
    const typename S::F factor = S::set1(view.encoding.factor);
    for (int j = 0; j < 8; ++j) {
      widen<S, Table>(view, c[j], w + 4 * j);
      const int i = j * kSubs / 8;
      for (int k = 4 * j; k < 4 * j + 4; ++k) {
        w[k] = Scales::kMin ? S::fma(w[k], s[i], m[i]) : S::mul(S::mul(w[k], s[i]), factor);
      }
    }
  }
};

/// Grid codes with two levels of scales.
template <class S, class Scales>
struct GridBlock : GridLines {
  Scales scales;
  GridBlock(const WeightView& w, const uint8_t* scale, int half) : scales(w, scale, half) {}
  void decode(const WeightView& view, const uint8_t* code, int64_t b, int half, typename S::F w[kBlockK]) {
    constexpr int kSubs = Scales::kPerBlock;
    typename S::I c[8];
    typename S::F s[kSubs], m[kSubs];
    unpack_grid<S>(*view.encoding.grid, code + b * bytes(view), half, 0, c);
    scales.next(s, m);
    const typename S::F factor = S::set1(view.encoding.factor);
    for (int j = 0; j < 8; ++j) {
      typename S::F* out = w + 4 * j;
      out[0] = S::to_float(S::template signed_byte<0>(c[j])), out[1] = S::to_float(S::template signed_byte<1>(c[j]));
      out[2] = S::to_float(S::template signed_byte<2>(c[j])), out[3] = S::to_float(S::template signed_byte<3>(c[j]));
      for (int k = 0; k < 4; ++k) out[k] = S::mul(S::mul(out[k], s[j * kSubs / 8]), factor);
    }
  }
};

/// Codes of any width and kind but grids, in groups of any size with one level of scales: what has no block of its own.
template <class S>
struct AnyBlock : AnyLines {
  AnyGroups<S> groups;
  int64_t columns = 0, left;  // columns before the next group, and of all groups that are still to come
  AnyBlock(const WeightView& w, const uint8_t* scale, int half) : groups(w, scale, half), left(w.k) {}
  void decode(const WeightView& view, const uint8_t* code, int64_t b, int half, typename S::F w[kBlockK]) {
    values(view.encoding, code + b * bytes(view) + half * S::kLanes * 4, view, w);
    for (int64_t k = 0; k < kBlockK;) {
      if (columns == 0) {
        columns = view.group_k < left ? view.group_k : left;
        left -= columns;
        if (columns == 0) break;  // padding, which activations meet with zeros
        groups.next();
      }
      const int64_t end = k + columns < kBlockK ? k + columns : kBlockK;
      columns -= end - k;
      if (groups.min_type != ScaleType::none) {
        for (; k < end; ++k) w[k] = S::fma(w[k], groups.scale, groups.min);
      } else {
        for (; k < end; ++k)
          w[k] = groups.with_outer(S::mul(S::mul(S::sub(w[k], groups.zero), groups.scale), groups.factor));
      }
    }
  }

 private:
  static void values(const Encoding& e, const uint8_t* code, const WeightView& view, typename S::F w[kBlockK]) {
    typename S::I c[8];
    if (e.bits == 12) {
      typename S::I high[8];
      unpack_block<S, 8>(code, c), unpack_block<S, 4>(code + 512, high);
      for (int k = 0; k < kBlockK; ++k) {
        const typename S::I wide = S::or_(S::byte(c[k / 4], k % 4), S::shift_left_by(S::byte(high[k / 4], k % 4), 8));
        w[k] = S::minifloat(wide, e.bits, e.mantissa, e.bias);
      }
      return;
    }
    unpack_block<S>(e.bits, code, c);
    if (e.element == Element::minifloat) {
      for (int k = 0; k < kBlockK; ++k) w[k] = S::minifloat(S::byte(c[k / 4], k % 4), e.bits, e.mantissa, e.bias);
      return;
    }
    for (int j = 0; j < 8; ++j) {
      if (e.element == Element::table)
        widen<S, true>(view, c[j], w + 4 * j);
      else
        widen<S, false>(view, c[j], w + 4 * j);
    }
  }
};

template <class S, class Block>
void matmul_exact(const MatmulArgs& a, int64_t unit_begin, int64_t unit_end) noexcept {
  const int64_t n_blocks = a.weight.k_padded / kBlockK;
  for_tiles<S>(a, unit_begin, unit_end, [&]<int T>(int64_t m0, int64_t panel, int half) {
    const uint8_t* code = a.weight.codes + panel * a.weight.code_stride;
    Block block(a.weight, a.weight.scales + panel * a.weight.scale_stride, half);
    typename S::F acc[T], w[kBlockK];
    for (int t = 0; t < T; ++t) acc[t] = S::zero();
    for (int64_t b = 0; b < n_blocks; ++b) {
      prefetch<Block::kLines>(code + b * Block::bytes(a.weight), m0);
      block.decode(a.weight, code, b, half, w);
      const float* x = a.x.f32 + m0 * a.x.stride + b * kBlockK;
      for (int k = 0; k < kBlockK; ++k) {
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t) acc[t] = S::fma(w[k], S::set1(x[t * a.x.stride + k]), acc[t]);
      }
    }
    store_tile<S, T>(a, m0, panel * 16 + half * S::kLanes, acc);
  });
}

/// One dequantized row.
template <class S, class Block>
void decode_row(const WeightView& w, int64_t row, float* out) noexcept {
  const int64_t panel = row / 16;
  const int half = static_cast<int>(row % 16) / S::kLanes, lane = static_cast<int>(row % S::kLanes);
  Block block(w, w.scales + panel * w.scale_stride, half);
  typename S::F columns[kBlockK];
  for (int64_t b = 0; b < w.k_padded / kBlockK; ++b) {
    block.decode(w, w.codes + panel * w.code_stride, b, half, columns);
    for (int k = 0; k < kBlockK; ++k) {
      float lanes[S::kLanes];
      S::store(lanes, columns[k]);
      out[b * kBlockK + k] = lanes[lane];
    }
  }
}

}  // namespace
}  // namespace packhorse
