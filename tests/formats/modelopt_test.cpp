#include <gmock/gmock.h>

#include "base/half.h"
#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;
using testing::TensorWriter;

constexpr float kE2M1Values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

Json config_of(const std::string& algo) { return {{"quant_method", "modelopt"}, {"quant_algo", algo}}; }

/// NVFP4 of 2 x 48 in "p" whose block scales are these six bytes, under 0.25.
void add_nvfp4(TensorWriter& tensors, const std::string& p, const std::vector<uint8_t>& scales) {
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 48; ++i) bytes.push_back(static_cast<uint8_t>((2 * i % 16) | (2 * i + 1) % 16 << 4));
  tensors.add(p + ".weight", "U8", {2, 24}, bytes);
  tensors.add(p + ".weight_scale", "F8_E4M3", {2, 3}, scales);
  tensors.add(p + ".weight_scale_2", "F32", {}, std::vector<float>{0.25f});
  tensors.add(p + ".input_scale", "F32", {}, std::vector<float>{0.0625f});
}

/// FP8 of 2 x 32, all ones, with a scale of 0.5 and one of the input.
void add_fp8(TensorWriter& tensors, const std::string& p) {
  tensors.add(p + ".weight", "F8_E4M3", {2, 32}, std::vector<uint8_t>(64, 0x38));
  tensors.add(p + ".weight_scale", "F32", {}, std::vector<float>{0.5f});
  tensors.add(p + ".input_scale", "F32", {}, std::vector<float>{0.125f});
}

WeightPlan planned(const TensorWriter& tensors, const Json& config, const std::string& module, int64_t n, int64_t k,
                   CheckpointView& view) {
  const testing::TempDir dir;
  view = tensors.open(dir, config);
  return plan_weight(view, module_of(module, n, k), {}, true);
}

TEST(Modelopt, Nvfp4ScaleBytes) {
  // Zero, the least, 1, 3, the largest, 2: each sixteen columns' own.
  const std::vector<uint8_t> bytes = {0x00, 0x01, 0x38, 0x44, 0x7e, 0x40};
  const float scales[] = {0, 0x1p-9f, 1, 3, 448, 2};
  TensorWriter tensors;
  add_nvfp4(tensors, "p", bytes);
  CheckpointView view;
  const WeightPlan plan = planned(tensors, config_of("NVFP4"), "p", 2, 48, view);
  std::vector<float> want;
  for (int i = 0; i < 96; ++i) want.push_back(kE2M1Values[i % 16] * scales[i / 16] * 0.25f);
  EXPECT_EQ(testing::decoded_rows(plan, 0, 2), want);
  EXPECT_EQ(plan.encoding.grouping, (Grouping{GroupKind::along_k, 16}));
  EXPECT_EQ(plan.encoding.scale, ScaleType::e4m3);
  EXPECT_EQ(plan.encoding.outer, Outer::multiply);
  EXPECT_EQ(plan.encoding.act,
            (ActScheme{.code = ActScheme::Code::e2m1, .scale = ActScheme::Scale::nvfp4, .group = 16, .divisor = 6}));
  EXPECT_EQ(plan.input.act_scale, 0.0625f);
  for (const uint8_t bad : {uint8_t{0x7f}, uint8_t{0xff}, uint8_t{0xb8}}) {
    add_nvfp4(tensors, "p", {0x38, 0x38, 0x38, 0x38, bad, 0x38});
    EXPECT_THAT(testing::failure_of(
                    ErrorKind::model,
                    [&] { testing::decoded_rows(planned(tensors, config_of("nvfp4"), "p", 2, 48, view), 0, 2); }),
                HasSubstr("'p.weight_scale': scale of row 1, group 1: not a number above 0 (got "));
  }
}

TEST(Modelopt, WeightOnlyNvfp4IgnoresTheScaleOfInputs) {
  TensorWriter tensors;
  add_nvfp4(tensors, "p", std::vector<uint8_t>(6, 0x38));
  CheckpointView view;
  EXPECT_EQ(planned(tensors, config_of("W4A16_NVFP4"), "p", 2, 48, view).encoding.act, ActScheme{});
  Json config = config_of("NVFP4");
  config["config_groups"] = {{"group_0", {{"weights", {{"num_bits", 4}}}, {"targets", {"Linear"}}}}};
  EXPECT_EQ(planned(tensors, config, "p", 2, 48, view).encoding.act, ActScheme{});
  config["config_groups"]["group_0"]["input_activations"] = {{"num_bits", 4}};
  EXPECT_EQ(planned(tensors, config, "p", 2, 48, view).encoding.act.scale, ActScheme::Scale::nvfp4);
  EXPECT_EQ(planned(tensors, config_of("W4A8_NVFP4_FP8"), "p", 2, 48, view).encoding.act,
            (ActScheme{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::fixed}));
}

