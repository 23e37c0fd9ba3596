#pragma once
// Canonical rows of a weight: what WeightPlan::read fills and Kernel::pack consumes.

#include <cstdint>
#include <string>
#include <vector>

#include "codec/encoding.h"

namespace packhorse {

/// Rows [row_begin, row_begin + n_rows) of an [N, K] weight, one code per byte (little-endian pairs of bytes for
/// codes of more than 8 bits), all scales as float32 (exact: their
/// storage types are narrower). For float elements `codes` holds the raw little-endian elements; for grids, per
/// grid->width columns, a little-endian 16-bit index and a byte of signs (bit i: element i is negative). Buffers are
/// reused by resize.
struct RowBlock {
  int64_t row_begin = 0, n_rows = 0, k = 0;
  int64_t group_k = 0;         // elements per scale within a row; flat groups that cross rows are cut to gcd(K, size)
  int64_t n_groups = 0;        // per row: ceil(k / group_k); 0 for float elements
  int64_t n_supers = 0;        // per row: k / super_size, or 0
  std::vector<uint8_t> codes;  // [n_rows, code_bytes(encoding, k)]
  std::vector<float> scale;    // [n_rows, n_groups]
  std::vector<float> min;      // [n_rows, n_groups] when encoding.min
  std::vector<float> zero;     // [n_rows, n_groups] when encoding.zero
  std::vector<float> super_scale;  // [n_rows, n_supers]
  std::vector<float> super_min;    // [n_rows, n_supers] when encoding.min
  std::vector<float> outer;        // [n_rows] when encoding.outer

  /// Sets the sizes for these rows; contents are unspecified.
  void resize(const Encoding& encoding, int64_t row_begin, int64_t n_rows, int64_t k);
};

inline constexpr int64_t kGridEntryBytes = 3;

/// Bytes of a row's canonical codes.
int64_t code_bytes(const Encoding& encoding, int64_t k);

/// Scale and min of group g of block row r as the product of both levels, one rounding each; its zero point.
float group_scale(const Encoding& encoding, const RowBlock& rows, int64_t r, int64_t g);
float group_min(const Encoding& encoding, const RowBlock& rows, int64_t r, int64_t g);
float group_zero(const Encoding& encoding, const RowBlock& rows, int64_t r, int64_t g);

/// Code i of a row of canonical minifloats.
int wide_code(const Encoding& encoding, const uint8_t* codes, int64_t i);
/// Value of a minifloat's code.
float minifloat_value(const Encoding& encoding, int code);
/// Value of element i of a row of canonical grid codes.
int grid_value(const CodeGrid& grid, const uint8_t* codes, int64_t i);

/// Dequantizes block row r into out[k]: the definition of an encoding.
void decode_row(const Encoding& encoding, const RowBlock& rows, int64_t r, float* out);

/// "int4 - 8, groups of 32 along K, f16 scales": for people.
std::string describe(const Encoding& encoding);
/// Average storage of a code with its scales, bits per weight, for an [N, K] matrix.
double bits_per_weight(const Encoding& encoding, int64_t k);

}  // namespace packhorse
