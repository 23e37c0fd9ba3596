#include "formats/online_scheme.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "codec/round_codes.h"
#include "codec/tables.h"
#include "formats/act_schemes.h"
#include "formats/fp8_weight.h"

namespace packhorse {
namespace {

using Scope = RoundingScheme::Scope;
using Scale = RoundingScheme::Scale;

constexpr uint32_t kBlock = 128;
constexpr Grouping kRows{GroupKind::row, 0}, kBlocks{GroupKind::along_k, kBlock},
    kMxGroups{GroupKind::along_k, static_cast<uint32_t>(kMxGroup)};
constexpr int kE2M1Mantissa = 1, kE2M1Shift = 2;

constexpr Encoding e4m3(Grouping grouping, ScaleType scale = ScaleType::f32) {
  Encoding out = kE4M3;
  out.grouping = grouping;
  out.scale = scale;
  return out;
}

constexpr Encoding whole(int bits, Grouping grouping) {
  return {.element = Element::integer,
          .bits = static_cast<uint8_t>(bits),
          .offset = static_cast<int16_t>(1 << (bits - 1)),
          .grouping = grouping,
          .scale = ScaleType::f32};
}

/// Whole numbers of the range that is as wide below zero as above.
constexpr RoundingScheme symmetric(std::string_view name, int bits, Grouping grouping) {
  const int high = (1 << (bits - 1)) - 1;
  return {
      .name = name, .encoding = whole(bits, grouping), .divisor = static_cast<float>(high), .low = -high, .high = high};
}

constexpr RoundingScheme kSchemes[] = {
    {.name = "fp8_per_tensor_static", .encoding = e4m3(kRows), .scope = Scope::matrix, .divisor = kE4M3Max},
    {.name = "fp8_per_channel_static", .encoding = e4m3(kRows), .divisor = kE4M3Max},
    {.name = "fp8_per_block_static", .encoding = e4m3(kBlocks), .scope = Scope::block, .divisor = kE4M3Max},
    {.name = "mxfp8", .encoding = e4m3(kMxGroups, ScaleType::e8m0), .scale = Scale::power_above, .divisor = kE4M3Max},
    {.name = "mxfp4",
     .encoding =
         {.element = Element::table, .bits = 4, .table = &kE2M1, .grouping = kMxGroups, .scale = ScaleType::e8m0},
     .scale = Scale::power_even,
     .divisor = kE2M1Max},
    symmetric("int8_per_channel_static", 8, kRows),
    symmetric("int8_per_group_32", 8, kMxGroups),
    symmetric("int4_per_group_32", 4, kMxGroups),
};

class Rounder {
 public:
  Rounder(const WeightPlan& plan, const RoundingScheme& scheme) : name_(plan.name), scheme_(scheme) {
    if (scheme.scope == Scope::matrix) maxima_ = std::make_shared<const BlockMaxima>(plan, plan.n, plan.k);
    if (scheme.scope == Scope::block) maxima_ = std::make_shared<const BlockMaxima>(plan, kBlock, kBlock);
  }

  void encode(std::span<const float> values, int64_t n, RowBlock& rows, int64_t r) const {
    require_finite(values, name_);
    const std::span<const float> measured = maxima_ ? maxima_->of_row(n) : std::span<const float>();
    for (int64_t g = 0; g < rows.n_groups; ++g) {
      const int64_t begin = g * rows.group_k, count = std::min(rows.group_k, rows.k - begin);
      const std::span group = values.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
      const float scale = scale_of(maxima_ ? measured[static_cast<size_t>(g)] : largest_magnitude(group));
      rows.scale[static_cast<size_t>(r * rows.n_groups + g)] = scale;
      round_group(group, scale, rows.codes.data() + r * rows.k + begin);
    }
  }

 private:
  float scale_of(float largest) const {
    switch (scheme_.scale) {
      case Scale::quotient:
        return largest / scheme_.divisor;
      case Scale::power_above:
        return power_scale_above(largest, scheme_.divisor);
      case Scale::power_even:
        return power_scale_even(largest, kE2M1Mantissa, kE2M1Shift);
    }
    return 0;
  }

  void round_group(std::span<const float> group, float scale, uint8_t* out) const {
    if (scheme_.encoding.element == Element::minifloat) return round_to_float8(scheme_.encoding, group, scale, out);
    if (scheme_.encoding.element == Element::table) return round_to_e2m1(group, scale, out);
    round_to_whole(group, scale, scheme_.low, scheme_.high, scheme_.encoding.offset, out);
  }

  std::string name_;
  RoundingScheme scheme_;
  std::shared_ptr<const BlockMaxima> maxima_ = nullptr;  // where a scale is shared by rows
};

}  // namespace

WeightPlan round_weight(WeightPlan plan, const RoundingScheme& scheme) {
  const Rounder rounder(plan, scheme);
  return encode_rows(std::move(plan), scheme.encoding,
                     [rounder](std::span<const float> values, int64_t n, RowBlock& rows, int64_t r) {
                       rounder.encode(values, n, rows, r);
                     });
}

const RoundingScheme* find_rounding_scheme(std::string_view name) {
  const auto* found = std::ranges::find(kSchemes, name, &RoundingScheme::name);
  return found == std::end(kSchemes) ? nullptr : found;
}

std::string rounding_scheme_names() {
  std::string out;
  for (const RoundingScheme& scheme : kSchemes) out += fmt::format("{}{}", out.empty() ? "" : ", ", scheme.name);
  return out;
}

RoundingScheme full_range_scheme(int bits, int64_t group) {
  const int half = 1 << (bits - 1);
  const Grouping grouping = group ? Grouping{GroupKind::along_k, static_cast<uint32_t>(group)} : kRows;
  return {.name = "rtn",
          .encoding = whole(bits, grouping),
          .divisor = static_cast<float>(half) - 0.5f,
          .low = -half,
          .high = half - 1};
}

}  // namespace packhorse
