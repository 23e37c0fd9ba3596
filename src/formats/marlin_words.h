#pragma once
// Marlin's tiles: codes of an [N, K] matrix in the order in which a warp of a GPU multiplies them. B = dense, or 2:4
// sparse: of each 4 neighbours along K two are kept, K / 2 in all, and `meta` says which.
//
//   B     I32 [K / 16, N b / 2], or sparse [K / 32, N b / 2], of b = 4 or 8 bits
//   meta  I16 [K / 32, 2 N], sparse only
//   s     float [G, N], columns in an order of their own
//
// A row of B holds 16 rows (along K, kept ones) of N columns, in blocks of 64 columns: of 4 bits 128 words. Lane i of
// 32 and j of 4 make word 4 i + j of a block, its codes those of rows r, r + 8, r + 1, r + 9 with r = 2 (i mod 4):
//
//   bits    0..3     4..7       8..11      12..15       16..19     20..23     24..27       28..31
//   code    r, c     r + 8, c   r, c'      r + 8, c'    r + 1, c   r + 9, c   r + 1, c'    r + 9, c'
//
//   dense   c = 16 j + i div 4                                 c' = c + 8
//   sparse  c = 16 (i div 8) + 8 (i div 4 mod 2) + j           c' = c + 4
//
// Of 8 bits, words 2 (4 i + j) and 2 (4 i + j) + 1 hold the codes of c and of c', in the order r, r + 8, r + 1, r + 9.
// There are no zero points: value = (code - 2^(b - 1)) * scale, and 0 where nothing is kept.

#include <cstdint>
#include <string>

#include "formats/qweight.h"

namespace packhorse {

/// Codes of column `column` of B [k, n], kept ones along K: codes[k]. n is a multiple of 64, k of 16.
void unpack_marlin(const uint8_t* packed, int bits, bool sparse, int64_t n, int64_t k, int64_t column, uint8_t* codes);

/// Spreads kept[k / 2] over codes[k] as `meta` says for this column, `fill` elsewhere; false when meta is no metadata.
/// n is a multiple of 64, k of 32.
bool expand_24(const uint8_t* meta, int64_t n, int64_t k, int64_t column, const uint8_t* kept, uint8_t fill,
               uint8_t* codes);

/// Order of the columns of s.
enum class MarlinScales : uint8_t {
  grouped,    // transposed 8 x 8 within 64
  whole,      // one group per column: interleaved within 32
  sparse,     // interleaved within 8
  unchanged,  // sparse, of groups of K / 2 and more
};
/// Column of s that holds the scale of this column of the matrix.
int64_t marlin_scale_column(MarlinScales order, int64_t column);

/// Tensors of a module: parts of its name.
struct MarlinParts {
  std::string codes, meta, scale;  // no meta: dense
};
inline const MarlinParts kDenseMarlin{"B", "", "s"};
inline const MarlinParts kSparseMarlin{"B_24", "B_meta", "s"};

/// A module in these tensors. Throws Error{model}: missing ones, shapes that do not fit.
WeightPlan plan_marlin_words(const CheckpointView& view, const Module& module, const MarlinParts& parts,
                             const WordSettings& settings);

}  // namespace packhorse
