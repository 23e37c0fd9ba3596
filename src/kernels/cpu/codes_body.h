#pragma once
// Unpacking of codes and scales from a panel (panel.h draws the layout), over a vector type S. `half` picks the lanes
// of a panel's 16 rows when S has only 8.

#include <cstdint>

#include "kernels/cpu/panel.h"
#include "kernels/op.h"

namespace packhorse {
namespace {

/// Bits N places down, or -N places up.
template <class S, int N>
typename S::I move_right(typename S::I v) {
  if constexpr (N >= 0)
    return S::template shift_right<N>(v);
  else
    return S::template shift_left<-N>(v);
}

/// Column vector j of a block of `Bits`-bit codes, 4 codes a lane; everything but `p` is a constant after unrolling.
template <class S, int Bits, int J>
typename S::I column(const uint8_t* p) {
  using I = typename S::I;
  if constexpr (Bits == 8) {
    return S::load_codes(p + 64 * J);
  } else {
    constexpr int kLow = Bits >= 4 ? 4 : 0;
    constexpr bool kTwo = ((Bits - kLow) & 2) != 0, kOne = ((Bits - kLow) & 1) != 0;
    I w{};
    if constexpr (kLow == 4)
      w = S::and_bytes(S::template shift_right<4 * (J / 4)>(S::load_codes(p + 64 * (J % 4))), 15);
    if constexpr (kTwo) {
      const I two = move_right<S, 2 * (J / 2) - kLow>(S::load_codes(p + kLow * 64 + 64 * (J % 2)));
      w = kLow == 0 ? S::and_bytes(two, 3) : S::or_bytes(w, two, 3 << kLow);
    }
    if constexpr (kOne) {
      constexpr int kShift = kLow + (kTwo ? 2 : 0);
      const I one = move_right<S, J - kShift>(S::load_codes(p + kShift * 64));
      w = kShift == 0 ? S::and_bytes(one, 1) : S::or_bytes(w, one, 1 << kShift);
    }
    return w;
  }
}

/// Inline always: a call would spill the sums of its caller's tile.
template <class S, int Bits>
[[gnu::always_inline]] inline void unpack_block(const uint8_t* p, typename S::I w[8]) {
  w[0] = column<S, Bits, 0>(p), w[1] = column<S, Bits, 1>(p), w[2] = column<S, Bits, 2>(p),
  w[3] = column<S, Bits, 3>(p);
  w[4] = column<S, Bits, 4>(p), w[5] = column<S, Bits, 5>(p), w[6] = column<S, Bits, 6>(p),
  w[7] = column<S, Bits, 7>(p);
}

/// The same for a width that is known at run time.
template <class S>
void unpack_block(int bits, const uint8_t* p, typename S::I w[8]) {
  switch (bits) {
    case 1:
      return unpack_block<S, 1>(p, w);
    case 2:
      return unpack_block<S, 2>(p, w);
    case 3:
      return unpack_block<S, 3>(p, w);
    case 4:
      return unpack_block<S, 4>(p, w);
    case 5:
      return unpack_block<S, 5>(p, w);
    case 6:
      return unpack_block<S, 6>(p, w);
    case 7:
      return unpack_block<S, 7>(p, w);
    default:
      return unpack_block<S, 8>(p, w);
  }
}

template <class S>
typename S::F load_scale(ScaleType type, const uint8_t* p) {
  switch (type) {
    case ScaleType::f32:
      return S::load(reinterpret_cast<const float*>(p));
    case ScaleType::f16:
      return S::load_f16(p);
    case ScaleType::bf16:
      return S::load_bf16(p);
    case ScaleType::e8m0:
      return S::load_e8m0(p);
    case ScaleType::e4m3:
      return S::load_e4m3(p);
    default:
      return S::load_u8(p);
  }
}

/// Scales of one level: a group is one or more whole blocks of 32, or the whole row.
template <class S, ScaleType Type, bool Min, bool Zero = false>
struct GroupScales {
  static constexpr int kPerBlock = 1;
  static constexpr bool kMin = Min, kZero = Zero;
  static constexpr int kWidth = scale_bytes(Type);
  const uint8_t* p;
  int lane;
  int64_t blocks_per_group, left = 0;
  typename S::F scale, min;
  typename S::I zero[1];

