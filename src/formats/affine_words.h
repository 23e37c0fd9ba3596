#pragma once
// Weights of integer codes with a scale and a zero point per group of columns, value = (code - zero) * scale, whatever
// the order in which the words of a file hold them: what GPTQ, AWQ, Marlin and their like have in common.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "formats/source.h"

namespace packhorse {

/// Which columns share a scale. Groups of the weight are runs of neighbours; the file may have its columns in another
/// order, and groups of other sizes.
struct ColumnGroups {
  int64_t size = 0;                 // columns per group of the weight, the last may be short; 0 = all
  std::vector<int32_t> order;       // column i of the weight is column order[i] of the file; empty = i
  std::vector<int32_t> file_group;  // group i of the weight is file_group[i] of the file; empty = i
};

/// Groups of `size` neighbours; 0 = one group of all.
ColumnGroups even_groups(int64_t size, int64_t k);
/// From the group of each column, 0 or more: columns sorted by group, neighbours stay in their order. Groups of uneven
/// sizes are cut into equal parts with repeated scales.
ColumnGroups sort_groups(std::span<const int32_t> group_of_column);

/// A module's tensor of groups per column, "g_idx" [k]. Throws Error{model} for an entry that is no group.
std::vector<int32_t> read_group_of_column(const CheckpointView& view, const Module& module, std::string_view part,
                                          int64_t n_groups);

/// A weight as its file has it. Rows are those of the file.
struct AffineWords {
  std::string codes_name, scale_name;  // tensors, for messages
  int bits = 4;
  ColumnGroups groups;
  int64_t n_groups = 1;  // of the file
  ScaleType scale_type = ScaleType::f16;
  GroupValues scale;                // [n_groups] per row
  std::vector<uint8_t> zeros = {};  // [n, n_groups]; empty = 2^(bits - 1)
  uint64_t source_bytes = 0;
  /// Codes of these rows, [rows.size(), k], columns in the order of the file. Thread-safe.
  std::function<void(std::span<const int64_t> rows, uint8_t* codes)> read_codes;
};

/// Reading throws Error{model} for a scale that is not finite.
WeightPlan plan_affine_words(const Module& module, AffineWords words);

}  // namespace packhorse
