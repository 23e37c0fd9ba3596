// Plain weights that become DeepSpeed's floats while they load, against an independent writer (golden/).

#include <gmock/gmock.h>

#include "formats/format_testing.h"

namespace packhorse {
namespace {

using testing::failure_of;
using ::testing::HasSubstr;
using testing::module_of;

class DeepSpeedFp : public ::testing::TestWithParam<int> {};

TEST_P(DeepSpeedFp, equals_the_golden) {
  const testing::TensorFile golden(testing::golden_dir() / "deepspeedfp.safetensors");
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {6, 96}, golden.get<float>("w"));
  const testing::TempDir dir;
  // The checkpoint's own settings ask for it.
  const CheckpointView view =
      tensors.open(dir, {{"quant_method", "DeepSpeedFP"}, {"bits", GetParam()}, {"group_size", 64}});
  const QuantizationPlan quantization = plan_quantization(view, {});
  EXPECT_EQ(quantization.description, fmt::format("deepspeedfp (in flight: {} bits, group_size 64)", GetParam()));
  const WeightPlan plan = plan_weight(view, module_of("p", 6, 96), quantization, true);
  EXPECT_EQ(plan.encoding.bits, GetParam());
  EXPECT_EQ(testing::decoded_rows(plan, 0, 6), golden.get<float>("w" + std::to_string(GetParam())));
  testing::expect_any_read_order(plan);
  EXPECT_TRUE(is_float(plan_weight(view, module_of("p", 6, 96), quantization, false).encoding.element)) << "a head";
}

INSTANTIATE_TEST_SUITE_P(Bits, DeepSpeedFp, ::testing::Values(4, 6, 8, 12));

TEST(DeepSpeedFpSettings, come_from_the_user_as_well) {
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {1, 8}, std::vector<float>(8, 1.0f));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  const auto plan = [&](Json config) { return plan_quantization(view, {"deepspeedfp", "auto", std::move(config)}); };
  EXPECT_EQ(plan({{"bits", 6}}).description, "deepspeedfp (in flight: 6 bits, group_size 512)");
  EXPECT_THAT(failure_of(ErrorKind::usage, [&] { plan(nullptr); }),
              HasSubstr("bits: expected 4, 6, 8 or 12, as in {\"bits\": 6, \"group_size\": 128} (got nothing)"));
  EXPECT_THAT(failure_of(ErrorKind::usage,
                         [&] {
                           plan({{"bits", 5}});
                         }),
              HasSubstr("bits: expected 4, 6, 8 or 12, as in {\"bits\": 6, \"group_size\": 128} (got 5)"));
  EXPECT_THAT(failure_of(ErrorKind::usage,
                         [&] {
                           plan({{"bits", 6}, {"group_size", 0}});
                         }),
              HasSubstr("group_size: not a whole number in 1..65536 (got 0)"));
  EXPECT_THAT(failure_of(ErrorKind::usage,
                         [&] {
                           plan({{"bits", 6}, {"desc_act", true}});
                         }),
              HasSubstr("deepspeedfp has no setting 'desc_act'"));
}

TEST(DeepSpeedFpSettings, of_the_checkpoint_are_checked_too) {
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {1, 8}, std::vector<float>(8, 1.0f));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir, {{"quant_method", "deepspeedfp"}, {"bits", 7}});
  EXPECT_THAT(
      failure_of(ErrorKind::model, [&] { plan_quantization(view, {}); }),
      HasSubstr("quantization_config: bits: expected 4, 6, 8 or 12, as in {\"bits\": 6, \"group_size\": 128} (got 7)"));
  EXPECT_THAT(failure_of(ErrorKind::usage,
                         [&] {
                           plan_quantization(view, {"gptq", "auto", nullptr});
                         }),
              HasSubstr("'gptq' does not match the checkpoint, which is quantized with 'deepspeedfp'"));
}

}  // namespace
}  // namespace packhorse
