#pragma once
// Comparing what is read from a checkpoint with the rows that the format's own tool read from it.

#include "format_testing.h"

namespace packhorse::testing {

/// Rows of the file's matrix from a plan's: columns go back to where they were.
inline std::vector<float> in_file_order(const WeightPlan& plan, const std::vector<float>& rows) {
  if (plan.input.order.empty()) return rows;
  std::vector<float> out(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t column = i % static_cast<size_t>(plan.k);
    out[i - column + static_cast<size_t>(plan.input.order[column])] = rows[i];
  }
  return out;
}

/// Calls `expect(module, first rows as the tool read them)` for each rows.* of a reference file; returns how many.
template <class F>
int for_each_reference_row(const std::filesystem::path& directory, F&& expect) {
  const TensorFile reference((directory / "reference.safetensors").string());
  int n = 0;
  for (const auto& [name, tensor] : reference.tensors()) {
    if (!name.starts_with("rows.")) continue;
    SCOPED_TRACE(name);
    expect(name.substr(5), tensor, reference.get<float>(name)), ++n;
  }
  return n;
}

/// The plan reads these first rows, and the same in any order. NVFP4's scales may be divided first: 1 ulp.
inline void expect_first_rows(const WeightPlan& plan, const std::vector<float>& rows) {
  const int64_t n_rows = static_cast<int64_t>(rows.size()) / plan.k;
  const int tolerance = plan.encoding.outer == Outer::none ? 0 : 1;
  EXPECT_LE(worst_ulps(in_file_order(plan, decoded_rows(plan, 0, n_rows)), rows), tolerance) << describe(plan.encoding);
  expect_any_read_order(plan);
}

}  // namespace packhorse::testing
