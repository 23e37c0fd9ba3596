#pragma once
// Float rows -> block types of ggml, in canonical form. Codes and scales equal bit for bit those of ggml's own
// quantizers without an importance matrix, which is what llama-quantize writes; every sum below is therefore taken in
// the order of the elements, and speed comes from handling four groups side by side.
//
// `row` is a whole number of blocks of finite values. What a type cannot hold (its 16-bit scales end at 65504) comes
// out with infinite scales.

#include <cstdint>
#include <span>

namespace packhorse {

/// Where the parts of a row of blocks go, or of one block: canonical codes and scales as RowBlock has them. A type
/// without mins or super scales leaves those pointers alone.
struct GgufTarget {
  uint8_t* codes;
  float* scale;
  float* min;
  float* super_scale;
  float* super_min;
};

void encode_q4_0(std::span<const float> row, const GgufTarget& out);
void encode_q4_1(std::span<const float> row, const GgufTarget& out);
void encode_q5_0(std::span<const float> row, const GgufTarget& out);
void encode_q5_1(std::span<const float> row, const GgufTarget& out);
void encode_q8_0(std::span<const float> row, const GgufTarget& out);
/// TQ1_0 and TQ2_0, which differ on disk only.
void encode_ternary(std::span<const float> row, const GgufTarget& out);

void encode_q2_k(std::span<const float> row, const GgufTarget& out);
void encode_q3_k(std::span<const float> row, const GgufTarget& out);
void encode_q4_k(std::span<const float> row, const GgufTarget& out);
void encode_q5_k(std::span<const float> row, const GgufTarget& out);
void encode_q6_k(std::span<const float> row, const GgufTarget& out);

void encode_iq4_nl(std::span<const float> row, const GgufTarget& out);
void encode_iq4_xs(std::span<const float> row, const GgufTarget& out);

}  // namespace packhorse
