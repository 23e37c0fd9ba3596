// Plain weights that vLLM's online methods and rtn round while they load: against an independent writer (golden/), and
// against the checkpoints of tools that round the same way.

#include <gmock/gmock.h>

#include <cstdlib>
#include <limits>

#include "formats/format_testing.h"

namespace packhorse {
namespace {

using testing::failure_of;
using ::testing::HasSubstr;
using testing::module_of;

CheckpointView open_floats(const testing::TempDir& dir, int64_t n = 1, int64_t k = 8,
                           const std::vector<float>& values = std::vector<float>(8, 1.0f)) {
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {n, k}, values);
  return tensors.open(dir);
}

QuantizationPlan plan_of(const std::string& method, const Json& config = nullptr) {
  const testing::TempDir dir;
  return plan_quantization(open_floats(dir), {method, "auto", config});
}
std::string failure_of_plan(const std::string& method, const Json& config = nullptr) {
  return failure_of(ErrorKind::usage, [&] { plan_of(method, config); });
}

// --- codes and scales ---

struct Rule {
  std::string name, method;
  Json config = nullptr;
};
void PrintTo(const Rule& rule, std::ostream* out) { *out << rule.name; }

Json online(const std::string& weight) { return {{"linear", {{"weight", weight}}}}; }

const Rule kRules[] = {
    {"fp8_per_tensor_static", "fp8"},
    {"fp8_per_channel_static", "ptpc_fp8"},
    {"fp8_per_block_static", "fp8_per_block"},
    {"mxfp8", "mxfp8"},
    {"mxfp4", "mxfp4"},
    {"int8_per_channel_static", "online", online("int8_per_channel_static")},
    {"int8_per_group_32", "online", online("int8_per_group_32")},
    {"int4_per_group_32", "online", online("int4_per_group_32")},
    {"rtn8_128", "rtn"},
    {"rtn4_row", "rtn", {{"weight_bits", 4}, {"group_size", -1}}},
};

class OnlineCodes : public ::testing::TestWithParam<Rule> {};

TEST_P(OnlineCodes, equal_the_golden) {
  const testing::TensorFile golden(testing::golden_dir() / "online.safetensors");
  const QuantizationPlan quantization = plan_of(GetParam().method, GetParam().config);
  int n_compared = 0;
  for (const std::string matrix : {"wide", "tall", "one"}) {
    const std::string expected = matrix + "." + GetParam().name;
    if (!golden.tensors().contains(expected + ".codes")) continue;
    SCOPED_TRACE(expected);
    const auto n = static_cast<int64_t>(golden.info(matrix).shape[0]),
               k = static_cast<int64_t>(golden.info(matrix).shape[1]);
    const testing::TempDir dir;
    const CheckpointView view = open_floats(dir, n, k, golden.get<float>(matrix));
    const WeightPlan plan = plan_weight(view, module_of("p", n, k), quantization, true);
    RowBlock rows;
    plan.read(0, n, rows);
    EXPECT_EQ(rows.codes, golden.get<uint8_t>(expected + ".codes"));
    EXPECT_EQ(rows.scale, golden.get<float>(expected + ".scales"));
    testing::expect_any_read_order(plan);
    EXPECT_TRUE(is_float(plan_weight(view, module_of("p", n, k), quantization, false).encoding.element)) << "a head";
    ++n_compared;
  }
  EXPECT_GE(n_compared, 2);
}

INSTANTIATE_TEST_SUITE_P(Rules, OnlineCodes, ::testing::ValuesIn(kRules),
                         [](const auto& info) { return info.param.name; });

TEST(Online, refuses_numbers_that_are_not_finite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (const Rule& rule : kRules) {
      std::vector<float> values(3 * 40, 1.0f);
      values[47] = bad;
      const testing::TempDir dir;
      const CheckpointView view = open_floats(dir, 3, 40, values);
      const WeightPlan plan = plan_weight(view, module_of("p", 3, 40), plan_of(rule.method, rule.config), true);
      RowBlock rows;
      EXPECT_THAT(failure_of(ErrorKind::model, [&] { plan.read(0, 3, rows); }),
                  HasSubstr("tensor 'p.weight': has a value that is not finite: it cannot be quantized while loading"))
          << rule.name;
    }
  }
}

// --- checkpoints of tools that round in the same way, from the same weights ---

struct Twin {
  std::string fixture, method;
  Json config = nullptr;
};
void PrintTo(const Twin& twin, std::ostream* out) { *out << twin.fixture; }

class OnlineTwins : public ::testing::TestWithParam<Twin> {};

