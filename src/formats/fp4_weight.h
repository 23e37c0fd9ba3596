#pragma once
// A matrix of 4-bit floats E2M1, U8 [N, K / 2], even columns in the low nibble, with scales for groups along the rows.

#include "formats/coded_rows.h"

namespace packhorse {

inline constexpr int64_t kNvfp4Group = 16;

/// MXFP4: E8M0 scales [N, K / 32].
CodedRows mxfp4(std::string codes = "weight", std::string scale = "weight_scale");
/// NVFP4: E4M3 scales [N, K / 16] under one float32 for the matrix, in tensor `outer`, which multiplies or divides.
CodedRows nvfp4(Outer kind, std::string outer, std::string codes = "weight", std::string scale = "weight_scale");

}  // namespace packhorse
