#pragma once
// Unpacking of codes and scales from a panel (panel.h draws the layout), over a vector type S. `half` picks the lanes
// of a panel's 16 rows when S has only 8.

#include <cstdint>

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

constexpr int scale_width(ScaleType type) { return type == ScaleType::f32 ? 4 : 2; }

template <class S>
typename S::F load_scale(ScaleType type, const uint8_t* p) {
  if (type == ScaleType::f32) return S::load(reinterpret_cast<const float*>(p));
  return type == ScaleType::f16 ? S::load_f16(p) : S::load_bf16(p);
}

/// Scales of one level: a group is one or more whole blocks of 32, or the whole row.
template <class S, ScaleType Type, bool Min, bool Zero = false>
struct GroupScales {
  static constexpr int kPerBlock = 1;
  static constexpr bool kMin = Min, kZero = Zero;
  static constexpr int kWidth = scale_width(Type);
  const uint8_t* p;
  int lane;
  int64_t blocks_per_group, left = 0;
  typename S::F scale, min;
  typename S::I zero;

  GroupScales(const WeightView& w, const uint8_t* scales, int half)
      : p(scales), lane(half * S::kLanes), blocks_per_group((w.group_k + kBlockK - 1) / kBlockK) {}
  void next(typename S::F s[1], typename S::F m[1]) {
    if (left == 0) {
      scale = load_scale<S>(Type, p + lane * kWidth);
      if constexpr (Min) min = load_scale<S>(Type, p + (16 + lane) * kWidth);
      if constexpr (Zero) zero = S::load_u8_i32(p + 16 * kWidth + lane);
      p += 16 * kWidth * (Min ? 2 : 1) + (Zero ? 16 : 0);
      left = blocks_per_group;
    }
    --left;
    s[0] = scale;
    if constexpr (Min) m[0] = min;
  }
};

/// One level of any scale type, with zero points or without, known at run time.
template <class S>
struct AnyScales {
  static constexpr int kPerBlock = 1;
  static constexpr bool kMin = false, kZero = true;
  const uint8_t* p;
  int lane;
  ScaleType type;
  bool has_zero;
  int64_t blocks_per_group, left = 0;
  typename S::F scale;
  typename S::I zero = S::set1_i32(0);

  AnyScales(const WeightView& w, const uint8_t* scales, int half)
      : p(scales),
        lane(half * S::kLanes),
        type(w.encoding.scale),
        has_zero(w.encoding.zero != ScaleType::none),
        blocks_per_group((w.group_k + kBlockK - 1) / kBlockK) {}
  void next_group() {
    const int width = scale_width(type);
    scale = load_scale<S>(type, p + lane * width);
    if (has_zero) zero = S::load_u8_i32(p + 16 * width + lane);
    p += 16 * width + (has_zero ? 16 : 0);
  }
  void next(typename S::F s[1], typename S::F*) {
    if (left == 0) next_group(), left = blocks_per_group;
    --left;
    s[0] = scale;
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

}  // namespace
}  // namespace packhorse
