#pragma once
// Matrix product of packed panels with float activations, over a vector type S: weights are dequantized to float32,
// then multiplied. A block is read by start(), then four columns at a time, so that multiplication of some columns and
// decoding of the next ones overlap.

#include <cstdint>

#include "kernels/cpu/matmul_body.h"
#include "kernels/cpu/minifloat.h"
#include "kernels/op.h"

namespace packhorse {
namespace {

template <class S, Element E>
struct FloatBlock : FixedLines<E == Element::f32 ? 32 : 16> {
  static constexpr int kWidth = E == Element::f32 ? 4 : 2;
  int half;
  const uint8_t* columns = nullptr;
  FloatBlock(const WeightView&, const uint8_t*, int half_) : half(half_) {}
  void start(const WeightView&, const uint8_t* code) {
    columns = code + half * S::kLanes * (E == Element::f16 ? 2 : 4);
  }
  /// w[i] = column 4 j + i of this half's rows.
  void four(const WeightView&, int j, typename S::F w[4]) const {
    const uint8_t* p = columns + j * 64 * kWidth;
    if constexpr (E == Element::bf16) {
      for (int i = 0; i < 4; i += 2, p += 64) {
        const typename S::I pair = S::load_codes(p);
        w[i] = S::bf16_even(pair), w[i + 1] = S::bf16_odd(pair);
      }
    } else {
      for (int i = 0; i < 4; ++i, p += 16 * kWidth) {
        if constexpr (E == Element::f32)
          w[i] = S::load(reinterpret_cast<const float*>(p));
        else
          w[i] = S::load_f16(p);
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
  static constexpr int kSubs = Scales::kPerBlock;
  int half;
  Scales scales;
  typename S::I codes[8];
  typename S::F scale[kSubs], min[kSubs];
  CodedBlock(const WeightView& w, const uint8_t* scales_, int half_) : half(half_), scales(w, scales_, half_) {}
  [[gnu::always_inline]] void start(const WeightView&, const uint8_t* code) {
    unpack_block<S, Bits>(code + half * S::kLanes * 4, codes);
    scales.next(scale, min);
  }
  [[gnu::always_inline]] void four(const WeightView& view, int j, typename S::F w[4]) const {
    const typename S::F factor = S::set1(view.encoding.factor), s = scale[j * kSubs / 8];
    widen<S, Table>(view, codes[j], w);
    for (int i = 0; i < 4; ++i)
      w[i] = Scales::kMin ? S::fma(w[i], s, min[j * kSubs / 8]) : S::mul(S::mul(w[i], s), factor);
  }
};

/// Grid codes with two levels of scales.
template <class S, class Scales>
struct GridBlock : GridLines {
  static constexpr int kSubs = Scales::kPerBlock;
  int half;
  Scales scales;
  typename S::I codes[8];
  typename S::F scale[kSubs], min[kSubs];
  GridBlock(const WeightView& w, const uint8_t* scales_, int half_) : half(half_), scales(w, scales_, half_) {}
  [[gnu::always_inline]] void start(const WeightView& view, const uint8_t* code) {
    unpack_grid<S>(*view.encoding.grid, code, half, 0, codes);
    scales.next(scale, min);
  }
  [[gnu::always_inline]] void four(const WeightView& view, int j, typename S::F w[4]) const {
    const typename S::F factor = S::set1(view.encoding.factor);
    const typename S::I c = codes[j];
    w[0] = S::to_float(S::template signed_byte<0>(c)), w[1] = S::to_float(S::template signed_byte<1>(c));
    w[2] = S::to_float(S::template signed_byte<2>(c)), w[3] = S::to_float(S::template signed_byte<3>(c));
    for (int i = 0; i < 4; ++i) w[i] = S::mul(S::mul(w[i], scale[j * kSubs / 8]), factor);
  }
};

/// Small floats of a width known at compile time, in groups that are whole blocks, without other factors than scales.
template <class S, int Bits>
struct MinifloatBlock : FixedLines<Bits> {
  int half;
  AnyGroups<S> groups;
  Minifloats<S> minifloats;
  int64_t blocks_per_group, left = 0;
  typename S::I codes[8];
  MinifloatBlock(const WeightView& w, const uint8_t* scales, int half_)
      : half(half_),
        groups(w, scales, half_),
        minifloats(w.encoding),
        blocks_per_group((w.group_k + kBlockK - 1) / kBlockK) {}
  [[gnu::always_inline]] void start(const WeightView&, const uint8_t* code) {
    if (left == 0) {
      groups.next();
      left = blocks_per_group;
    }
    --left;
    unpack_block<S, Bits>(code + half * S::kLanes * 4, codes);
  }
  [[gnu::always_inline]] void four(const WeightView&, int j, typename S::F w[4]) const {
    w[0] = minifloats(S::template shift_left<32 - Bits>(codes[j]));
    w[1] = minifloats(S::template shift_left<24 - Bits>(codes[j]));
    w[2] = minifloats(S::template shift_left<16 - Bits>(codes[j]));
    w[3] = minifloats(S::template shift_left<8 - Bits>(codes[j]));
    for (int i = 0; i < 4; ++i) w[i] = S::mul(w[i], groups.scale);
  }
};

/// Codes of any width and kind but grids, in groups of any size with one level of scales: what has no block of its own.
template <class S>
struct AnyBlock : AnyLines {
  int half;
  AnyGroups<S> groups;
  Minifloats<S> minifloats;
  int64_t columns = 0, left;  // columns before the next group, and of all groups that are still to come
  typename S::F w[kBlockK];
  AnyBlock(const WeightView& view, const uint8_t* scale, int half_)
      : half(half_), groups(view, scale, half_), minifloats(view.encoding), left(view.k) {}
  void start(const WeightView& view, const uint8_t* code) {
    values(view.encoding, code + half * S::kLanes * 4, view);
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
  void four(const WeightView&, int j, typename S::F out[4]) const {
    for (int i = 0; i < 4; ++i) out[i] = w[4 * j + i];
  }

 private:
  void values(const Encoding& e, const uint8_t* code, const WeightView& view) {
    typename S::I c[8];
    if (e.bits == 12) {
      typename S::I high[8];
      unpack_block<S, 8>(code, c), unpack_block<S, 4>(code + 512, high);
      for (int k = 0; k < kBlockK; ++k) {
        const typename S::I wide = S::or_(S::byte(c[k / 4], k % 4), S::shift_left_by(S::byte(high[k / 4], k % 4), 8));
        w[k] = minifloats(S::template shift_left<20>(wide));
      }
      return;
    }
    unpack_block<S>(e.bits, code, c);
    if (e.element == Element::minifloat) {
      for (int k = 0; k < kBlockK; ++k) w[k] = minifloats(S::shift_left_by(S::byte(c[k / 4], k % 4), 32 - e.bits));
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

/// As many rows as a vector has lanes: a panel, or half of one.
template <class S, class Block>
struct Strip {
  int64_t row;
  const uint8_t* code;
  Block block;
  Strip(const MatmulArgs& a, int64_t panel, int half)
      : row(panel * kPanelRows + half * S::kLanes),
        code(a.weight.codes + panel * a.weight.code_stride),
        block(a.weight, a.weight.scales + panel * a.weight.scale_stride, half) {}
};

/// T tokens with P strips beside each other: with one token, their sums are what keeps the multipliers busy.
template <class S, class Block, int T, int P>
void tile_exact(const MatmulArgs& a, int64_t m0, Strip<S, Block> (&strips)[P]) {
  const int64_t n_blocks = a.weight.k_padded / kBlockK, block_bytes = Block::bytes(a.weight);
  const int64_t stride = a.weight.code_stride, panels = (P * S::kLanes + kPanelRows - 1) / kPanelRows;
  typename S::F acc[P][T];
#pragma GCC unroll 2
  for (int p = 0; p < P; ++p) {
    for (int t = 0; t < T; ++t) acc[p][t] = S::zero();
  }
  for (int64_t b = 0; b < n_blocks; ++b) {
    // Ahead of a panel's end lie panels of this tile: the next ones come after them.
    const int64_t skipped = b * block_bytes + kPrefetchDistance >= stride ? (panels - 1) * stride : 0;
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      const uint8_t* code = strips[p].code + b * block_bytes;
      if (p < panels) prefetch<Block::kLines>(code + skipped, m0);
      strips[p].block.start(a.weight, code);
    }
    const float* x = a.x.f32 + m0 * a.x.stride + b * kBlockK;
    for (int j = 0; j < 8; ++j) {
      typename S::F w[P][4];
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) strips[p].block.four(a.weight, j, w[p]);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t) {
          const typename S::F column = S::set1(x[t * a.x.stride + 4 * j + i]);
#pragma GCC unroll 2
          for (int p = 0; p < P; ++p) acc[p][t] = S::fma(w[p][i], column, acc[p][t]);
        }
      }
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < P; ++p) store_tile<S, T>(a, m0, strips[p].row, acc[p]);
}

template <class S, class Block>
void matmul_exact(const MatmulArgs& a, int64_t unit_begin, int64_t unit_end) noexcept {
  int64_t panel = unit_begin;
  if (a.m == 1) {
    constexpr int kPanels = 2 * S::kLanes / kPanelRows, kLastHalf = kPanels == 1 ? 1 : 0;
    for (; panel + kPanels <= unit_end; panel += kPanels) {
      Strip<S, Block> strips[] = {{a, panel, 0}, {a, panel + kPanels - 1, kLastHalf}};
      tile_exact<S, Block, 1>(a, 0, strips);
    }
  }
  for_tiles<S>(a, panel, unit_end, [&]<int T>(int64_t m0, int64_t strip_panel, int half) {
    Strip<S, Block> strips[] = {{a, strip_panel, half}};
    tile_exact<S, Block, T>(a, m0, strips);
  });
}

/// One dequantized row.
template <class S, class Block>
void decode_row(const WeightView& w, int64_t row, float* out) noexcept {
  const int64_t panel = row / 16;
  const int half = static_cast<int>(row % 16) / S::kLanes, lane = static_cast<int>(row % S::kLanes);
  Block block(w, w.scales + panel * w.scale_stride, half);
  for (int64_t b = 0; b < w.k_padded / kBlockK; ++b) {
    block.start(w, w.codes + panel * w.code_stride + b * Block::bytes(w));
    for (int j = 0; j < 8; ++j) {
      typename S::F columns[4];
      block.four(w, j, columns);
      for (int i = 0; i < 4; ++i) {
        float lanes[S::kLanes];
        S::store(lanes, columns[i]);
        out[b * kBlockK + 4 * j + i] = lanes[lane];
      }
    }
  }
}

}  // namespace
}  // namespace packhorse
