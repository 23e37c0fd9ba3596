#include <gmock/gmock.h>

#include <numeric>

#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::HasSubstr;

TEST(Plain, RowsAreTheBytesOfTheFile) {
  const testing::TempDir dir;
  testing::TensorWriter writer;
  std::vector<uint16_t> halves(40 * 6);
  std::iota(halves.begin(), halves.end(), uint16_t{0x3c00});
  std::vector<float> floats(40 * 6);
  std::iota(floats.begin(), floats.end(), 0.5f);
  writer.add("a.weight", "F16", {40, 6}, halves);
  writer.add("b.weight", "BF16", {40, 6}, halves);
  writer.add("c.weight", "F32", {40, 6}, floats);
  const CheckpointView view = writer.open(dir);
  for (const auto& [name, element] : {std::pair{"a", Element::f16}, {"b", Element::bf16}, {"c", Element::f32}}) {
    const WeightPlan plan = plan_weight(view, testing::module_of(name, 40, 6), {}, true);
    EXPECT_EQ(plan.encoding.element, element);
    EXPECT_EQ(plan.source_bytes, 40u * 6 * element_bytes(element));
    RowBlock rows;
    plan.read(3, 2, rows);
    const auto* file = reinterpret_cast<const uint8_t*>(halves.data());
    if (element == Element::f32) file = reinterpret_cast<const uint8_t*>(floats.data());
    EXPECT_EQ(std::memcmp(rows.codes.data(), file + 3 * 6 * element_bytes(element), rows.codes.size()), 0);
    EXPECT_EQ(rows.row_begin, 3);
    testing::expect_any_read_order(plan);
  }
}

TEST(Plain, RowsOfAnotherOrderInTheFile) {
  const testing::TempDir dir;
  testing::TensorWriter writer;
  std::vector<float> values(128 * 2);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i / 2);
  writer.add("q.weight", "F32", {128, 2}, values);
  const CheckpointView view = writer.open(dir);
  const std::vector<std::function<int64_t(int64_t)>> orders = {
      [](int64_t r) { return r / 64 * 64 + r % 32 * 2 + r % 64 / 32; },  // every other row: one read
      [](int64_t r) { return r * 37 % 128; },                            // all over the place: row by row
      [](int64_t r) { return 127 - r; }};
  for (const auto& order : orders) {
    Module module = testing::module_of("q", 128, 2);
    module.source_row = order;
    const WeightPlan plan = plan_weight(view, module, {}, true);
    const std::vector<float> rows = testing::decoded_rows(plan, 0, 128);
    for (int64_t r = 0; r < 128; ++r) EXPECT_EQ(rows[static_cast<size_t>(2 * r)], static_cast<float>(order(r)));
    testing::expect_any_read_order(plan);
  }
}

TEST(Plain, WrongShapeAndMissingTensor) {
  const testing::TempDir dir;
  testing::TensorWriter writer;
  writer.add("a.weight", "F32", {2, 3}, std::vector<float>(6));
  writer.add("a.bias", "F32", {2}, std::vector<float>(2));
  writer.add("b.bias", "F32", {2}, std::vector<float>(2));
  writer.add("c.weight", "I32", {2, 3}, std::vector<int32_t>(6));
  writer.add("d.qweight", "I32", {2, 3}, std::vector<int32_t>(6));
  const CheckpointView view = writer.open(dir);
  const auto failure = [&](const char* name, int64_t n, int64_t k) {
    return testing::failure_of(ErrorKind::model, [&] { plan_weight(view, testing::module_of(name, n, k), {}, true); });
  };
  EXPECT_EQ(plan_weight(view, testing::module_of("a", 2, 3), {}, true).k, 3);
  EXPECT_EQ(failure("a", 3, 2),
            "model.safetensors: tensor 'a.weight': shape does not fit the model (got [2, 3], expected [3, 2])");
  EXPECT_THAT(failure("b", 2, 3), HasSubstr("missing tensor 'b.weight'"));
  EXPECT_EQ(failure("c", 2, 3), "model.safetensors: tensor 'c.weight': type I32 is not supported yet");
  EXPECT_EQ(failure("d", 2, 3),
            "model.safetensors: tensor 'd.qweight': a weight of a format that is not supported yet (no 'd.weight')");
}

}  // namespace
}  // namespace packhorse
