#pragma once
// Comparing what plain weights become while they load with golden rows: `w`, `cases` and `<case>.codes, scale, zero,
// min`.

#include "base/half.h"
#include "format_testing.h"

namespace packhorse::testing {

/// Writes float32 values as another float type.
inline void add_weight(TensorWriter& tensors, const std::string& name, const std::string& dtype,
                       std::vector<int64_t> shape, const std::vector<float>& values) {
  if (dtype == "F32") return tensors.add(name, dtype, std::move(shape), values);
  std::vector<uint16_t> narrow;
  for (const float value : values) narrow.push_back(dtype == "F16" ? f32_to_f16(value) : f32_to_bf16(value));
  tensors.add(name, dtype, std::move(shape), narrow);
}

inline Json golden_cases(const TensorFile& golden) {
  const std::vector<char> text = golden.get<char>("cases");
  return parse_json({text.data(), text.size()}, "cases");
}

/// The plan's rows are the golden ones of this case, bit for bit.
inline void expect_golden(const TensorFile& golden, const std::string& name, const WeightPlan& plan) {
  RowBlock rows;
  plan.read(0, plan.n, rows);
  EXPECT_EQ(rows.codes, golden.get<uint8_t>(name + ".codes")) << name;
  const auto expect_same = [&](const std::vector<float>& have, const char* part) {
    const std::string tensor = fmt::format("{}.{}", name, part);
    const bool exists = golden.tensors().contains(tensor);
    ASSERT_EQ(have.empty(), !exists) << tensor;
    if (exists) {
      EXPECT_EQ(have, golden.get<float>(tensor)) << tensor;
    }
  };
  expect_same(rows.scale, "scale");
  expect_same(rows.zero, "zero");
  expect_same(rows.min, "min");
  expect_any_read_order(plan);
}

/// Two plans give the same rows in the same encoding.
inline void expect_same_weight(const WeightPlan& a, const WeightPlan& b) {
  EXPECT_EQ(a.encoding, b.encoding) << describe(a.encoding) << " and " << describe(b.encoding);
  EXPECT_EQ(a.input, b.input);
  RowBlock rows, others;
  a.read(0, a.n, rows), b.read(0, b.n, others);
  EXPECT_EQ(rows.codes, others.codes) << a.name;
  EXPECT_EQ(rows.scale, others.scale) << a.name;
  EXPECT_EQ(rows.zero, others.zero) << a.name;
  EXPECT_EQ(rows.min, others.min) << a.name;
}

}  // namespace packhorse::testing
