#pragma once
// Float weights encoded while they load, row by row.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/shared_work.h"
#include "codec/weight_plan.h"
#include "formats/format.h"

namespace packhorse {

/// Encodes values[k], which are row n of the matrix, into row r of `rows`, whose buffers have their sizes.
using EncodeRow = std::function<void(std::span<const float> values, int64_t n, RowBlock& rows, int64_t r)>;
/// A float plan as one of `encoding`; keeps its name, shape and input. Holds a few rows as float32 at a time.
WeightPlan encode_rows(WeightPlan source, const Encoding& encoding, EncodeRow encode);

/// Largest magnitudes of the blocks [block_n, block_k] of a float weight, the last ones cut at its edges. They are
/// measured in one pass over the weight when the first is asked for; the threads that ask meanwhile share the work.
class BlockMaxima {
 public:
  BlockMaxima(WeightPlan source, int64_t block_n, int64_t block_k);
  /// Those of the blocks that row n crosses: [ceil(k / block_k)]. Thread-safe; throws what reading the weight throws.
  std::span<const float> of_row(int64_t n) const;

 private:
  void measure(int64_t band) const;

  WeightPlan source_;
  int64_t block_n_, block_k_, blocks_per_row_, rows_per_band_;
  mutable std::vector<float> maxima_;  // [ceil(n / block_n), blocks_per_row]
  mutable std::mutex mutex_;           // of maxima_ while bands are measured
  mutable SharedWork measuring_;       // of bands
};

/// Throws Error{model} naming the weight, and the row where that is known, when a value is NaN or infinite: no code
/// stands for it.
void require_finite(std::span<const float> values, const std::string& name, std::optional<int64_t> row = {});

/// Throws Error{usage} for a key of the settings that is neither quant_method nor one of `known`.
void require_known_keys(const Json& config, std::string_view method, std::span<const std::string_view> known);

/// Whether a module is the matrix of one expert of many.
bool is_expert(const Module& module);

}  // namespace packhorse