  GroupScales(const WeightView& w, const uint8_t* scales, int half)
      : p(scales), lane(half * S::kLanes), blocks_per_group((w.group_k + kBlockK - 1) / kBlockK) {}
  void next(typename S::F s[1], typename S::F m[1]) {
    if (left == 0) {
      scale = load_scale<S>(Type, p + lane * kWidth);
      if constexpr (Min) min = load_scale<S>(Type, p + (16 + lane) * kWidth);
      if constexpr (Zero) zero[0] = S::load_u8_i32(p + 16 * kWidth + lane);
      p += 16 * kWidth * (Min ? 2 : 1) + (Zero ? 16 : 0);
      left = blocks_per_group;
    }
    --left;
    s[0] = scale;
    if constexpr (Min) m[0] = min;
  }
};

/// One level of scales of any type, with mins, zero points and outer scales or without, all known at run time.
template <class S>
struct AnyGroups {
  using F = typename S::F;
  const uint8_t* p;
  int lane;
  ScaleType type, min_type, zero_type;
  Outer outer_kind;
  F factor, outer = S::zero();
  F scale = S::zero(), min = S::zero(), zero = S::zero();
  typename S::I whole_zero = S::set1_i32(0);

  AnyGroups(const WeightView& w, const uint8_t* scales, int half)
      : p(scales),
        lane(half * S::kLanes),
        type(w.encoding.scale),
        min_type(w.encoding.min),
        zero_type(w.encoding.zero),
        outer_kind(w.encoding.outer),
        factor(S::set1(w.encoding.factor)) {
    if (outer_kind != Outer::none) outer = load(ScaleType::f32);
  }
  F load(ScaleType t) {
    const F value = load_scale<S>(t, p + lane * scale_bytes(t));
    p += 16 * scale_bytes(t);
    return value;
  }
  void next() {
    scale = load(type);
    if (min_type != ScaleType::none) min = load(min_type);
    if (zero_type == ScaleType::u8) whole_zero = S::load_u8_i32(p + lane);
    if (zero_type != ScaleType::none) zero = load(zero_type);
  }
  F with_outer(F value) const {
    if (outer_kind == Outer::none) return value;
    return outer_kind == Outer::multiply ? S::mul(value, outer) : S::div(value, outer);
  }
};

/// The same for integer dot products over 32 columns, or 16 when PerBlock is 2: all factors in one scale; zero points
/// that are no whole numbers become mins.
template <class S, int PerBlock, bool Min>
struct AnyScales {
  static constexpr int kPerBlock = PerBlock;
  static constexpr bool kMin = Min, kZero = true;
  AnyGroups<S> groups;
  int64_t per_group, left = 0;
  typename S::F scale, min = S::zero();
  typename S::I zero[PerBlock];

  AnyScales(const WeightView& w, const uint8_t* scales, int half)
      : groups(w, scales, half), per_group((w.group_k + kBlockK / PerBlock - 1) / (kBlockK / PerBlock)) {}
  void next(typename S::F s[PerBlock], typename S::F m[PerBlock]) {
    for (int i = 0; i < PerBlock; ++i) {
      if (left == 0) {
        groups.next();
        left = per_group;
        scale = groups.with_outer(S::mul(groups.scale, groups.factor));
        if constexpr (Min) {
          if (groups.min_type != ScaleType::none)
            min = groups.min;
          else if (groups.zero_type != ScaleType::u8)
            min = S::sub(S::zero(), S::mul(groups.zero, scale));
        }
      }
      --left;
      s[i] = scale;
      zero[i] = groups.whole_zero;
      if constexpr (Min) m[i] = min;
    }
  }
};

/// Two levels: an f16 scale (and min) per 256 columns times small integers per 16 or 32.
template <class S, ScaleType Sub, int SubSize, bool Min>
struct SuperScales {
  static constexpr int kPerBlock = kBlockK / SubSize;
  static constexpr bool kMin = Min, kZero = false;
  const uint8_t* p;
  int lane, block = 0;
  typename S::F super_scale, super_min;

