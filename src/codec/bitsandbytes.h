#pragma once
// Encoding of float weights as bitsandbytes does it on a CPU: the codes equal the library's, bit for bit.
//
// 4-bit: the flattened matrix is cut into blocks; a block keeps its largest magnitude and, for each weight divided by
// that, the code of the nearest table value. Nested statistics: the mean of the block maxima is subtracted, the rest is
// coded in 8 bits by a table of its own, in blocks of 256. int8: one maximum per row, weights rounded to float16 first.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/encoding.h"
#include "codec/tables.h"

namespace packhorse {

inline constexpr uint32_t kNestedBlock = 256;

/// Largest magnitude of each block of `block` weights (a multiple of 32); the last block may be short.
void block_absmax(const float* weights, int64_t n, uint32_t block, float* absmax);

/// Codes of n weights that start at a block of the matrix, one code per byte, and their block maxima. Only the end of
/// the matrix may be a short block (the library divides there, instead of multiplying by the reciprocal). `table` is
/// kNf4 or kFp4.
void encode_4bit(const CodeTable& table, const float* weights, int64_t n, uint32_t block, uint8_t* codes,
                 float* absmax);

/// Sorted 8-bit "dynamic" table of the nested statistics.
using DynamicMap = std::array<float, 256>;
const DynamicMap& dynamic_map();

/// Quantized block maxima.
struct NestedAbsmax {
  std::vector<uint8_t> codes;  // one per block
  std::vector<float> absmax;   // one per kNestedBlock codes
  float offset = 0;
};
NestedAbsmax encode_nested(std::span<const float> absmax);
/// Block maxima [first, first + out.size()) from their codes, out[i] <- map[codes[i]] * absmax of its nested block +
/// offset.
void decode_nested(std::span<const uint8_t> codes, int64_t first, std::span<const float> map,
                   std::span<const float> nested_absmax, uint32_t nested_block, float offset, float* out);

/// Scales of n_groups in-row groups from those of flat blocks. Element `first` of the flattened matrix begins the first
/// group and lies in the block of block_scales[0]; group_k divides the block size and the row length, so no group
/// crosses a block.
void spread_block_scales(const float* block_scales, int64_t first, int64_t group_k, int64_t n_groups, uint32_t block,
                         float* out);

/// One row as int8: codes are q + 128. Returns the row's largest magnitude.
float encode_int8_row(float* weights, int64_t k, uint8_t* codes);
/// The constant of the int8 encoding, close to 1 / 127.
inline constexpr float kInt8Factor = 7.874015718698502e-3f;
/// LLM.int8() turns the integer sum of a product into a float by this constant of the library, which is 1/127^2 but for
/// a slip in its fifth digit (its CPU backend).
inline constexpr float kInt8Product = 6.200124e-5f;

}  // namespace packhorse
