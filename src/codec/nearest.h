#pragma once
// The range of a group, and the code that stands for what is nearest.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include "codec/encoding.h"

namespace packhorse {

/// The nearest whole number in [low, high], halves to even; what is no number becomes `low`.
inline int nearest_whole(float value, int low, int high) {
  const float rounded = std::nearbyint(value);
  if (!(rounded > static_cast<float>(low))) return low;
  return rounded < static_cast<float>(high) ? static_cast<int>(rounded) : high;
}

/// Smallest and largest of some values and zero.
struct ValueRange {
  float low = 0, high = 0;
};
inline ValueRange range_with_zero(std::span<const float> values) {
  ValueRange range;
  for (const float value : values) range.low = std::min(range.low, value), range.high = std::max(range.high, value);
  return range;
}

/// Finds the code of the table's value that is nearest; half way the smaller value wins.
class NearestEntry {
 public:
  NearestEntry(const CodeTable& table, int bits) {
    std::array<uint8_t, 16> codes{};
    for (int i = 0; i < 1 << bits; ++i) codes[i] = static_cast<uint8_t>(i);
    const auto value_of = [&](uint8_t code) { return table.values[code]; };
    std::stable_sort(codes.begin(), codes.begin() + (1 << bits),
                     [&](uint8_t a, uint8_t b) { return value_of(a) < value_of(b); });
    for (int i = 0; i < 1 << bits; ++i) {
      if (n_ > 0 && value_of(codes[i]) == value_of(codes_[n_ - 1])) continue;  // of 0 and -0 the one that is first
      if (n_ > 0) middles_[n_ - 1] = (static_cast<double>(value_of(codes_[n_ - 1])) + value_of(codes[i])) / 2;
      codes_[n_++] = codes[i];
    }
  }

  uint8_t operator()(float value) const {
    int place = 0;
    for (int i = 0; i + 1 < n_; ++i) place += value > middles_[i];
    return codes_[place];
  }

 private:
  int n_ = 0;
  uint8_t codes_[16] = {};   // by value
  double middles_[15] = {};  // between neighbours
};

}  // namespace packhorse