  SuperScales(const WeightView&, const uint8_t* scales, int half) : p(scales), lane(half * S::kLanes) {}
  void next(typename S::F s[kPerBlock], typename S::F m[kPerBlock]) {
    if (block == 0) {
      super_scale = S::load_f16(p + lane * 2);
      if constexpr (Min) super_min = S::load_f16(p + 32 + lane * 2);
      p += Min ? 64 : 32;
    }
    block = (block + 1) % 8;
    for (int i = 0; i < kPerBlock; ++i) {
      if constexpr (Sub == ScaleType::u4) {
        s[i] = S::mul(super_scale, S::load_low_nibble(p + lane));
        m[i] = S::mul(super_min, S::load_high_nibble(p + lane));
        p += 16;
      } else {
        s[i] = S::mul(super_scale, Sub == ScaleType::i8 ? S::load_i8(p + lane) : S::load_u8(p + lane));
        if constexpr (Min) m[i] = S::mul(super_min, S::load_u8(p + 16 + lane));
        p += Min ? 32 : 16;
      }
    }
  }
};

/// Index I of a block of grid codes with Extra bits beside the low 8.
template <class S, int Extra, int I>
[[gnu::always_inline]] inline typename S::I grid_index(const uint8_t* p, typename S::I high) {
  const typename S::I low = S::low_byte(S::template shift_right<8 * (I % 4)>(S::load_codes(p + I / 4 * 64)));
  if constexpr (Extra == 0) return low;
  return S::or_(low, S::and_i32(move_right<S, I * Extra - 8>(high), ((1 << Extra) - 1) << 8));
}
/// Those from I on, of N.
template <class S, int Extra, int N, int I = 0>
[[gnu::always_inline]] inline void grid_indices(const uint8_t* p, typename S::I high, uint32_t (*index)[S::kLanes]) {
  S::store_i32(index[I], grid_index<S, Extra, I>(p, high));
  if constexpr (I + 1 < N) grid_indices<S, Extra, N, I + 1>(p, high, index);
}

/// Entries of Width values; only the grid whose indices have 12 bits comes without signs.
template <class S, int Width, int Extra>
void unpack_entries(const int8_t* values, const uint8_t* p, int lane, uint8_t flip, typename S::I out[8]) {
  using I = typename S::I;
  constexpr int kEntries = kBlockK / Width, kHighBytes = (kEntries * Extra + 7) / 8;
  constexpr bool kSigns = Extra != 4;
  const uint8_t* after = p + 16 * kEntries;
  I high{}, w[8];
  if constexpr (kHighBytes == 1) high = S::load_u8_i32(after + lane);
  if constexpr (kHighBytes == 2) high = S::load_u16_i32(after + 2 * lane);
  alignas(64) uint32_t index[kEntries][S::kLanes];
  grid_indices<S, Extra, kEntries>(p + lane * 4, high, index);
  asm("" : "+m"(index));  // addresses are loaded from there: the compiler would extract them lane by lane
  const uint8_t* signs = after + 16 * kHighBytes + lane / 2;
#pragma GCC unroll 8
  for (int i = 0; i < kEntries; ++i) {
    constexpr int kVectors = Width / 4;
    if constexpr (Width == 4)
      w[i] = S::gather_fours(values, index[i]);
    else
      S::gather_eights(values, index[i], w + 2 * i);
    for (int j = i * kVectors; j < (i + 1) * kVectors; ++j) {
      if constexpr (kSigns) w[j] = S::negate_bytes(w[j], signs + 8 * j);
      out[j] = S::xor_bytes(w[j], flip);
    }
  }
}

/// A block of grid codes as signed bytes, four columns a lane; the bits of `flip` are turned over in each.
template <class S>
void unpack_grid(const CodeGrid& grid, const uint8_t* p, int half, uint8_t flip, typename S::I w[8]) {
  const int lane = half * S::kLanes;
  if (grid.width == 4)
    (grid.index_bits == 8 ? unpack_entries<S, 4, 0> : unpack_entries<S, 4, 1>)(grid.values, p, lane, flip, w);
  else if (grid.index_bits == 8)
    unpack_entries<S, 8, 0>(grid.values, p, lane, flip, w);
  else if (grid.index_bits == 9)
    unpack_entries<S, 8, 1>(grid.values, p, lane, flip, w);
  else if (grid.index_bits == 10)
    unpack_entries<S, 8, 2>(grid.values, p, lane, flip, w);
  else
    unpack_entries<S, 8, 4>(grid.values, p, lane, flip, w);
}

}  // namespace
}  // namespace packhorse
