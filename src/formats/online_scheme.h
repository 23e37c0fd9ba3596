#pragma once
// The ways in which plain weights are rounded to nearest while they load: element, scope of a scale, rule for the
// scale.

#include <string>
#include <string_view>

#include "formats/in_flight.h"

namespace packhorse {

struct RoundingScheme {
  enum class Scope : uint8_t {
    group,   // the encoding's groups
    matrix,  // one scale, which each row repeats
    block,   // as many rows as a group has columns
  };
  enum class Scale : uint8_t {
    quotient,     // largest magnitude / divisor
    power_above,  // the power of two under which the largest magnitude does not exceed the divisor
    power_even,   // the power of two below the rounded largest magnitude, as E2M1 has it
  };
  std::string_view name;
  Encoding encoding;
  Scope scope = Scope::group;
  Scale scale = Scale::quotient;
  float divisor = 1;      // what the largest magnitude becomes
  int low = 0, high = 0;  // of whole numbers
};

/// A float plan as one of the scheme's encoding. Reading it throws Error{model} for a value that is not finite.
WeightPlan round_weight(WeightPlan plan, const RoundingScheme& scheme);

/// Of vLLM's names for weights: fp8_per_tensor_static, fp8_per_channel_static, fp8_per_block_static, mxfp8, mxfp4,
/// int8_per_channel_static, int8_per_group_32, int4_per_group_32; null for another.
const RoundingScheme* find_rounding_scheme(std::string_view name);
/// These names, with commas.
std::string rounding_scheme_names();

/// Whole numbers of `bits` with their whole range, -2^(bits - 1) and up, for groups of `group` columns; 0 = rows.
RoundingScheme full_range_scheme(int bits, int64_t group);

}  // namespace packhorse
