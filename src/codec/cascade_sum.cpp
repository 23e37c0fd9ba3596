// The values are seen as rows of 4 vectors of 8 lanes. Each of the 32 columns is summed by itself: into an accumulator
// of level 0, which is moved up a level after every 2^p rows, from there up again after 2^2p rows, and so on over four
// levels (so rounding errors grow with the logarithm of the length). Vectors past the last full row join the first one.
// Then: levels, vectors, rest of the values, lanes, each from the first to the last.

#include "codec/cascade_sum.h"

#include <algorithm>
#include <array>
#include <bit>

namespace packhorse {
namespace {

constexpr int kLanes = 8, kVectors = 4, kColumns = kLanes * kVectors, kLevels = 4;

using Row = std::array<float, kColumns>;

void add(Row& sum, const float* values) {
  for (size_t i = 0; i < kColumns; ++i) sum[i] += values[i];
}

Row sum_rows(const float* values, int64_t n_rows) {
  const int log2_rows = n_rows <= 1 ? 0 : std::bit_width(static_cast<uint64_t>(n_rows - 1));
  const int level_bits = std::max(4, log2_rows / kLevels);
  const int64_t step = int64_t{1} << level_bits;
  std::array<Row, kLevels> levels{};
  int64_t row = 0;
  while (row + step <= n_rows) {
    for (int64_t i = 0; i < step; ++i, ++row) add(levels[0], values + row * kColumns);
    for (size_t level = 1; level < kLevels; ++level) {
      add(levels[level], levels[level - 1].data());
      levels[level - 1] = {};
      const int64_t within_level = (step - 1) << (static_cast<int>(level) * level_bits);
      if (row & within_level) break;
    }
  }
  for (; row < n_rows; ++row) add(levels[0], values + row * kColumns);
  for (size_t level = 1; level < kLevels; ++level) add(levels[0], levels[level].data());
  return levels[0];
}

}  // namespace

float cascade_sum(std::span<const float> values) {
  const auto n = static_cast<int64_t>(values.size());
  const int64_t n_rows = n / kColumns, n_vectors = n / kLanes;
  Row sums = sum_rows(values.data(), n_rows);
  for (int64_t v = n_rows * kVectors; v < n_vectors; ++v) {
    for (int64_t lane = 0; lane < kLanes; ++lane)
      sums[static_cast<size_t>(lane)] += values[static_cast<size_t>(v * kLanes + lane)];
  }
  for (size_t i = kLanes; i < kColumns; ++i) sums[i % kLanes] += sums[i];
  float total = 0;
  for (int64_t i = n_vectors * kLanes; i < n; ++i) total += values[static_cast<size_t>(i)];
  for (size_t lane = 0; lane < kLanes; ++lane) total += sums[lane];
  return total;
}

}  // namespace packhorse
