// Plain weights that become BitBLAS's while they load, against an independent writer (golden/make_bitblas.py).

#include <gmock/gmock.h>

#include "formats/bitblas.h"
#include "in_flight_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

testing::TensorFile golden() { return testing::TensorFile(testing::golden_dir() / "bitblas_in_flight.safetensors"); }

QuantizationPlan asked(const CheckpointView& view, Json config) {
  return plan_quantization(view, {"bitblas", "auto", std::move(config)});
}

TEST(BitblasInFlight, equals_the_golden) {
  const testing::TensorFile file = golden();
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {6, 84}, file.get<float>("w"));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  const Json cases = testing::golden_cases(file);
  EXPECT_EQ(cases.size(), 40u);
  for (const auto& [name, config] : cases.items()) {
    const WeightPlan plan = plan_weight(view, module_of("p", 6, 84), asked(view, config), true);
    EXPECT_EQ(plan.encoding.scale, ScaleType::f16);
    testing::expect_golden(file, name, plan);
  }
}

/// What reading a checkpoint of the same settings gives, of zeros in `codes`.
WeightPlan read_checkpoint(const testing::TempDir& dir, Json config, int bits) {
  constexpr int64_t kN = 8, kK = 64, kGroups = 2;
  testing::TensorWriter tensors;
  tensors.add("p.qweight", "I8", {kN, kK * bits / 8}, std::vector<int8_t>(static_cast<size_t>(kN * kK * bits / 8)));
  tensors.add("p.scales", "F16", {kN, kGroups}, std::vector<uint16_t>(kN * kGroups, 0x3c00));
  const std::string mode = config.value("zeros_mode", "");
  if (mode == "quantized")
    tensors.add("p.qzeros", "I8", {kGroups, kN * bits / 8},
                std::vector<int8_t>(static_cast<size_t>(kGroups * kN * bits / 8)));
  else if (!mode.empty())
    tensors.add("p.zeros", "F16", {kN, kGroups}, std::vector<uint16_t>(kN * kGroups, 0x3c00));
  config["quant_method"] = "bitblas";
  static std::vector<std::unique_ptr<CheckpointView>> views;  // plans point into them
  views.push_back(std::make_unique<CheckpointView>(tensors.open(dir, config)));
  return plan_weight(*views.back(), module_of("p", kN, kK), {}, true);
}

TEST(BitblasInFlight, encodings_are_those_of_a_checkpoint) {
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {8, 64}, std::vector<float>(8 * 64, 0.5f));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  int n_pairs = 0;
  for (const BitblasActType& act : kBitblasActTypes) {
    for (const BitblasWeightType& type : kBitblasWeightTypes) {
      for (const char* mode : {"", "original", "rescale", "quantized"}) {
        if (type.is_unsigned == !*mode) continue;
        Json config = {{"W_dtype", type.name}, {"A_dtype", act.name}, {"group_size", 32}};
        if (*mode) config["zeros_mode"] = mode;
        const bool is_pair = act.weights[0].empty() || std::ranges::find(act.weights, type.name) != act.weights.end();
        if (!is_pair) {
          EXPECT_THAT(testing::failure_of(ErrorKind::usage, [&] { asked(view, config); }),
                      AllOf(HasSubstr(fmt::format("BitBLAS has no {} activations for W_dtype {}", act.name, type.name)),
                            HasSubstr(fmt::format("(those go with {}", act.weights[0]))));
          continue;
        }
        const testing::TempDir other;
        const Encoding expected = read_checkpoint(other, config, type.encoding.bits).encoding;
        const Encoding made = plan_weight(view, module_of("p", 8, 64), asked(view, config), true).encoding;
        EXPECT_EQ(made, expected) << config.dump() << ": " << describe(made) << ", " << describe(expected);
        ++n_pairs;
      }
    }
  }
  EXPECT_EQ(n_pairs, 2 * (8 + 12) + (4 + 9) + 2 + 1 + 1);
}

TEST(BitblasInFlightSettings, defaults_and_other_names) {
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {1, 8}, std::vector<float>(8, 1.0f));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  const auto said = [&](Json config) { return asked(view, std::move(config)).description; };
  EXPECT_EQ(said(nullptr), "bitblas (in flight: W_dtype int4, A_dtype float16, group_size 128)");
  EXPECT_EQ(said({{"bits", 2}, {"sym", false}}),
            "bitblas (in flight: W_dtype uint2, A_dtype float16, group_size 128, zeros_mode quantized)");
  EXPECT_EQ(said({{"W_dtype", "FP4"}, {"A_dtype", "bfloat16"}, {"group_size", -1}, {"desc_act", false}}),
            "bitblas (in flight: W_dtype fp4_e2m1, A_dtype bfloat16, group_size -1)");
  EXPECT_EQ(said({{"W_dtype", "fp8"}}), "bitblas (in flight: W_dtype e4m3_float8, A_dtype float16, group_size 128)");
  EXPECT_EQ(said({{"W_dtype", "int8"}, {"bits", 8}, {"sym", true}, {"A_dtype", "int8"}}),
            "bitblas (in flight: W_dtype int8, A_dtype int8, group_size 128)");
  EXPECT_TRUE(is_float(plan_weight(view, module_of("p", 1, 8), asked(view, nullptr), false).encoding.element))
      << "a head";
}

