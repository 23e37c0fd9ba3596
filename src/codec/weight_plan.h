#pragma once
// Where a weight comes from and how it is encoded; planning touches no weight bytes.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "codec/row_block.h"

namespace packhorse {

/// An [N, K] weight that can be read in any order. `read` is thread-safe and throws Error{io, model}.
struct WeightPlan {
  std::string name;  // of the source, for messages
  Encoding encoding;
  int64_t n = 0, k = 0;
  uint64_t source_bytes = 0;  // of the weight's tensors in the files
  /// Fills `rows` with canonical rows [begin, begin + count).
  std::function<void(int64_t begin, int64_t count, RowBlock& rows)> read;
};

/// Rows [begin, begin + count) of a plan.
WeightPlan slice_rows(WeightPlan plan, int64_t begin, int64_t count);
/// Plans of equal encoding and K, one below the other.
WeightPlan concat_rows(std::vector<WeightPlan> plans);

}  // namespace packhorse
