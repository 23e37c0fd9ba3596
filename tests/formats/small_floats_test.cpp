// AutoRound's float packings, FP8 of Intel Neural Compressor, MXFP4 and MXFP8 by themselves.

#include <gmock/gmock.h>

#include "base/half.h"
#include "fixture_rows.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;
using testing::TensorWriter;

WeightPlan planned(const TensorWriter& tensors, const Json& config, int64_t n, int64_t k, CheckpointView& view) {
  const testing::TempDir dir;
  view = tensors.open(dir, config);
  return plan_weight(view, module_of("p", n, k), {}, true);
}

TEST(AutoRoundFloat, SchemesOfActivations) {
  TensorWriter fp4;
  fp4.add("p.weight_packed", "U8", {2, 16}, std::vector<uint8_t>(32, 0x2a));
  fp4.add("p.weight_scale", "U8", {2, 1}, std::vector<uint8_t>{127, 128});
  Json config = {{"quant_method", "auto-round"}, {"packing_format", "auto_round:llm_compressor"}, {"act_bits", 4}};
  CheckpointView view;
  const WeightPlan mxfp4 = planned(fp4, config, 2, 32, view);
  EXPECT_EQ(
      mxfp4.encoding.act,
      (ActScheme{.code = ActScheme::Code::e2m1, .scale = ActScheme::Scale::power_floor, .group = 32, .shift = 2}));
  EXPECT_EQ(testing::decoded_rows(mxfp4, 1, 1)[0], -2);
  EXPECT_EQ(testing::decoded_rows(mxfp4, 1, 1)[1], 2);
  for (const char* method : {"auto_round", "intel/auto-round", "inc"}) {
    config["quant_method"] = method;
    EXPECT_EQ(planned(fp4, config, 2, 32, view).encoding.act, mxfp4.encoding.act) << method;
  }
  config["act_bits"] = 16;
  EXPECT_EQ(planned(fp4, config, 2, 32, view).encoding.act, ActScheme{});
  config["act_bits"] = "4";
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(fp4, config, 2, 32, view); }),
              HasSubstr("quantization_config.act_bits: not a whole number"));

  config["act_bits"] = 4;
  fp4.add("p.weight_scale", "F8_E4M3", {2, 2}, std::vector<uint8_t>(4, 0x44));
  fp4.add("p.weight_global_scale", "F32", {1}, std::vector<float>{512});
  fp4.add("p.input_global_scale", "F32", {1}, std::vector<float>{8});
  const WeightPlan nvfp4 = planned(fp4, config, 2, 32, view);
  EXPECT_EQ(nvfp4.encoding.outer, Outer::divide);
  EXPECT_EQ(nvfp4.input.act_scale, 0.125f);
  EXPECT_EQ(testing::decoded_rows(nvfp4, 0, 1)[0], -0.005859375f);

  TensorWriter fp8;
  fp8.add("p.weight", "F8_E4M3", {2, 32}, std::vector<uint8_t>(64, 0x38));
  fp8.add("p.weight_scale", "U8", {2, 1}, std::vector<uint8_t>{127, 128});
  config["act_bits"] = 8;
  EXPECT_EQ(planned(fp8, config, 2, 32, view).encoding.act,
            (ActScheme{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::power_floor, .group = 32, .shift = 8}));
  fp8.remove("p.weight_scale");
  fp8.add("p.weight_scale_inv", "BF16", {1, 2}, std::vector<uint16_t>{f32_to_bf16(2), f32_to_bf16(4)});
  config["group_size"] = {16, 16};
  const WeightPlan blocks = planned(fp8, config, 2, 32, view);
  EXPECT_EQ(blocks.encoding.act, (ActScheme{.code = ActScheme::Code::fp8, .group = 16, .divisor = 448}));
  EXPECT_EQ(testing::decoded_rows(blocks, 1, 1)[15], 2);
  EXPECT_EQ(testing::decoded_rows(blocks, 1, 1)[16], 4);
  config["group_size"] = 16;
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(fp8, config, 2, 32, view); }),
              HasSubstr("quantization_config.group_size: weight_scale_inv needs rows and columns of a block"));
}