TEST(Modelopt, AwqHasRowsInPairsAndScalesItsInput) {
  constexpr int64_t kN = 6, kK = 40;
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < kN / 2 * kK; ++i) bytes.push_back(static_cast<uint8_t>(i * 29 + 3));
  std::vector<float> scales, want;
  for (int64_t i = 0; i < kN * 5; ++i) scales.push_back(0.01f * static_cast<float>(i + 1));
  for (int64_t r = 0; r < kN; ++r) {
    for (int64_t c = 0; c < kK; ++c) {
      const int nibble = bytes[static_cast<size_t>(r / 2 * kK + c)] >> (r % 2 * 4) & 15;
      want.push_back(static_cast<float>(nibble > 7 ? nibble - 16 : nibble) *
                     scales[static_cast<size_t>(r * 5 + c / 8)]);
    }
  }
  TensorWriter tensors;
  tensors.add("p.weight", "U8", {kN / 2, kK}, bytes);
  tensors.add("p.weight_scale", "F32", {kN, 5}, scales);
  std::vector<uint16_t> before;
  for (int64_t i = 0; i < kK; ++i) before.push_back(f32_to_bf16(static_cast<float>(i) + 0.5f));
  tensors.add("p.pre_quant_scale", "BF16", {kK}, before);
  CheckpointView view;
  const WeightPlan plan = planned(tensors, config_of("W4A16_AWQ"), "p", kN, kK, view);
  EXPECT_EQ(testing::decoded_rows(plan, 0, kN), want);
  testing::expect_any_read_order(plan);
  ASSERT_EQ(plan.input.scale.size(), 40u);
  EXPECT_EQ(plan.input.scale[7], 7.5f);
  EXPECT_EQ(plan.encoding.grouping, (Grouping{GroupKind::along_k, 8}));

  Module turned = module_of("p", kN, kK);
  turned.source_row = [](int64_t r) { return kN - 1 - r; };
  const std::vector<float> rows = testing::decoded_rows(plan_weight(view, turned, {}, true), 0, kN);
  for (int64_t r = 0; r < kN; ++r)
    EXPECT_TRUE(std::equal(rows.begin() + r * kK, rows.begin() + (r + 1) * kK, want.begin() + (kN - 1 - r) * kK)) << r;

  tensors.add("p.weight_scale", "F32", {kN, 3}, std::vector<float>(18, 1));
  EXPECT_THAT(
      testing::failure_of(ErrorKind::model, [&] { planned(tensors, config_of("W4A16_AWQ"), "p", kN, kK, view); }),
      AllOf(HasSubstr("'p.weight_scale': 3 scales per row do not divide 40 columns"), HasSubstr("[6, 3]")));
}

TEST(Modelopt, EightBitIntegersOfWeightsAlone) {
  TensorWriter tensors;
  tensors.add("p.weight", "I8", {2, 4}, std::vector<int8_t>{-128, -1, 0, 127, 1, 2, 3, 4});
  tensors.add("p.weight_scale", "F32", {2}, std::vector<float>{0.5f, 2});
  CheckpointView view;
  const WeightPlan plan = planned(tensors, config_of("W8A16"), "p", 2, 4, view);
  EXPECT_EQ(testing::decoded_rows(plan, 0, 2), (std::vector<float>{-64, -0.5f, 0, 63.5f, 2, 4, 6, 8}));
}

TEST(Modelopt, MixedPrecisionByModuleOrParent) {
  TensorWriter tensors;
  add_fp8(tensors, "a.q_proj");
  add_nvfp4(tensors, "a.experts.0.up", std::vector<uint8_t>(6, 0x38));
  add_nvfp4(tensors, "b.up", std::vector<uint8_t>(6, 0x38));
  add_fp8(tensors, "b.down");
  const Json layers = {{"a.q_proj", {{"quant_algo", "FP8"}}},
                       {"a.experts", {{"quant_algo", "W4A16_NVFP4"}, {"group_size", 16}}},
                       {"b.up", {{"quant_algo", "W4A16_NVFP4"}}}};
  Json config = config_of("MIXED_PRECISION");
  config["quantized_layers"] = layers;
  CheckpointView view;
  EXPECT_EQ(planned(tensors, config, "a.q_proj", 2, 32, view).encoding.act.scale, ActScheme::Scale::fixed);
  EXPECT_EQ(planned(tensors, config, "a.experts.0.up", 2, 48, view).encoding.act, ActScheme{});
  EXPECT_EQ(planned(tensors, config, "b.up", 2, 48, view).encoding.act, ActScheme{});
  EXPECT_EQ(planned(tensors, config, "b.down", 2, 32, view).encoding.act.scale, ActScheme::Scale::fixed)
      << "in no list: by its tensors";
  config["quantized_layers"]["b.up"]["quant_algo"] = "IQ2_XS";
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(tensors, config, "b.up", 2, 48, view); }),
              HasSubstr("quant_algo: 'iq2_xs' is not supported (module 'b.up')"));
  config["quantized_layers"] = 3;
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(tensors, config, "b.up", 2, 48, view); }),
              HasSubstr("quantization_config.quantized_layers: expected an object (got 3)"));
}

