#include "codec/bitsandbytes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "codec/cascade_sum.h"
#include "codec/widen.h"

namespace packhorse {
namespace {

constexpr int kRun = 32;                // weights per step: every block size is a multiple
constexpr float kLeastAbsmax = 1e-38f;  // the library's, against division by zero

/// A table as a step function: the code of y is code[number of midpoints below y].
struct Steps {
  float midpoints[15];
  uint8_t code[16];
};

Steps make_steps(const float (&values)[16]) {
  Steps steps{};
  for (int i = 0; i < 16; ++i) {  // insertion sort keeps code 0 before code 8, which is also zero in fp4
    int at = i;
    for (; at > 0 && values[steps.code[at - 1]] > values[i]; --at) steps.code[at] = steps.code[at - 1];
    steps.code[at] = static_cast<uint8_t>(i);
  }
  for (int i = 0; i < 15; ++i) steps.midpoints[i] = (values[steps.code[i]] + values[steps.code[i + 1]]) / 2;
  return steps;
}

int32_t magnitude_bits(float value) { return static_cast<int32_t>(std::bit_cast<uint32_t>(value) & 0x7fffffffu); }

/// Magnitudes compare as integers, which vectorizes where the maximum of floats (NaN!) does not.
void max_of_run(const float* weights, int32_t* largest) {
  for (int i = 0; i < kRun; ++i) {
    const int32_t bits = magnitude_bits(weights[i]);
    largest[i] = largest[i] < bits ? bits : largest[i];
  }
}

float absmax_of(const float* weights, int64_t n) {
  int32_t largest[kRun] = {};
  int64_t i = 0;
  for (; i + kRun <= n; i += kRun) max_of_run(weights + i, largest);
  for (; i < n; ++i) largest[0] = std::max(largest[0], magnitude_bits(weights[i]));
  return std::bit_cast<float>(*std::max_element(largest, largest + kRun));
}

template <size_t... I>
int32_t count_below(const float* midpoints, float y, std::index_sequence<I...>) {
  return (static_cast<int32_t>(midpoints[I] < y) + ...);
}

void encode_run(const Steps& steps, const float* y, uint8_t* codes) {
  int32_t counts[kRun];
  for (int i = 0; i < kRun; ++i) counts[i] = count_below(steps.midpoints, y[i], std::make_index_sequence<15>());
  for (int i = 0; i < kRun; ++i) codes[i] = steps.code[counts[i]];
}

void encode_full_block(const Steps& steps, const float* weights, uint32_t block, float absmax, uint8_t* codes) {
  const float reciprocal = 1.0f / std::max(absmax, kLeastAbsmax);
  float y[kRun];
  for (uint32_t i = 0; i < block; i += kRun) {
    for (int j = 0; j < kRun; ++j) y[j] = weights[i + static_cast<uint32_t>(j)] * reciprocal;
    encode_run(steps, y, codes + i);
  }
}

void encode_short_block(const Steps& steps, const float* weights, int64_t n, float absmax, uint8_t* codes) {
  float y[kRun] = {};
  uint8_t run[kRun];
  for (int64_t i = 0; i < n; i += kRun) {
    const int64_t count = std::min<int64_t>(kRun, n - i);
    for (int64_t j = 0; j < count; ++j) y[j] = weights[i + j] / absmax;
    encode_run(steps, y, run);
    std::copy_n(run, count, codes + i);
  }
}

const Steps& steps_of(const CodeTable& table) {
  static const Steps nf4 = make_steps(kNf4.values), fp4 = make_steps(kFp4.values);
  return &table == &kNf4 ? nf4 : fp4;
}

/// Value of the map in the middle of cell `cell` of 2^log2_cells equal ones of [0.1, 1], times `unit`.
float cell_center(int cell, int log2_cells, float unit) {
  const int n = 1 << log2_cells;
  const float step = (1.0f - 0.1f) / static_cast<float>(n);
  const auto edge = [&](int i) {
    return i < (n + 1) / 2 ? std::fma(step, static_cast<float>(i), 0.1f)
                           : std::fma(-step, static_cast<float>(n - i), 1.0f);
  };
  return (edge(cell) + edge(cell + 1)) / 2 * unit;
}

DynamicMap make_dynamic_map() {
  DynamicMap map{};
  constexpr size_t kZero = 127;
  constexpr float kUnits[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  size_t at = kZero;
  for (int e = 0; e < 7; ++e) {
    for (int cell = 0; cell < 1 << e; ++cell) {
      ++at;
      map[at] = cell_center(cell, e, kUnits[e]);
      map[2 * kZero - at] = -map[at];
    }
  }
  map[255] = 1.0f;
  return map;
}

/// The library looks codes up by 16 bits of the value: entry i holds the code nearest to 2 i / 65535 - 1, the lower on
/// a tie.
using NestedLookup = std::array<uint8_t, 65536>;

NestedLookup make_nested_lookup(const DynamicMap& map) {
  NestedLookup lookup{};
  size_t code = 0;
  for (size_t i = 0; i < lookup.size(); ++i) {
    const float value = 2.0f * static_cast<float>(i) / 65535.0f - 1.0f;
    while (code < 255 && std::fabs(map[code + 1] - value) < std::fabs(value - map[code])) ++code;
    lookup[i] = static_cast<uint8_t>(code);
  }
  return lookup;
}

/// Codes of one block of differences from the mean; its largest magnitude.
float encode_nested_block(const NestedLookup& lookup, std::span<const float> values, uint8_t* codes) {
  const float largest = absmax_of(values.data(), static_cast<int64_t>(values.size()));
  if (largest == 0) {
    std::fill_n(codes, values.size(), uint8_t{0});
    return largest;
  }
  const float reciprocal = 1.0f / largest;
  for (size_t i = 0; i < values.size(); ++i) {
    const float y = values[i] * reciprocal;
    const float clamped = y >= -1 ? std::min(y, 1.0f) : -1.0f;  // NaN as well
    codes[i] = lookup[static_cast<size_t>((clamped + 1.0f) * 0.5f * 65535.0f + 0.5f)];
  }
  return largest;
}

/// Code of a value in -127..127 in the low byte: adding 1.5 * 2^23 rounds to an integer, ties to even, and leaves it
/// there. NaN, from rows of zeros and from infinite weights, leaves 0 as in the library.
uint32_t int8_code(float value) { return std::bit_cast<uint32_t>(value + 0x1.8p23f) ^ 0x80; }

}  // namespace

void block_absmax(const float* weights, int64_t n, uint32_t block, float* absmax) {
  for (int64_t i = 0; i < n; i += block) *absmax++ = absmax_of(weights + i, std::min<int64_t>(block, n - i));
}

void encode_4bit(const CodeTable& table, const float* weights, int64_t n, uint32_t block, uint8_t* codes,
                 float* absmax) {
  const Steps& steps = steps_of(table);
  for (int64_t i = 0; i < n; i += block, ++absmax) {
    const int64_t count = std::min<int64_t>(block, n - i);
    *absmax = absmax_of(weights + i, count);
    if (count == block) {
      encode_full_block(steps, weights + i, block, *absmax, codes + i);
    } else {
      *absmax = std::max(*absmax, kLeastAbsmax);
      encode_short_block(steps, weights + i, count, *absmax, codes + i);
    }
  }
}

const DynamicMap& dynamic_map() {
  static const DynamicMap map = make_dynamic_map();
  return map;
}

NestedAbsmax encode_nested(std::span<const float> absmax) {
  static const NestedLookup lookup = make_nested_lookup(dynamic_map());
  NestedAbsmax out;
  out.codes.resize(absmax.size());
  out.offset = cascade_sum(absmax) / static_cast<float>(absmax.size());
  std::vector<float> differences(kNestedBlock);
  for (size_t i = 0; i < absmax.size(); i += kNestedBlock) {
    const size_t count = std::min<size_t>(kNestedBlock, absmax.size() - i);
    for (size_t j = 0; j < count; ++j) differences[j] = absmax[i + j] - out.offset;
    out.absmax.push_back(encode_nested_block(lookup, std::span(differences).first(count), out.codes.data() + i));
  }
  return out;
}

void decode_nested(std::span<const uint8_t> codes, int64_t first, std::span<const float> map,
                   std::span<const float> nested_absmax, uint32_t nested_block, float offset, float* out) {
  for (size_t i = 0; i < codes.size(); ++i) {
    out[i] = map[codes[i]] * nested_absmax[(static_cast<size_t>(first) + i) / nested_block] + offset;
  }
}

void spread_block_scales(const float* block_scales, int64_t first, int64_t group_k, int64_t n_groups, uint32_t block,
                         float* out) {
  const int64_t first_block = first / block;
  for (int64_t g = 0; g < n_groups; ++g) out[g] = block_scales[(first + g * group_k) / block - first_block];
}

float encode_int8_row(float* weights, int64_t k, uint8_t* codes) {
  round_to_f16(weights, k);
  const float largest = absmax_of(weights, k);
  const float multiplier = 127.0f * (1.0f / largest);
  int64_t i = 0;
  for (; i + kRun <= k; i += kRun) {
    uint32_t shifted[kRun];
    for (int j = 0; j < kRun; ++j) shifted[j] = int8_code(weights[i + j] * multiplier);
    for (int j = 0; j < kRun; ++j) codes[i + j] = static_cast<uint8_t>(shifted[j]);
  }
  for (; i < k; ++i) codes[i] = static_cast<uint8_t>(int8_code(weights[i] * multiplier));
  return largest;
}

}  // namespace packhorse
