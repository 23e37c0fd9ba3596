// Plain weights that become TorchAO's while they load: the tool's own checkpoints of the same weights, and an
// independent writer (golden/make_torchao.py) for the classes that are not among them.

#include <gmock/gmock.h>

#include "formats/settings.h"
#include "in_flight_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

QuantizationPlan asked(const CheckpointView& view, Json config) {
  return plan_quantization(view, {"torchao", "auto", std::move(config)});
}

class TorchAoFixture : public ::testing::TestWithParam<const char*> {};

struct Matrix {
  const char *name, *source;
  int64_t n, k, head;  // head: rows that GGUF turns from halves into pairs
};
constexpr Matrix kLlama[] = {
    {"self_attn.q_proj", "attn_q", 256, 256, 64}, {"self_attn.k_proj", "attn_k", 128, 256, 64},
    {"self_attn.v_proj", "attn_v", 128, 256, 0},  {"self_attn.o_proj", "attn_output", 256, 256, 0},
    {"mlp.gate_proj", "ffn_gate", 768, 256, 0},   {"mlp.up_proj", "ffn_up", 768, 256, 0},
    {"mlp.down_proj", "ffn_down", 256, 768, 0},
};

TEST_P(TorchAoFixture, equals_the_tool) {
  const auto source = testing::fixture("gguf-bf16"), made = testing::fixture(GetParam());
  if (source.empty() || made.empty()) GTEST_SKIP() << "gguf-bf16 or " << GetParam() << " is absent";
  const CheckpointView plain = open_checkpoint((source / "model-bf16.gguf").string());
  const CheckpointView tool = open_checkpoint(made.string());
  const QuantizationPlan quantization = asked(plain, tool.quantization_config);
  for (const int layer : {0, 1}) {
    for (const Matrix& matrix : kLlama) {
      const Module module = module_of(fmt::format("model.layers.{}.{}", layer, matrix.name), matrix.n, matrix.k);
      Module in_gguf = module;
      in_gguf.source = fmt::format("blk.{}.{}", layer, matrix.source);
      if (const int64_t head = matrix.head) {
        in_gguf.source_row = [head](int64_t row) {
          const int64_t in_head = row % head, half = head / 2;
          return row - in_head + in_head % half * 2 + in_head / half;
        };
      }
      testing::expect_same_weight(plan_weight(plain, in_gguf, quantization, true), plan_weight(tool, module, {}, true));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, TorchAoFixture,
                         ::testing::Values("torchao-8da4w", "torchao-float8dyn", "torchao-float8wo", "torchao-int4wo",
                                           "torchao-int8dyn", "torchao-int8wo", "torchao-intx4wo"));

TEST(TorchAoInFlight, equals_the_golden) {
  const testing::TensorFile golden(testing::golden_dir() / "torchao_in_flight.safetensors");
  testing::TensorWriter tensors;
  for (const char* dtype : {"BF16", "F16", "F32"})
    testing::add_weight(tensors, fmt::format("{}.weight", dtype), dtype, {16, 256}, golden.get<float>("w"));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  const Json cases = testing::golden_cases(golden);
  EXPECT_EQ(cases.size(), 51u);
  for (const auto& [name, value] : cases.items()) {
    const Module module = module_of(value["dtype"].get<std::string>(), 16, 256);
    for (const Json& config : {value["config"], Json{{"quant_type", {{"default", value["config"]}}}}})
      testing::expect_golden(golden, name, plan_weight(view, module, asked(view, config), true));
  }
}

/// A model of these modules, all zeros but one.
struct Plain {
  testing::TempDir dir;
  CheckpointView view;

  explicit Plain(const std::vector<std::string>& names, int64_t n = 16, int64_t k = 256) : view(open(names, n, k)) {}
  CheckpointView open(const std::vector<std::string>& names, int64_t n, int64_t k) const {
    testing::TensorWriter tensors;
    std::vector<float> values(static_cast<size_t>(n * k));
    values[0] = 1;
    for (const std::string& name : names) testing::add_weight(tensors, name + ".weight", "BF16", {n, k}, values);
    return tensors.open(dir);
  }
};

Json config_of(const char* type, Json data = Json::object()) {
  return {{"_type", type}, {"_version", 2}, {"_data", std::move(data)}};
}
Json whole(Json config) { return {{"quant_type", {{"default", std::move(config)}}}}; }

TEST(TorchAoInFlight, quantizes_activations_as_its_checkpoints_say) {
  const Plain plain({"p"});
  const auto act = [&](const Json& config) {
    return plan_weight(plain.view, module_of("p", 16, 256), asked(plain.view, config), true).encoding.act;
  };
  EXPECT_EQ(act(config_of("Int8WeightOnlyConfig")), ActScheme{});
  EXPECT_EQ(act(config_of("Int8DynamicActivationInt8WeightConfig",
                          {{"act_mapping_type", {{"_type", "MappingType"}, {"_data", "ASYMMETRIC"}}}})),
            (ActScheme{.code = ActScheme::Code::int8, .symmetric = false, .divisor = 255, .smallest = 0x1p-23f}));
  EXPECT_EQ(act(config_of("Float8DynamicActivationFloat8WeightConfig",
                          {{"activation_value_lb", 4.48}, {"activation_value_ub", 1200.0}})),
            (ActScheme{.code = ActScheme::Code::fp8, .divisor = 448, .smallest = 4.48f / 448, .limit = 1200}));
}

TEST(TorchAoInFlight, takes_blocks_of_128) {
  const Plain plain({"p"}, 256, 256);
  const auto blocks = [](uint32_t rows) {
    return Json{{"_type", "PerBlock"}, {"_data", {{"block_size", {rows, 128u}}}}};
  };
  const WeightPlan plan = plan_weight(plain.view, module_of("p", 256, 256),
                                      asked(plain.view, config_of("Float8DynamicActivationFloat8WeightConfig",
                                                                  {{"granularity", {blocks(1), blocks(128)}}})),
                                      true);
  EXPECT_EQ(plan.encoding.act.group, 128);
  EXPECT_EQ(plan.encoding.grouping, (Grouping{GroupKind::along_k, 128}));
  RowBlock rows;
  plan.read(0, 256, rows);
  const float scale = bf16_to_f32(f32_to_bf16(1.0f / 448));
  for (size_t i = 0; i < rows.scale.size(); ++i) EXPECT_EQ(rows.scale[i], i < 256 && i % 2 == 0 ? scale : 0.0f) << i;
}

TEST(TorchAoInFlight, leaves_out_what_the_tool_leaves_out) {
  const Plain plain({"a.q", "a.k", "b.q", "odd"}, 16, 264);
  const auto is_left = [&](const std::string& name, const Json& config) {
    const WeightPlan plan = plan_weight(plain.view, module_of(name, 16, 264), asked(plain.view, config), true);
    return is_float(plan.encoding.element);
  };
  EXPECT_TRUE(is_left("odd", config_of("Int4WeightOnlyConfig"))) << "264 columns are no groups of 128";
  EXPECT_TRUE(is_left("odd", config_of("Float8DynamicActivationFloat8WeightConfig"))) << "nor a multiple of 16";
  EXPECT_FALSE(is_left("odd", config_of("Float8WeightOnlyConfig")));
  EXPECT_THAT(testing::failure_of(ErrorKind::usage,
                                  [&] { is_left("odd", config_of("Int8DynamicActivationIntxWeightConfig")); }),
              HasSubstr("torchao's blocks of [1, 32] do not divide odd [16, 264]"));

  Json settings = whole(config_of("Int8WeightOnlyConfig"));
  settings["modules_to_not_convert"] = {"q", "b"};
  EXPECT_TRUE(is_left("a.q", settings));
  EXPECT_TRUE(is_left("b.q", settings));
  EXPECT_FALSE(is_left("a.k", settings));

  const Json int8 = config_of("Int8WeightOnlyConfig"), float8 = config_of("Float8WeightOnlyConfig");
  const auto element = [&](const std::string& name, const char* type, const char* key, const Json& names) {
    return plan_weight(plain.view, module_of(name, 16, 264), asked(plain.view, whole(config_of(type, {{key, names}}))),
                       true)
        .encoding.element;
  };
  const Json names = {
      {"a.q", float8}, {"re:a\\..", int8}, {"re:b", int8}, {"_default", nullptr}, {"a.k.weight", nullptr}};
  for (const auto& [type, key] :
       {std::pair("FqnToConfig", "fqn_to_config"), std::pair("ModuleFqnToConfig", "module_fqn_to_config")}) {
    EXPECT_EQ(element("a.q", type, key, names), Element::minifloat) << "by name before by expression";
    EXPECT_EQ(element("a.k", type, key, names), Element::bf16) << "by the weight's own name";
    EXPECT_EQ(element("b.q", type, key, names), Element::bf16) << "an expression is for the whole name";
    EXPECT_EQ(element("a.k", type, key, {{"re:a\\..", int8}}), Element::integer);
    EXPECT_EQ(element("odd", type, key, {{"_default", int8}, {"a", nullptr}}), Element::integer);
    EXPECT_EQ(element("a.q", type, key, {{"_default", int8}, {"a", nullptr}}), Element::bf16);
  }
  EXPECT_EQ(asked(plain.view, whole(config_of("FqnToConfig", {{"fqn_to_config", names}}))).description,
            "torchao (in flight: FqnToConfig, 5 entries)");
  EXPECT_THAT(
      testing::failure_of(ErrorKind::usage,
                          [&] {
                            element("a.q", "FqnToConfig", "fqn_to_config", {{"re:a.*", int8}, {"re:.*q", float8}});
                          }),
      HasSubstr("'re:.*q' and 're:a.*' both fit a.q and say different things"));
}

TEST(TorchAoInFlight, takes_experts) {
  const testing::TensorFile golden(testing::golden_dir() / "torchao_in_flight.safetensors");
  testing::TensorWriter tensors;
  testing::add_weight(tensors, "e.weight", "BF16", {2, 8, 256}, golden.get<float>("w"));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  std::vector<uint8_t> codes;
  for (int64_t expert = 0; expert < 2; ++expert) {
    Module module = module_of("e", 8, 256);
    module.expert = expert, module.n_experts = 2;
    RowBlock rows;
    plan_weight(view, module, asked(view, config_of("Int4WeightOnlyConfig", {{"group_size", 64}})), true)
        .read(0, 8, rows);
    codes.insert(codes.end(), rows.codes.begin(), rows.codes.end());
  }
  EXPECT_EQ(codes, golden.get<uint8_t>("int4wo-BF16.codes"));
}

TEST(TorchAoInFlightSettings, what_is_wrong_is_named) {
  const Plain plain({"p"});
  const auto failure = [&](Json config) {
    return testing::failure_of(ErrorKind::usage, [&] { asked(plain.view, std::move(config)); });
  };
  const auto with = [](const char* type, const char* key, Json value) {
    return config_of(type, {{key, std::move(value)}});
  };
  EXPECT_EQ(asked(plain.view, config_of("Int4WeightOnlyConfig")).description,
            "torchao (in flight: Int4WeightOnlyConfig, groups of 128)");
  EXPECT_THAT(failure(nullptr), HasSubstr("quantization_config.quant_type: expected {\"default\": "));
  EXPECT_THAT(failure({{"quant_type", "int4_weight_only"}}), HasSubstr("(got \"int4_weight_only\")"));
  EXPECT_THAT(failure({{"bits", 4}}), HasSubstr("torchao has no setting 'bits'"));
  EXPECT_THAT(failure(config_of("UIntXWeightOnlyConfig")),
              AllOf(HasSubstr("_type: cannot be made while loading (got 'UIntXWeightOnlyConfig'"),
                    HasSubstr("Int4WeightOnlyConfig, Int8WeightOnlyConfig"), HasSubstr("FqnToConfig)")));
  EXPECT_THAT(failure(with("Int4WeightOnlyConfig", "layout", "x")),
              HasSubstr("Int4WeightOnlyConfig has no argument 'layout'"));
  EXPECT_THAT(failure(with("Int4WeightOnlyConfig", "int4_choose_qparams_algorithm", "hqq")),
              HasSubstr("int4_choose_qparams_algorithm: cannot be made while loading (got 'hqq', expected tinygemm)"));
  EXPECT_THAT(failure(with("Int4WeightOnlyConfig", "int4_packing_format", "preshuffled")),
              HasSubstr("got 'preshuffled'"));
  EXPECT_THAT(failure(with("Int4WeightOnlyConfig", "group_size", 0)),
              HasSubstr("_data.group_size: not a whole number"));
  EXPECT_THAT(failure(with("Int8WeightOnlyConfig", "granularity", {{"_type", "PerToken"}})), HasSubstr("got PerToken"));
  EXPECT_THAT(failure(with("Int8WeightOnlyConfig", "granularity", {{"_type", "PerRow"}, {"_data", {{"dim", 0}}}})),
              HasSubstr("only a scale per row can be made while loading (got PerRow 0)"));
  EXPECT_THAT(failure(with("Int8DynamicActivationInt8WeightConfig", "reduce_range", true)),
              HasSubstr("reduce_range: "));
  EXPECT_THAT(failure(with("IntxWeightOnlyConfig", "weight_dtype", "int9")),
              HasSubstr("expected int1 to int8 (got 'int9')"));
  Json old = config_of("Int8WeightOnlyConfig");
  old["_version"] = 1;
  EXPECT_THAT(failure(old), HasSubstr("_version: only classes of version 2 can be made (got 1)"));
  EXPECT_THAT(failure(whole(with("FqnToConfig", "fqn_to_config", {{"re:(", nullptr}}))), HasSubstr("'re:('"));
  EXPECT_THAT(failure(whole(with("FqnToConfig", "fqn_to_config", {{"p", config_of("X")}}))), HasSubstr("'p'._type: "));
}

}  // namespace
}  // namespace packhorse
