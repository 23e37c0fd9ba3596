#include "formats/fp8_weight.h"

#include <algorithm>

namespace packhorse {
namespace {

Encoding codes_of(const CheckpointView& view, const Module& module) {
  return view.at(weight_name(module)).dtype == DType::f8_e5m2 ? kE5M2 : kE4M3;
}

}  // namespace

bool is_fp8(const CheckpointView& view, const Module& module, std::string_view part) {
  return part_is(view, module, part, {DType::f8_e4m3, DType::f8_e5m2});
}

CodedRows fp8_by_rows(const CheckpointView& view, const Module& module, std::string scale) {
  Encoding encoding = codes_of(view, module);
  encoding.grouping = {GroupKind::row, 0};
  encoding.scale = ScaleType::f32;  // wide enough for all types of scales; one per row costs nothing
  const auto order = order_of_row_scales(view, module, scale);
  return {.encoding = encoding, .scale = std::move(scale), .scale_order = order};
}

CodedRows fp8_by_blocks(const CheckpointView& view, const Module& module, ScaleBlock block, std::string scale) {
  Encoding encoding = codes_of(view, module);
  encoding.grouping = {GroupKind::along_k, static_cast<uint32_t>(block.columns)};
  encoding.scale = ScaleType::f32;
  return {.encoding = encoding,
          .scale = std::move(scale),
          .scale_order = GroupValues::Order::blocks,
          .block_rows = block.rows};
}

CodedRows mxfp8(const CheckpointView& view, const Module& module, std::string scale) {
  const auto n_groups = static_cast<uint64_t>((module.k + kMxGroup - 1) / kMxGroup);
  const uint64_t scale_rows =
      n_elements_of(view.at(tensor_name(module, scale)), module) / std::max<uint64_t>(1, n_groups);
  const auto n = static_cast<uint64_t>(module.n);
  // Fewer rows than the matrix has: one for each block of r.
  const auto rows = static_cast<int64_t>(scale_rows ? (n + scale_rows - 1) / scale_rows : 1);
  CodedRows out = fp8_by_blocks(view, module, {std::max<int64_t>(1, rows), kMxGroup}, std::move(scale));
  out.encoding.scale = ScaleType::e8m0;
  return out;
}

}  // namespace packhorse