TEST(IncFp8, ColumnsOfTheFileAreRows) {
  TensorWriter tensors;
  tensors.add("p.weight", "F8_E4M3", {3, 2}, std::vector<uint8_t>{0x38, 0x40, 0x44, 0x48, 0xb8, 0x00});
  tensors.add("p.dequant_weights.scale", "BF16", {2}, std::vector<uint16_t>{f32_to_bf16(1), f32_to_bf16(0.5f)});
  tensors.add("p.quant_input.scale", "BF16", {}, std::vector<uint16_t>{f32_to_bf16(0.25f)});
  tensors.add("p.quant_input.scale_inv", "BF16", {}, std::vector<uint16_t>{f32_to_bf16(3)});
  CheckpointView view;
  Json config = {{"fp8_config", "E4M3"}, {"mode", "LOAD"}};
  const WeightPlan plan = planned(tensors, config, 2, 3, view);
  EXPECT_EQ(testing::decoded_rows(plan, 0, 2), (std::vector<float>{1, 3, -1, 1, 2, 0}));
  testing::expect_any_read_order(plan);
  EXPECT_EQ(plan.encoding.act, (ActScheme{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::fixed}));
  EXPECT_EQ(plan.input.act_scale, 0.25f);
  EXPECT_EQ(plan_quantization(view, {.method = "inc", .load_format = "", .config = nullptr}).description,
            "inc (checkpoint)");
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(tensors, config, 3, 2, view); }),
              AllOf(HasSubstr("'p.weight'"), HasSubstr("got [3, 2], expected [2, 3]")));
  config["fp8_config"] = "E5M2";
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(tensors, config, 2, 3, view); }),
              HasSubstr("quantization_config.fp8_config: 'e5m2' is not supported, only E4M3"));
}

TEST(IncFp8, ExpertsOfAStackedTensor) {
  TensorWriter tensors;
  tensors.add("p.weight", "F8_E4M3", {2, 1, 2}, std::vector<uint8_t>{0x38, 0x40, 0x44, 0x48});
  tensors.add("p.dequant_weights.scale", "F32", {2}, std::vector<float>{1, 2});
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir, {{"fp8_config", "E4M3"}});
  Module module = module_of("p", 2, 1);
  module.expert = 1, module.n_experts = 2;
  EXPECT_EQ(testing::decoded_rows(plan_weight(view, module, {}, true), 0, 2), (std::vector<float>{6, 8}));
}

TEST(Mx, ScalesAtTheirExtremes) {
  TensorWriter tensors;
  tensors.add("p.weight", "U8", {1, 48}, std::vector<uint8_t>(48, 0x72));
  tensors.add("p.weight_scale", "U8", {1, 3}, std::vector<uint8_t>{0x00, 0x7c, 0xfe});
  CheckpointView view;
  const WeightPlan plan = planned(tensors, {{"quant_method", "mxfp4"}}, 1, 96, view);
  const std::vector<float> row = testing::decoded_rows(plan, 0, 1);
  EXPECT_EQ(row[0], 0x1p-127f);
  EXPECT_EQ(row[32], 0.125f);
  EXPECT_EQ(row[33], 0.75f);
  EXPECT_EQ(row[95], HUGE_VALF) << "6 * 2^127 is beyond float32";
  EXPECT_EQ(plan.encoding.act, ActScheme{});
  EXPECT_EQ(plan_quantization(view, {}).description, "mxfp4 (checkpoint)");
  tensors.add("p.weight_scale", "F8_E8M0", {1, 3}, std::vector<uint8_t>{127, 127, 0xff});
  const WeightPlan bad = planned(tensors, {{"quant_method", "mxfp4"}}, 1, 96, view);
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { testing::decoded_rows(bad, 0, 1); }),
              HasSubstr("'p.weight_scale': scale of row 0, group 2: not a number above 0 (got nan)"));
}

TEST(Mx, EightBits) {
  TensorWriter tensors;
  tensors.add("p.weight", "F8_E4M3", {2, 64}, std::vector<uint8_t>(128, 0x44));
  tensors.add("p.weight_scale", "U8", {2, 2}, std::vector<uint8_t>{127, 126, 128, 129});
  CheckpointView view;
  const WeightPlan plan = planned(tensors, {{"quant_method", "mxfp8"}, {"ignored_layers", {"lm_head"}}}, 2, 64, view);
  EXPECT_EQ(testing::decoded_rows(plan, 1, 1)[0], 6);
  EXPECT_EQ(testing::decoded_rows(plan, 0, 1)[63], 1.5f);
  EXPECT_EQ(plan.encoding.act.scale, ActScheme::Scale::power_ceil);
  EXPECT_EQ(plan_quantization(view, {}).description, "mxfp8 (checkpoint)");
}

TEST(Mx, ExpertsOfGptOss) {
  const auto dir = testing::fixture("mxfp4-gpt-oss");
  if (dir.empty()) GTEST_SKIP() << "mxfp4-gpt-oss is absent";
  const CheckpointView view = open_checkpoint(dir.string());
  const int n_weights = testing::for_each_reference_row(
      dir, [&](const std::string& name, const TensorInfo& tensor, const std::vector<float>& rows) {
        const size_t dot = name.rfind('.');
        const std::string stack = name.substr(0, dot);
        const auto& shape = view.at(stack + "_blocks").shape;
        Module module = module_of(stack, static_cast<int64_t>(shape[1]), static_cast<int64_t>(tensor.shape[1]));
        module.expert = std::stoll(name.substr(dot + 1)), module.n_experts = static_cast<int64_t>(shape[0]);
        testing::expect_first_rows(plan_weight(view, module, {}, true), rows);
      });
  EXPECT_EQ(n_weights, 16);
}

}  // namespace
}  // namespace packhorse
