// IQ4_NL and IQ4_XS: indices into a table of unevenly spaced values, groups of 32; each group's scale is the best of
// sixteen, weighted by the squares of the elements.

#include <algorithm>
#include <array>
#include <cmath>

#include "codec/gguf_encode.h"
#include "codec/gguf_lanes.h"
#include "codec/tables.h"

namespace packhorse {
namespace {

using namespace gguf_lanes;

constexpr int kGroup = 32, kBlock = 256, kFour = 4 * kGroup;

/// The table's index for each half-open step of 1/2 from kLow on: all borders between two indices are multiples of it.
class NearestIndex {
 public:
  NearestIndex() {
    for (int step = 0; step < kSteps; ++step) {
      const float from = static_cast<float>(step + kLow) / 2;
      int index = 0;
      while (index < 15 && from >= (kIq4Nl.values[index] + kIq4Nl.values[index + 1]) / 2) ++index;
      index_[static_cast<size_t>(step)] = static_cast<uint8_t>(index);
      value_[static_cast<size_t>(step)] = kIq4Nl.values[index];
    }
  }
  uint8_t index(int step) const { return index_[static_cast<size_t>(step)]; }
  FloatLanes values(IntLanes steps) const {
    return FloatLanes{value(steps[0]), value(steps[1]), value(steps[2]), value(steps[3])};
  }

  /// Steps of these values, those outside of the table's range in the outermost; NaN in the last.
  static IntLanes steps(FloatLanes x) {
    const FloatLanes doubled = clamp_last(x + x);
    const IntLanes whole = __builtin_convertvector(doubled, IntLanes);
    return whole + (__builtin_convertvector(whole, FloatLanes) > doubled) - kLow;
  }

 private:
  static constexpr int kLow = -256, kSteps = 512;

  static FloatLanes clamp_last(FloatLanes x) {
    const FloatLanes cut = x < all(kLow + kSteps - 1) ? x : all(kLow + kSteps - 1);
    return cut > all(kLow) ? cut : all(kLow);
  }
  float value(int step) const { return value_[static_cast<size_t>(step)]; }

  std::array<uint8_t, kSteps> index_{};
  std::array<float, kSteps> value_{};
};

const NearestIndex& nearest_index() {
  static const NearestIndex table;
  return table;
}

FloatLanes search(const NearestIndex& table, const FourGroups<kGroup>& groups) {
  const FloatLanes extreme = extremes(groups);
  FloatLanes sum_xq, sum_q2;
  const auto measure = [&](FloatLanes inverse) {
    sum_xq = sum_q2 = all(0);
    for (const FloatLanes x : groups.x) {
      const FloatLanes value = table.values(NearestIndex::steps(inverse * x)), weight = x * x;
      sum_xq += weight * value * x;
      sum_q2 += weight * value * value;
    }
  };
  const float first = kIq4Nl.values[0];
  measure(1.0f / (-extreme / first));
  FloatLanes scale = select(sum_q2 > all(0), sum_xq / sum_q2, all(0)), best = scale * sum_xq;
  for (int step = -7; step <= 7; ++step) {
    measure((static_cast<float>(step) + first) / extreme);
    const IntLanes is_better = (sum_q2 > all(0)) & (sum_xq * sum_xq > best * sum_q2);
    scale = select(is_better, sum_xq / sum_q2, scale);
    best = select(is_better, scale * sum_xq, best);
  }
  return select(magnitude(extreme) >= all(kAllZero), scale, all(0));
}

/// Indices of x[kGroup] / scale; all of them 0's when the scale is 0.
void put_codes(const NearestIndex& table, const float* x, float scale, uint8_t* codes) {
  const float inverse = scale != 0 ? 1 / scale : 0.0f;
  for (int i = 0; i < kGroup; i += static_cast<int>(kLanes)) {
    const IntLanes steps = NearestIndex::steps(FloatLanes{x[i], x[i + 1], x[i + 2], x[i + 3]} * inverse);
    for (int lane = 0; lane < static_cast<int>(kLanes); ++lane) codes[i + lane] = table.index(steps[lane]);
  }
}

}  // namespace

void encode_iq4_nl(std::span<const float> row, const GgufTarget& out) {
  const NearestIndex& table = nearest_index();
  for (size_t first = 0; first < row.size(); first += kFour) {
    float four[kFour] = {};  // the last ones may be fewer
    const size_t count = std::min<size_t>(kFour, row.size() - first);
    std::copy_n(row.data() + first, count, four);
    const FloatLanes scales = search(table, FourGroups<kGroup>(four));
    for (size_t g = 0; g < count / kGroup; ++g) {
      out.scale[first / kGroup + g] = stored(scales[g]);
      put_codes(table, four + g * kGroup, scales[g], out.codes + first + g * kGroup);
    }
  }
}

void encode_iq4_xs(std::span<const float> row, const GgufTarget& out) {
  constexpr int kGroups = kBlock / kGroup;
  const NearestIndex& table = nearest_index();
  for (size_t b = 0; b < row.size() / kBlock; ++b) {
    const float* const x = row.data() + b * kBlock;
    float scales[kGroups];
    for (int g = 0; g < kGroups; g += 4) {
      const FloatLanes found = search(table, FourGroups<kGroup>(x + g * kGroup));
      for (int lane = 0; lane < 4; ++lane) scales[g + lane] = found[lane];
    }
    const float extreme =
        *std::ranges::max_element(scales, {}, [](float scale) { return std::fabs(scale); });  // the first such
    const float super_scale = -extreme / 32, inverse = super_scale != 0 ? 1 / super_scale : 0.0f;
    out.super_scale[b] = stored(super_scale);
    for (int g = 0; g < kGroups; ++g) {
      const auto sub = static_cast<float>(std::clamp(nearest(inverse * scales[g]), -32, 31));
      out.scale[b * kGroups + static_cast<size_t>(g)] = sub;
      put_codes(table, x + g * kGroup, super_scale * sub, out.codes + b * kBlock + static_cast<size_t>(g) * kGroup);
    }
  }
}

}  // namespace packhorse
