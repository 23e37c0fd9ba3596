#pragma once
// Where a weight comes from and how it is encoded; planning touches no weight bytes.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "codec/row_block.h"

namespace packhorse {

/// What happens to an input x[K] before the weight sees it, where a format asks for it, and what its ActScheme knows
/// from the checkpoint.
struct WeightInput {
  std::vector<float> scale = {};    // [K]: x[i] is multiplied by scale[i] first; empty = 1
  std::vector<int32_t> order = {};  // [K]: column i of the weight meets x[order[i]]; empty = i (GPTQ's act-order)
  float act_scale = 1;              // ActScheme::Scale fixed: the scale; nvfp4: the global scale
  int32_t act_zero = 0;             // fixed, asymmetric int8: the code of zero
  friend bool operator==(const WeightInput&, const WeightInput&) = default;
};

/// An [N, K] weight that can be read in any order. `read` is thread-safe and throws Error{io, model}.
struct WeightPlan {
  std::string name;  // of the source, for messages
  Encoding encoding;
  int64_t n = 0, k = 0;
  WeightInput input = {};
  uint64_t source_bytes = 0;  // of the weight's tensors in the files
  /// Fills `rows` with canonical rows [begin, begin + count).
  std::function<void(int64_t begin, int64_t count, RowBlock& rows)> read = {};
};

/// Rows [begin, begin + count) of a plan.
WeightPlan slice_rows(WeightPlan plan, int64_t begin, int64_t count);
/// Plans of equal encoding, input and K, one below the other.
WeightPlan concat_rows(std::vector<WeightPlan> plans);

}  // namespace packhorse
