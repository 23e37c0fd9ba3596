#pragma once
// Packed layout of a weight on every x86 instruction set: panels of 16 rows, each one contiguous stream of codes and
// one of scales. K is padded to blocks of 32 with codes that decode to zero.
//
// Codes of a block (16 rows x 32 columns), integer and table elements of b bits, 64 b bytes:
//   plane of the low 8 bits (b = 8)     8 vectors of 64 bytes; vector j holds columns 4j .. 4j+3 of 16 rows, 4 bytes a
//   row plane of the low 4 bits (b >= 4)    4 vectors; vector v holds column vector v in its low and v + 4 in its high
//   nibbles plane of 2 bits (b = 2, 3, 6, 7)    2 vectors; vector v holds column vectors v, v+2, v+4, v+6 from the low
//   bits up plane of 1 bit (b = 1, 3, 5, 7)     1 vector; bit j belongs to column vector j
// Codes of 12 bits: a block of their low 8 bits, then one of their high 4.
// Codes of grids: [ceil(entries / 4)][16 rows][4] low bytes of the indices, [16 rows] higher bits of all entries from
// the low bits up (0, 1 or 2 bytes), [8] words of 64 signs: bit 4 row + c of word j belongs to column 4j + c. Float
// elements: f32 and f16 [32 columns][16 rows], bf16 [16 column pairs][16 rows][2 columns].
//
// Scales of a panel: [16 outer scales] where the encoding has them; then, one level: per group [16 scales][16 mins]
// [16 zero points]; two levels: per super block [16 f16
// scales][16 f16 mins], then per group [16 sub scales][16 sub mins], or one byte per row with both (u4: scale in the
// low nibble).

#include <cstdint>

#include "kernels/op.h"

namespace packhorse {

inline constexpr int64_t kPanelRows = 16;

/// Bytes of a block of grid codes.
inline constexpr int64_t grid_block_bytes(const CodeGrid& grid) {
  return kPanelRows * (kBlockK / grid.width + high_bytes(grid)) + (grid.has_signs ? 64 : 0);
}

UnitLayout panel_layout(const Encoding& encoding, int64_t k);
void pack_panel(const Encoding& encoding, const RowBlock& rows, int64_t first_row, uint8_t* codes, uint8_t* scales);

}  // namespace packhorse