TEST_P(OnlineTwins, is_what_the_tool_wrote) {
  const auto source_dir = testing::fixture("gguf-bf16"), twin_dir = testing::fixture(GetParam().fixture);
  if (source_dir.empty() || twin_dir.empty()) GTEST_SKIP() << "needs the shared checkpoints";
  const CheckpointView floats = open_checkpoint((source_dir / "model-bf16.gguf").string()),
                       twin = open_checkpoint(twin_dir.string());
  const QuantizationPlan quantization = plan_quantization(floats, {GetParam().method, "auto", GetParam().config});
  const struct {
    std::string name, source;
    int64_t n, k;
  } kModules[] = {{"model.layers.0.self_attn.v_proj", "blk.0.attn_v", 128, 256},
                  {"model.layers.0.self_attn.o_proj", "blk.0.attn_output", 256, 256},
                  {"model.layers.1.mlp.up_proj", "blk.1.ffn_up", 768, 256},
                  {"model.layers.1.mlp.down_proj", "blk.1.ffn_down", 256, 768}};
  for (const auto& [name, source, n, k] : kModules) {
    SCOPED_TRACE(name);
    Module module = module_of(name, n, k);
    const WeightPlan expected = plan_weight(twin, module, {}, true);
    module.source = source;
    const WeightPlan plan = plan_weight(floats, module, quantization, true);
    EXPECT_EQ(plan.encoding, expected.encoding) << describe(plan.encoding) << " / " << describe(expected.encoding);
    EXPECT_EQ(plan.input, expected.input);
    RowBlock rows, expected_rows;
    plan.read(0, n, rows);
    expected.read(0, n, expected_rows);
    EXPECT_EQ(rows.codes, expected_rows.codes);
    EXPECT_EQ(rows.scale, expected_rows.scale);
  }
}

const Twin kTwins[] = {
    {"modelopt-fp8-pc-pt", "fp8_per_channel"},
    {"modelopt-fp8-pb-wo", "fp8_per_block", {{"linear", {{"activation", nullptr}}}}},
    {"modelopt-mxfp8", "mxfp8"},
    {"ct-mxfp4", "mxfp4", {{"linear", {{"activation", "mxfp4"}}}}},
};
INSTANTIATE_TEST_SUITE_P(Tools, OnlineTwins, ::testing::ValuesIn(kTwins), [](const auto& info) {
  std::string name = info.param.fixture;
  std::ranges::replace(name, '-', '_');
  return name;
});

// --- which modules become what ---

/// Encodings, in words, that modules of these names get.
class Chosen {
 public:
  Chosen(const std::string& method, const Json& config) : quantization_(plan_of(method, config)) {
    testing::TensorWriter tensors;
    tensors.add("p.weight", "F32", {1, 8}, std::vector<float>(8, 1.0f));
    view_ = tensors.open(dir_);
  }
  std::string operator()(const std::string& name) const {
    Module module = module_of(name, 1, 8);
    module.source = "p";
    return describe(plan_weight(view_, module, quantization_, true).encoding);
  }

 private:
  testing::TempDir dir_;
  QuantizationPlan quantization_;
  CheckpointView view_;
};

const std::string kLinear = "model.layers.1.self_attn.o_proj", kExpert = "model.layers.1.mlp.experts.3.down_proj",
                  kShared = "model.layers.1.mlp.shared_experts.down_proj";

TEST(OnlineModules, of_experts_alone) {
  for (const char* method : {"int8_per_channel_weight_only", "experts_int8"}) {
    const Chosen chosen(method, nullptr);
    EXPECT_EQ(chosen(kLinear), "f32");
    EXPECT_EQ(chosen(kShared), "f32");
    EXPECT_EQ(chosen(kExpert), "int8, per row, f32 scale");
  }
}

TEST(OnlineModules, stacked_experts_are_experts) {
  testing::TensorWriter tensors;
  tensors.add("experts.weight", "F32", {2, 2, 3}, std::vector<float>{1, 2, 4, 0, 0, 0, -8, 4, 2, 127, 3, -2});
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  Module module = module_of("model.layers.0.mlp.experts.1.up_proj", 2, 3);
  module.source = "experts", module.expert = 1, module.n_experts = 2;
  const WeightPlan plan = plan_weight(view, module, plan_of("experts_int8"), true);
  EXPECT_EQ(testing::decoded_rows(plan, 1, 1), (std::vector<float>{127, 3, -2}));
}

TEST(OnlineModules, have_specs_by_kind) {
  const Chosen chosen("fp8_per_tensor", {{"linear", {{"weight", nullptr}}}, {"moe", "fp8_per_block"}});
  EXPECT_EQ(chosen(kLinear), "f32");
  EXPECT_EQ(chosen(kExpert), "e4m3, groups of 128, f32 scale, fp8 in groups of 128 activations");

  const Chosen overridden("mxfp8", {{"moe", {{"activation", nullptr}}}, {"linear", "int4_per_group_32"}});
  EXPECT_EQ(overridden(kLinear), "int4, groups of 32, f32 scale");
  EXPECT_EQ(overridden(kExpert), "e4m3, groups of 32, e8m0 scale");

  const Chosen online("online", {{"linear", {{"weight", "mxfp4"}, {"activation", "fp8_per_token"}}}});
  EXPECT_EQ(online(kLinear), "e2m1, groups of 32, e8m0 scale, fp8 per token activations");
  EXPECT_EQ(online(kExpert), "f32");
}

