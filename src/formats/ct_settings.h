#pragma once
// Settings of compressed-tensors, quantization_config: the group that a module belongs to, and what it says of the
// module's weight and of its inputs.

#include <cstdint>
#include <string>

#include "formats/format.h"

namespace packhorse::ct {

/// Of a module. What tensors tell, as whether there are zero points, is not here.
struct Scheme {
  bool is_float = false;  // codes are floats of `bits`, else signed integers
  int bits = 8;
  bool symmetric = true;
  int64_t group_size = 0;  // columns per scale; 0 = whole rows, kAnySize = whatever the tensors have
  int64_t block_rows = 1;  // rows per scale
  ActScheme act = {};
  std::string where;  // of the group's weights, for messages
};
inline constexpr int64_t kAnySize = -1;

/// Throws Error{model}: no group for the module, or settings of the group that are wrong or not supported.
Scheme scheme_of(const CheckpointView& view, const Module& module);

/// Settings of the whole checkpoint that change what a module computes. Throws Error{model} for those not supported.
void check_settings(const CheckpointView& view);

}  // namespace packhorse::ct
