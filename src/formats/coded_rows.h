#pragma once
// Weights whose rows stand one after another in a tensor as codes, with scales in tensors of their own: what the
// dialects of 8-bit and smaller floats, and of plain int8, have in common.

#include <string>

#include "formats/source.h"

namespace packhorse {

/// A weight in its tensors. Codes of 8 bits are F8_E4M3, F8_E5M2 or I8, as the encoding says; narrower ones are U8, a
/// stream of bits along each row.
struct CodedRows {
  Encoding encoding;
  std::string codes = "weight";  // parts of the module's name
  std::string scale = "weight_scale";
  GroupValues::Order scale_order = GroupValues::Order::rows;
  int64_t block_rows = 1;      // of Order::blocks
  char joint = '.';            // between the module's name and these parts
  bool in_lines = false;       // of packed codes: a row is a matrix with a line for each group
  bool is_transposed = false;  // codes of 8 bits as [K, N]
  std::string outer = "";      // one number for the matrix, when encoding.outer
  WeightInput input = {};
  /// Rows [begin, begin + count) of 8-bit codes, where the tensor `codes` does not hold them as they are.
  std::function<void(int64_t begin, int64_t count, uint8_t* out)> read_codes = {};
};

/// Throws Error{model} when a tensor is missing or does not fit; `read` does for a code or a scale that is no number.
WeightPlan plan_coded_rows(const CheckpointView& view, const Module& module, CodedRows rows);

/// Order::one or Order::rows, whichever the tensor "<module>.<part>" has room for.
GroupValues::Order order_of_row_scales(const CheckpointView& view, const Module& module, std::string_view part);
/// I8 codes with one scale for the matrix or for each row.
CodedRows int8_by_rows(const CheckpointView& view, const Module& module, std::string scale = "weight_scale");
/// Elements of a tensor that belong to the module: all, or an expert's share.
uint64_t n_elements_of(const TensorInfo& tensor, const Module& module);

/// One number above 0 for the module's matrix: "<module>.<part>". Throws Error{model} for any other.
float read_positive(const CheckpointView& view, const Module& module, std::string_view part);
/// One number per column: "<module>.<part>", [k].
std::vector<float> read_per_column(const CheckpointView& view, const Module& module, std::string_view part);
/// Whether "<module>.<part>" is there.
bool has_part(const CheckpointView& view, const Module& module, std::string_view part);
/// Type of "<module>.<part>" is one of these; false when it is absent.
bool part_is(const CheckpointView& view, const Module& module, std::string_view part,
             std::initializer_list<DType> types);

}  // namespace packhorse