TEST(OnlineModules, can_be_ignored) {
  const Chosen chosen("fp8", {{"activation_scheme", "dynamic"},
                              {"ignore", {"model.layers.0.mlp.up_proj", "*.5.*", "re:.*[qk]_proj"}},
                              {"ignored_layers", {"model.layers.2.mlp.experts"}},
                              {"modules_to_not_convert", {"gate_proj"}}});
  EXPECT_EQ(chosen("model.layers.0.mlp.up_proj"), "f32");
  EXPECT_EQ(chosen("model.layers.5.mlp.up_proj"), "f32");
  EXPECT_EQ(chosen("model.layers.1.self_attn.q_proj"), "f32");
  EXPECT_EQ(chosen("model.layers.2.mlp.experts.7.up_proj"), "f32");
  EXPECT_EQ(chosen("model.layers.1.mlp.gate_proj"), "f32");
  const std::string quantized = "e4m3, per row, f32 scale, fp8 per token activations";
  EXPECT_EQ(chosen("model.layers.10.mlp.up_proj"), quantized);
  EXPECT_EQ(chosen("model.layers.1.self_attn.v_proj"), quantized);
  EXPECT_EQ(chosen("model.layers.1.mlp.experts.7.up_proj"), quantized);
  EXPECT_EQ(chosen("model.layers.1.mlp.big_gate_proj"), quantized);
}

TEST(OnlineModules, patterns_know_experts_by_their_parent_too) {
  const Chosen chosen("experts_int8",
                      {{"ignore", {"model.layers.[02].*.experts", "re:model\\.layers\\.1\\.mlp\\.experts$"}}});
  EXPECT_EQ(chosen("model.layers.2.mlp.experts.7.up_proj"), "f32");
  EXPECT_EQ(chosen("model.layers.1.mlp.experts.7.up_proj"), "f32");
  EXPECT_EQ(chosen("model.layers.3.mlp.experts.7.up_proj"), "int8, per row, f32 scale");
}

TEST(OnlineModules, can_be_targets) {
  const Chosen chosen("online", {{"targets",
                                  {{"re:.*\\.self_attn\\.", "fp8_per_channel"},
                                   {"*.experts.*", "experts_int8"},
                                   {"*.shared_*", "experts_int8"},
                                   {"up_proj", "mxfp8"},
                                   {"layers.7.mlp.up_proj", "mxfp4"}}},
                                 {"ignore", {"layers.4"}}});
  EXPECT_EQ(chosen(kLinear), "e4m3, per row, f32 scale, fp8 per token activations");
  EXPECT_EQ(chosen(kExpert), "int8, per row, f32 scale");
  EXPECT_EQ(chosen("model.layers.1.mlp.down_proj"), "f32");
  EXPECT_EQ(chosen("model.layers.4.mlp.down_proj"), "f32");
  EXPECT_THAT(
      failure_of(ErrorKind::usage, [&] { chosen(kShared); }),
      HasSubstr("targets: '*.shared_*': 'experts_int8' is for experts alone, module '" + kShared + "' is none"));
  EXPECT_THAT(failure_of(ErrorKind::usage, [&] { chosen("model.layers.4.mlp.up_proj"); }),
              HasSubstr("targets: 'up_proj' and ignore both name module 'model.layers.4.mlp.up_proj'"));
  EXPECT_THAT(failure_of(ErrorKind::usage, [&] { chosen("model.layers.7.mlp.up_proj"); }),
              HasSubstr("targets: 'up_proj' and 'layers.7.mlp.up_proj' both name module 'model.layers.7.mlp.up_proj'"));
}

// --- settings ---

TEST(OnlineSettings, say_what_will_be_done) {
  EXPECT_EQ(plan_of("FP8").description, "fp8 (in flight: fp8_per_tensor_static weights, fp8_per_token activations)");
  EXPECT_EQ(plan_of("inc").description, "inc (in flight: fp8_per_tensor_static weights, fp8_per_token activations)");
  EXPECT_EQ(plan_of("mxfp4").description, "mxfp4 (in flight: mxfp4 weights, unchanged activations)");
  EXPECT_EQ(plan_of("", {{"quant_method", "experts_int8"}}).description,
            "experts_int8 (in flight: linear layers: as they are; experts: int8_per_channel_static weights, unchanged "
            "activations)");
  EXPECT_EQ(plan_of("online", {{"targets", {{"up_proj", "mxfp8"}}}}).description, "online (in flight: up_proj: mxfp8)");
}