TEST(Modelopt, SettingsInAFileOfTheirOwn) {
  TensorWriter tensors;
  add_fp8(tensors, "p");
  const testing::TempDir dir;
  tensors.write(dir, {{"architectures", {"LlamaForCausalLM"}}});
  testing::write_text(dir.file("hf_quant_config.json"),
                      R"({"producer": {"name": "modelopt", "version": "0.47.0"},
                          "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}})");
  const CheckpointView view = open_checkpoint(dir.path().string());
  EXPECT_EQ(plan_quantization(view, {}).description, "modelopt (checkpoint)");
  const WeightPlan plan = plan_weight(view, module_of("p", 2, 32), {}, true);
  EXPECT_EQ(plan.encoding.act, (ActScheme{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::fixed}));
  EXPECT_EQ(plan.input.act_scale, 0.125f);
}

TEST(Modelopt, BlocksOfSeveralRowsUnderPowersOfTwo) {
  TensorWriter tensors;
  tensors.add("p.weight", "F8_E4M3", {64, 64}, std::vector<uint8_t>(64 * 64, 0x38));
  tensors.add("p.weight_scale", "U8", {2, 2}, std::vector<uint8_t>{127, 0, 0xfe, 129});
  CheckpointView view;
  const WeightPlan plan = planned(tensors, config_of("MXFP8"), "p", 64, 64, view);
  const std::vector<float> rows = testing::decoded_rows(plan, 0, 64);
  EXPECT_EQ(rows[0], 1);
  EXPECT_EQ(rows[31 * 64 + 63], 0x1p-127f);
  EXPECT_EQ(rows[32 * 64], 0x1p127f);
  EXPECT_EQ(rows[63 * 64 + 32], 4);
  EXPECT_EQ(
      plan.encoding.act,
      (ActScheme{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::power_ceil, .group = 32, .divisor = 448}));
}

TEST(Modelopt, fault_054_tensors_that_do_not_fit) {
  CheckpointView view;
  const auto failure = [&](const std::string& algo, auto&& change) {
    TensorWriter tensors;
    add_nvfp4(tensors, "p", std::vector<uint8_t>(6, 0x38));
    change(tensors);
    return testing::failure_of(ErrorKind::model, [&] { planned(tensors, config_of(algo), "p", 2, 48, view); });
  };
  EXPECT_THAT(failure("NVFP4", [](auto& t) { t.remove("p.weight_scale_2"); }),
              HasSubstr("missing tensor 'p.weight_scale_2'"));
  EXPECT_THAT(failure("NVFP4", [](auto& t) { t.remove("p.input_scale"); }),
              HasSubstr("missing tensor 'p.input_scale'"));
  EXPECT_THAT(failure("NVFP4",
                      [](auto& t) {
                        t.add("p.weight_scale", "F8_E4M3", {2, 4}, std::vector<uint8_t>(8));
                      }),
              AllOf(HasSubstr("'p.weight_scale'"), HasSubstr("got [2, 4], expected [2, 3]")));
  EXPECT_THAT(failure("NVFP4",
                      [](auto& t) {
                        t.add("p.weight", "U8", {2, 25}, std::vector<uint8_t>(50));
                      }),
              AllOf(HasSubstr("'p.weight'"), HasSubstr("got [2, 25], expected [2, 24]")));
  EXPECT_THAT(failure("NVFP4", [](auto& t) { t.add("p.weight_scale_2", "F32", {}, std::vector<float>{0}); }),
              HasSubstr("'p.weight_scale_2': not a number above 0 (got 0)"));
  EXPECT_THAT(failure("W4A8_AWQ", [](auto&) {}), HasSubstr("quant_algo: 'w4a8_awq' is not supported (module 'p')"));
  EXPECT_THAT(failure("FP3", [](auto&) {}), HasSubstr("quant_algo: 'fp3' is not supported (module 'p')"));
}

}  // namespace
}  // namespace packhorse
