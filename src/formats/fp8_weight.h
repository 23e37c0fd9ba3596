#pragma once
// A matrix of 8-bit floats, F8_E4M3 or F8_E5M2 [N, K], with scales in any of the forms that tools give them.

#include "formats/coded_rows.h"

namespace packhorse {

inline constexpr int64_t kMxGroup = 32;

/// Rows and columns that share a scale.
struct ScaleBlock {
  int64_t rows = 0, columns = 0;
};

bool is_fp8(const CheckpointView& view, const Module& module, std::string_view part = "weight");
/// One scale for the matrix or for each row, whichever the tensor of scales has room for.
CodedRows fp8_by_rows(const CheckpointView& view, const Module& module, std::string scale = "weight_scale");
/// A scale [ceil(N / rows), ceil(K / columns)] for each block; blocks at the edges may be short.
CodedRows fp8_by_blocks(const CheckpointView& view, const Module& module, ScaleBlock block,
                        std::string scale = "weight_scale");
/// MXFP8: E8M0 scales for 32 columns of one row, or of as many rows as the tensor of scales says.
CodedRows mxfp8(const CheckpointView& view, const Module& module, std::string scale = "weight_scale");

}  // namespace packhorse
