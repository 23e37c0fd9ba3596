#pragma once
// Comparing what is read from a shared checkpoint with the rows that the format's own tool read from it.

#include "format_testing.h"

namespace packhorse::testing {

/// How many of the checkpoint's "rows.*" were compared; each within one float32 ulp of the plan's, which has to be of
/// the dialect that `description` names. `rows_of` tells N of a weight from its module's name.
inline int compare_fixture_rows(const std::string& name, const std::string& description,
                                const std::function<int64_t(const CheckpointView&, const std::string&)>& rows_of) {
  const auto dir = fixture(name);
  const CheckpointView view = open_checkpoint(dir.string());
  EXPECT_EQ(plan_quantization(view, {}).description, description);
  const TensorFile reference((dir / "reference.safetensors").string());
  int n_weights = 0;
  for (const auto& [tensor_name, tensor] : reference.tensors()) {
    if (!tensor_name.starts_with("rows.")) continue;
    const std::string module = tensor_name.substr(5);
    const auto k = static_cast<int64_t>(tensor.shape[1]);
    const WeightPlan plan = plan_weight(view, module_of(module, rows_of(view, module), k), {}, true);
    EXPECT_LE(
        worst_ulps(decoded_rows(plan, 0, static_cast<int64_t>(tensor.shape[0])), reference.get<float>(tensor_name)), 1)
        << tensor_name << ": " << describe(plan.encoding);
    expect_any_read_order(plan);
    ++n_weights;
  }
  return n_weights;
}

/// N of weights whose rows are those of "<module>.<part>".
inline auto rows_of(std::string part) {
  return [part = std::move(part)](const CheckpointView& view, const std::string& module) {
    return static_cast<int64_t>(view.at(module + "." + part).shape[0]);
  };
}

}  // namespace packhorse::testing
