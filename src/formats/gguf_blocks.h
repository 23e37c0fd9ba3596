#pragma once
// What a block type of ggml is to the GGUF dialect: an encoding, and how a row of blocks becomes canonical.

#include <cstdint>
#include <cstring>
#include <span>

#include "base/half.h"
#include "codec/gguf_encode.h"
#include "formats/source.h"

namespace packhorse {

struct GgufBlock {
  DType type;
  Encoding encoding;
  /// Blocks of one row into row r of `rows`, which has this encoding.
  void (*unpack_row)(const uint8_t* row, int64_t r, RowBlock& rows);
};

/// Integer codes in blocks of 32, and "K" types.
std::span<const GgufBlock> gguf_integer_blocks();
/// Codebooks, ternary codes and small floats.
std::span<const GgufBlock> gguf_other_blocks();

/// That of a type; null for others.
const GgufBlock* find_gguf_block(DType type);

/// Where row r of `rows`, of this encoding, begins.
inline GgufTarget gguf_row(const Encoding& e, RowBlock& rows, int64_t r) {
  GgufTarget out{rows.codes.data() + r * code_bytes(e, rows.k), rows.scale.data() + r * rows.n_groups, nullptr, nullptr,
                 nullptr};
  if (e.min != ScaleType::none) out.min = rows.min.data() + r * rows.n_groups;
  if (e.super_size != 0) out.super_scale = rows.super_scale.data() + r * rows.n_supers;
  if (e.super_size != 0 && e.min != ScaleType::none) out.super_min = rows.super_min.data() + r * rows.n_supers;
  return out;
}

inline float load_f16(const uint8_t* p) { return f16_to_f32(static_cast<uint16_t>(p[0] | p[1] << 8)); }

/// The row of a type `Block` {kEncoding, unpack(block, target)} of kSize elements in kBytes bytes.
template <class Block, int kSize, int kBytes>
constexpr GgufBlock gguf_block(DType type) {
  constexpr auto unpack_row = [](const uint8_t* row, int64_t r, RowBlock& rows) {
    constexpr Encoding e = Block::kEncoding;
    constexpr int kGroups = kSize / static_cast<int>(e.grouping.size);
    const int64_t bytes = code_bytes(e, kSize);
    GgufTarget out = gguf_row(e, rows, r);
    for (int64_t b = 0; b < rows.k / kSize; ++b) {
      Block::unpack(row + b * kBytes, out);
      out.codes += bytes;
      out.scale += kGroups;
      if constexpr (e.min != ScaleType::none) out.min += kGroups;
      if constexpr (e.super_size != 0) ++out.super_scale;
      if constexpr (e.super_size != 0 && e.min != ScaleType::none) ++out.super_min;
    }
  };
  return {type, Block::kEncoding, unpack_row};
}

}  // namespace packhorse