TEST(BitblasInFlightSettings, what_is_wrong_is_named) {
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {1, 8}, std::vector<float>(8, 1.0f));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  const auto failure = [&](Json config) {
    return testing::failure_of(ErrorKind::usage, [&] { asked(view, std::move(config)); });
  };
  EXPECT_THAT(failure({{"W_dtype", "int3"}}), HasSubstr("quantization_config.W_dtype: not a type of BitBLAS"));
  EXPECT_THAT(failure({{"bits", 3}}), HasSubstr("quantization_config.bits: BitBLAS packs 1, 2, 4 or 8 (got 3)"));
  EXPECT_THAT(failure({{"W_dtype", "int4"}, {"bits", 8}}), HasSubstr("bits: W_dtype int4 has 4 (got 8)"));
  EXPECT_THAT(failure({{"W_dtype", "uint4"}, {"sym", true}}), HasSubstr("sym: W_dtype uint4 means false (got true)"));
  EXPECT_THAT(failure({{"W_dtype", "nf4"}, {"zeros_mode", "original"}}), HasSubstr("W_dtype nf4 has no zero points"));
  EXPECT_THAT(failure({{"W_dtype", "uint4"}, {"zeros_mode", "none"}}), HasSubstr("expected original, rescale or"));
  EXPECT_THAT(failure({{"group_size", 0}}), HasSubstr("group_size: not a whole number in 1..1073741824 (got 0)"));
  EXPECT_THAT(failure({{"desc_act", true}}), HasSubstr("desc_act: "));
  EXPECT_THAT(failure({{"with_bias", true}}), HasSubstr("bitblas has no setting 'with_bias'"));
  EXPECT_THAT(testing::failure_of(ErrorKind::usage,
                                  [&] {
                                    plan_quantization(view, {"gptq_bitblas", "auto", nullptr});
                                  }),
              HasSubstr("'gptq_bitblas' needs a GPTQ checkpoint"));
}

TEST(BitblasInFlight, refuses_what_its_scales_cannot_hold) {
  testing::TensorWriter tensors;
  std::vector<float> values(16, 1.0f);
  values[9] = std::numeric_limits<float>::quiet_NaN();
  tensors.add("nan.weight", "F32", {2, 8}, values);
  values[9] = 1e7f;
  tensors.add("huge.weight", "F32", {2, 8}, values);
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  const auto failure = [&](const char* name) {
    return testing::failure_of(ErrorKind::model, [&] {
      testing::decoded_rows(plan_weight(view, module_of(name, 2, 8), asked(view, nullptr), true), 0, 2);
    });
  };
  EXPECT_THAT(failure("nan"), HasSubstr("'nan.weight': row 1 has a value that is not finite"));
  EXPECT_THAT(failure("huge"), HasSubstr("'huge.weight': row 1, group 0: the scale does not fit float16 (got 1333333"));
}

TEST(BitblasInFlight, takes_experts_and_gguf) {
  const testing::TensorFile file = golden();
  const std::vector<float> w = file.get<float>("w");
  testing::TensorWriter tensors;
  tensors.add("experts.weight", "F32", {3, 2, 84}, w);
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  const Json config = {{"W_dtype", "uint4"}, {"group_size", 32}};
  std::vector<uint8_t> codes;
  for (int64_t expert = 0; expert < 3; ++expert) {
    Module module = module_of("experts", 2, 84);
    module.expert = expert, module.n_experts = 3;
    RowBlock rows;
    plan_weight(view, module, asked(view, config), true).read(0, 2, rows);
    codes.insert(codes.end(), rows.codes.begin(), rows.codes.end());
  }
  EXPECT_EQ(codes, file.get<uint8_t>("uint4.quantized.32.codes"));

  const auto gguf = testing::fixture("gguf-bf16");
  if (gguf.empty()) GTEST_SKIP() << "gguf-bf16 is absent";
  const CheckpointView model = open_checkpoint((gguf / "model-bf16.gguf").string());
  Module down = module_of("model.layers.0.mlp.down_proj", 256, 768);
  down.source = "blk.0.ffn_down";
  const WeightPlan plan = plan_weight(model, down, asked(model, {{"W_dtype", "int8"}, {"group_size", 64}}), true);
  const std::vector<float> have = testing::decoded_rows(plan, 0, 4),
                           want = testing::decoded_rows(plan_weight(model, down, {}, true), 0, 4);
  RowBlock rows;
  plan.read(0, 4, rows);
  for (size_t i = 0; i < have.size(); ++i) ASSERT_LE(std::fabs(have[i] - want[i]), rows.scale[i / 64] * 0.57f) << i;
}

}  // namespace
}  // namespace packhorse
