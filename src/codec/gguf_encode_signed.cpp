// Q3_K and Q6_K: blocks of 256 in groups of 16, codes -kHalf..kHalf - 1, value = code * scale. Each group gets the
// scale of least weighted error that a search finds; then whole numbers from kSubLow on and a super scale stand for
// those, and the codes are taken anew. A search returns the scales of four groups and leaves codes from 0 on; those of
// an all-zero group are 0, not kHalf.

#include <algorithm>
#include <cmath>
#include <limits>

#include "codec/gguf_encode.h"
#include "codec/gguf_lanes.h"

namespace packhorse {
namespace {

using namespace gguf_lanes;

constexpr int kBlock = 256;

struct Q3_K {
  static constexpr float kHalf = 4;
  static constexpr int kSubLow = -32;
  static constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
  static constexpr int kSubOfZeros = -32;  // as ggml leaves them
  static constexpr bool kClearsZeros = false;

  /// From the codes of the obvious scale, each code in turn to where the least-squares fit of the others wants it.
  static FloatLanes search(const FourGroups<16>& groups, FloatLanes (&codes)[16]) {
    const FloatLanes extreme = extremes(groups), inverse = -kHalf / extreme;
    FloatLanes sum_xl{}, sum_l2{};
    for (int i = 0; i < 16; ++i) {
      const FloatLanes x = groups.x[i], weight = x * x;
      codes[i] = clamp(nearest(inverse * x), -kHalf, kHalf - 1);
      sum_xl += weight * x * codes[i];
      sum_l2 += weight * codes[i] * codes[i];
    }
    for (int round = 0; round < 5; ++round) {
      IntLanes has_changed{};
      for (int i = 0; i < 16; ++i) {
        const FloatLanes x = groups.x[i], weight = x * x;
        FloatLanes rest_xl = sum_xl - weight * x * codes[i], rest_l2 = sum_l2 - weight * codes[i] * codes[i];
        const FloatLanes code = clamp(nearest(x * rest_l2 / rest_xl), -kHalf, kHalf - 1);
        IntLanes changes = (rest_xl > all(0)) & (code != codes[i]);
        rest_xl += weight * x * code;
        rest_l2 += weight * code * code;
        changes &= (rest_l2 > all(0)) & (rest_xl * rest_xl * sum_l2 > sum_xl * sum_xl * rest_l2);
        codes[i] = select(changes, code, codes[i]);
        sum_xl = select(changes, rest_xl, sum_xl);
        sum_l2 = select(changes, rest_l2, sum_l2);
        has_changed |= changes;
      }
      if (!any(has_changed)) break;
    }
    const IntLanes has_values = magnitude(extreme) >= all(kAllZero);
    for (FloatLanes& code : codes) code = select(has_values, code + kHalf, all(0));
    return select(has_values & (sum_l2 > all(0)), sum_xl / sum_l2, all(0));
  }
};

struct Q6_K {
  static constexpr float kHalf = 32;
  static constexpr int kSubLow = -128;
  static constexpr float kSmallest = kAllZero;
  static constexpr int kSubOfZeros = 0;
  static constexpr bool kClearsZeros = true;

  /// The best of nineteen scales around the one that makes the extreme the lowest code.
  static FloatLanes search(const FourGroups<16>& groups, FloatLanes (&codes)[16]) {
    const FloatLanes extreme = extremes(groups);
    FloatLanes inverse = -kHalf / extreme, sum_xl{}, sum_l2{};
    const auto code_of = [](FloatLanes scaled) { return clamp(nearest(scaled), -kHalf, kHalf - 1); };
    const auto measure = [&](FloatLanes candidate) {
      sum_xl = sum_l2 = all(0);
      for (const FloatLanes x : groups.x) {
        const FloatLanes code = code_of(candidate * x), weight = x * x;
        sum_xl += weight * x * code;
        sum_l2 += weight * code * code;
      }
    };
    measure(inverse);
    FloatLanes scale = select(sum_l2 != all(0), sum_xl / sum_l2, all(0)), best = scale * sum_xl;
    for (int step = -9; step <= 9; ++step) {
      if (step == 0) continue;
      const FloatLanes candidate = -(kHalf + 0.1f * static_cast<float>(step)) / extreme;
      measure(candidate);
      const IntLanes is_better = (sum_l2 > all(0)) & (sum_xl * sum_xl > best * sum_l2);
      scale = select(is_better, sum_xl / sum_l2, scale);
      best = select(is_better, scale * sum_xl, best);
      inverse = select(is_better, candidate, inverse);
    }
    const IntLanes has_values = magnitude(extreme) >= all(kAllZero);
    for (int i = 0; i < 16; ++i) codes[i] = select(has_values, code_of(inverse * groups.x[i]) + kHalf, all(0));
    return select(has_values, scale, all(0));
  }
};

template <class Type>
void encode_signed(std::span<const float> row, const GgufTarget& out) {
  constexpr int kSize = 16, kGroups = kBlock / kSize;
  for (size_t b = 0; b < row.size() / kBlock; ++b) {
    const float* const x = row.data() + b * kBlock;
    uint8_t* const codes = out.codes + b * kBlock;
    float* const sub_scales = out.scale + b * kGroups;
    float scales[kGroups];
    for (int g = 0; g < kGroups; g += static_cast<int>(kLanes)) {
      FloatLanes found[kSize];
      store_groups(Type::search(FourGroups<kSize>(x + g * kSize), found), scales + g);
      store_codes(found, codes + g * kSize);
    }
    const float extreme =
        *std::ranges::max_element(scales, {}, [](float scale) { return std::fabs(scale); });  // the first such
    if (std::fabs(extreme) < Type::kSmallest) {
      out.super_scale[b] = 0;
      std::fill_n(sub_scales, kGroups, static_cast<float>(Type::kSubOfZeros));
      if (Type::kClearsZeros) std::fill_n(codes, kBlock, uint8_t{0});
      continue;
    }
    const float inverse = Type::kSubLow / extreme, super_scale = stored(1 / inverse);
    out.super_scale[b] = super_scale;
    for (int g = 0; g < kGroups; ++g) {
      const int sub = std::clamp(nearest(inverse * scales[g]), Type::kSubLow, -Type::kSubLow - 1);
      sub_scales[g] = static_cast<float>(sub);
      const float scale = super_scale * sub_scales[g];
      if (scale != 0) divide_to_codes<kSize>(x + g * kSize, 0, scale, -Type::kHalf, Type::kHalf - 1, codes + g * kSize);
    }
  }
}

}  // namespace

void encode_q3_k(std::span<const float> row, const GgufTarget& out) { encode_signed<Q3_K>(row, out); }
void encode_q6_k(std::span<const float> row, const GgufTarget& out) { encode_signed<Q6_K>(row, out); }

}  // namespace packhorse