TEST(OnlineSettings, wrong_ones_are_one_clear_error) {
  const struct {
    std::string method;
    Json config;
    std::string message;
  } kCases[] = {
      {"online", nullptr, "quantization 'online' needs a quantization_config that says what to quantize"},
      {"fp8", {{"linear", {{"weight", nullptr}}}, {"moe", {{"weight", nullptr}}}}, "says what to quantize"},
      {"nvfp4_per_token", nullptr, "quantization 'nvfp4_per_token' is not supported: there are no NVFP4 activations"},
      {"online", {{"moe", "nvfp4_per_token"}}, "quantization 'nvfp4_per_token' is not supported"},
      {"fp8", {{"bits", 8}}, "quantization_config: fp8 has no setting 'bits'"},
      {"fp8",
       {{"activation_scheme", "static"}},
       "activation_scheme: only \"dynamic\" works without calibration (got \"static\")"},
      {"mxfp4", {{"activation_scheme", "dynamic"}}, "mxfp4 has no setting 'activation_scheme'"},
      {"fp8", {{"targets", {{"up_proj", "mxfp8"}}}}, "targets: goes together with quantization 'online' (got 'fp8')"},
      {"online", {{"targets", {{"up_proj", "mxfp8"}}}, {"moe", "fp8"}}, "targets: goes without linear and moe"},
      {"online", {{"targets", {{"up_proj", "fp8_per_block_static"}}}}, "targets: 'up_proj': expected one of fp8, "},
      {"online",
       {{"targets", Json::array()}},
       "targets: expected an object of names and shorthands (got an array of 0)"},
      {"online", {{"linear", "experts_int8"}}, "linear: 'experts_int8' is for experts alone"},
      {"online", {{"linear", "fp9"}}, "linear: expected an object with weight and activation, or one of fp8, "},
      {"online", {{"linear", {{"weight", "fp8_per_token"}}}}, "linear.weight: expected one of fp8_per_tensor_static, "},
      {"fp8", {{"moe", {{"activation", "fp8_per_tensor_static"}}}}, "moe.activation: expected one of fp8_per_token, "},
      {"online", {{"linear", {{"activation", "mxfp8"}}}}, "linear: an activation needs a weight beside it"},
      {"online", {{"linear", {{"weights", "mxfp8"}}}}, "linear: expected weight and activation alone (got 'weights')"},
      {"fp8", {{"ignore", "lm_head"}}, "ignore: expected a list of names (got \"lm_head\")"},
      {"fp8", {{"ignore", {1}}}, "ignore: expected a list of names (got 1)"},
      {"fp8", {{"ignore", {"re:("}}}, "quantization_config: "},
      {"rtn", {{"weight_bits", 3}}, "rtn: weight_bits or RTN_NUM_BITS: expected 4 or 8 (got 3)"},
      {"rtn", {{"group_size", 0}}, "rtn: group_size or RTN_GROUP_SIZE: expected -1 or 1..16777216 (got 0)"},
      {"rtn", {{"ignore", {"a"}}}, "rtn has no setting 'ignore'"},
  };
  for (const auto& [method, config, message] : kCases) EXPECT_THAT(failure_of_plan(method, config), HasSubstr(message));
}

TEST(OnlineSettings, do_not_touch_quantized_checkpoints) {
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F8_E4M3", {1, 8}, std::vector<uint8_t>(8, 0x38));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir, {{"quant_method", "fp8"}});
  EXPECT_EQ(plan_quantization(view, {"fp8", "auto", nullptr}).description, "fp8 (checkpoint)");
  EXPECT_THAT(failure_of(ErrorKind::usage,
                         [&] {
                           plan_quantization(view, {"fp8_per_block", "auto", nullptr});
                         }),
              HasSubstr("'fp8_per_block' does not match the checkpoint, which is quantized with 'fp8'"));
}

TEST(RtnSettings, come_from_the_environment_too) {
  ::setenv("RTN_NUM_BITS", "4", 1);
  ::setenv("RTN_GROUP_SIZE", "64", 1);
  EXPECT_EQ(plan_of("rtn").description, "rtn (in flight: 4 bits, group_size 64)");
  EXPECT_EQ(plan_of("rtn", {{"bits", 8}, {"group_size", -1}}).description, "rtn (in flight: 8 bits, a scale per row)");
  ::setenv("RTN_NUM_BITS", "four", 1);
  EXPECT_THAT(failure_of_plan("rtn"), HasSubstr("RTN_NUM_BITS: not a whole number (got 'four')"));
  for (const char* name : {"RTN_NUM_BITS", "RTN_GROUP_SIZE"}) ::unsetenv(name);
}

}  // namespace
}  // namespace packhorse
