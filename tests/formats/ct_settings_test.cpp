// Settings of compressed-tensors: inputs, presets, what concerns the whole checkpoint.

#include "formats/ct_settings.h"

#include <gmock/gmock.h>

#include "format_testing.h"
#include "formats/ct_act.h"

namespace packhorse {
namespace {

using ::testing::HasSubstr;
using testing::module_of;
using Code = ActScheme::Code;
using Scale = ActScheme::Scale;

TEST(CompressedTensorsInputs, Schemes) {
  const auto scheme = [](const char* settings) { return ct::act_scheme(Json::parse(settings), "S"); };
  EXPECT_EQ(scheme(R"({"dynamic": true, "strategy": "token"})"), (ActScheme{.code = Code::int8, .divisor = 127.5f}));
  EXPECT_EQ(scheme(R"({"dynamic": true})"), (ActScheme{.code = Code::int8, .divisor = 127.5f}))
      << "per tensor is taken per token";
  EXPECT_EQ(scheme(R"({"dynamic": true, "strategy": "token", "symmetric": false})"),
            (ActScheme{.code = Code::int8, .symmetric = false, .divisor = 255}));
  EXPECT_EQ(scheme(R"({"num_bits": 4, "dynamic": true, "strategy": "token"})"),
            (ActScheme{.code = Code::int4, .divisor = 7.5f}));
  EXPECT_EQ(scheme(R"({"num_bits": 8, "type": "int"})"), (ActScheme{.code = Code::int8, .scale = Scale::fixed}));
  EXPECT_EQ(scheme(R"({"symmetric": false})"),
            (ActScheme{.code = Code::int8, .scale = Scale::fixed, .symmetric = false}));
  EXPECT_EQ(scheme(R"({"type": "float", "strategy": "tensor"})"),
            (ActScheme{.code = Code::fp8, .scale = Scale::fixed}));
  EXPECT_EQ(scheme(R"({"type": "float", "dynamic": true, "strategy": "token"})"),
            (ActScheme{.code = Code::fp8, .divisor = 448}));
  EXPECT_EQ(scheme(R"({"type": "float", "dynamic": true, "group_size": 128})"),
            (ActScheme{.code = Code::fp8, .group = 128, .divisor = 448}));
  EXPECT_EQ(scheme(R"({"type": "float", "dynamic": true, "group_size": 32, "scale_dtype": "torch.uint8"})"),
            (ActScheme{.code = Code::fp8, .scale = Scale::power_ceil, .group = 32, .divisor = 448}));
  EXPECT_EQ(scheme(R"({"type": "float", "dynamic": true, "group_size": 32, "scale_dtype": "torch.float8_e8m0fnu"})"),
            (ActScheme{.code = Code::fp8, .scale = Scale::power_ceil, .group = 32, .divisor = 448}));
  EXPECT_EQ(scheme(R"({"type": "float", "num_bits": 4, "dynamic": true, "group_size": 32})"),
            (ActScheme{.code = Code::e2m1, .scale = Scale::power_even, .group = 32, .shift = 2}));
  EXPECT_EQ(scheme(R"({"type": "float", "num_bits": 4, "dynamic": "local", "group_size": 16,
                       "strategy": "tensor_group"})"),
            (ActScheme{.code = Code::e2m1, .scale = Scale::nvfp4, .group = 16, .divisor = 6}));
}

TEST(CompressedTensorsInputs, WhatIsNotSupportedIsNamed) {
  const auto failure = [](const char* settings) {
    return testing::failure_of(ErrorKind::model, [&] { ct::act_scheme(Json::parse(settings), "S"); });
  };
  EXPECT_THAT(failure(R"({"num_bits": 5, "dynamic": true})"),
              HasSubstr("S.num_bits: not supported for int5 activations (got 5, supported: 4, 8)"));
  EXPECT_THAT(failure(R"({"num_bits": 4})"), HasSubstr("S.dynamic: not supported for int4 activations"));
  EXPECT_THAT(failure(R"({"num_bits": 4, "dynamic": true, "strategy": "token", "symmetric": false})"),
              HasSubstr("S.symmetric: not supported for int4 activations (got false, supported: true)"));
  EXPECT_THAT(failure(R"({"type": "float", "num_bits": 6})"), HasSubstr("S.num_bits: not supported for float6"));
  EXPECT_THAT(failure(R"({"dynamic": true, "group_size": 128})"), HasSubstr("S.strategy: not supported for int8"));
  EXPECT_THAT(failure(R"({"dynamic": "local"})"), HasSubstr("S.dynamic: not supported for int8 activations (got \"l"));
  EXPECT_THAT(failure(R"({"dynamic": 1})"), HasSubstr("S.dynamic: expected true, false or \"local\" (got 1)"));
  EXPECT_THAT(failure(R"({"type": "float", "symmetric": false})"), HasSubstr("S.symmetric: not supported for float8"));
  EXPECT_THAT(failure(R"({"type": "float", "strategy": "channel"})"), HasSubstr("S.strategy: not supported"));
  EXPECT_THAT(failure(R"({"type": "float", "num_bits": 4, "group_size": 16, "dynamic": true})"),
              HasSubstr("S.dynamic: not supported for float4 activations (got true, supported: \"local\""));
  EXPECT_THAT(failure(R"({"type": "float", "num_bits": 4, "group_size": 64})"), HasSubstr("S.group_size: not supp"));
  EXPECT_THAT(failure(R"({"type": "e5m2"})"), HasSubstr("S.type: expected int or float (got \"e5m2\")"));
  EXPECT_THAT(failure("[]"), HasSubstr("S: expected an object"));
}

TEST(CompressedTensorsInputs, StaticScalesComeFromTheModule) {
  const testing::TempDir dir;
  testing::TensorWriter tensors;
  tensors.add("p.input_scale", "F32", {1}, std::vector<float>{0.25f});
  tensors.add("p.input_zero_point", "I8", {1}, std::vector<int8_t>{-21});
  tensors.add("p.input_global_scale", "F32", {1}, std::vector<float>{512});
  tensors.add("bad.input_scale", "F32", {1}, std::vector<float>{0});
  tensors.add("wide.input_scale", "F32", {2}, std::vector<float>{1, 1});
  const CheckpointView view = tensors.open(dir);
  const auto read = [&](const char* name, const ActScheme& act) {
    return ct::read_input(view, module_of(name, 4, 4), act);
  };
  const ActScheme fixed{.code = Code::int8, .scale = Scale::fixed};
  EXPECT_EQ(read("p", {}), WeightInput{});
  EXPECT_EQ(read("p", {.code = Code::int8, .divisor = 127.5f}), WeightInput{});
  EXPECT_EQ(read("p", fixed), (WeightInput{.act_scale = 0.25f}));
  EXPECT_EQ(read("p", {.code = Code::int8, .scale = Scale::fixed, .symmetric = false}),
            (WeightInput{.act_scale = 0.25f, .act_zero = -21}));
  EXPECT_EQ(read("p", {.code = Code::e2m1, .scale = Scale::nvfp4, .group = 16, .divisor = 6}),
            (WeightInput{.act_scale = 1.0f / 512}));
  const auto failure = [&](const char* name) {
    return testing::failure_of(ErrorKind::model, [&] { read(name, fixed); });
  };
  EXPECT_THAT(failure("bad"), HasSubstr("'bad.input_scale': not a number above 0 (got 0)"));
  EXPECT_THAT(failure("wide"), HasSubstr("'wide.input_scale': shape does not fit"));
  EXPECT_THAT(failure("none"), HasSubstr("missing tensor 'none.input_scale'"));
}

ct::Scheme scheme_of(const Json& groups, const char* module = "model.layers.0.mlp.up_proj") {
  CheckpointView view;
  view.path = "m";
  view.quantization_config = {{"config_groups", groups}};
  return ct::scheme_of(view, module_of(module, 4, 4));
}

TEST(CompressedTensorsSettings, Presets) {
  const auto preset = [](const char* name) { return scheme_of({{name, {"Linear"}}}); };
  const auto expect = [&](const char* name, bool is_float, int bits, int64_t group, const ActScheme& act) {
    const ct::Scheme scheme = preset(name);
    EXPECT_EQ(scheme.is_float, is_float) << name;
    EXPECT_EQ(scheme.bits, bits) << name;
    EXPECT_EQ(scheme.group_size, group) << name;
    EXPECT_EQ(scheme.act, act) << name;
    EXPECT_EQ(scheme.symmetric, std::string(name) != "W4A16_ASYM") << name;
  };
  const ActScheme int8{.code = Code::int8, .divisor = 127.5f}, fp8{.code = Code::fp8, .divisor = 448},
      fp8_groups{.code = Code::fp8, .group = 128, .divisor = 448},
      mxfp8{.code = Code::fp8, .scale = Scale::power_ceil, .group = 32, .divisor = 448};
  expect("W4A16", false, 4, ct::kAnySize, {});
  expect("W4A16_ASYM", false, 4, ct::kAnySize, {});
  expect("w3a16", false, 3, ct::kAnySize, {});
  expect("W8A8", false, 8, ct::kAnySize, int8);
  expect("INT8", false, 8, ct::kAnySize, int8);
  expect("W4A8", false, 4, ct::kAnySize, int8);
  expect("W4AFP8", false, 4, ct::kAnySize, fp8);
  expect("FP8", true, 8, 0, {.code = Code::fp8, .scale = Scale::fixed});
  expect("FP8_DYNAMIC", true, 8, 0, fp8);
  expect("FP8_BLOCK", true, 8, 128, fp8_groups);
  EXPECT_EQ(preset("FP8_BLOCK").block_rows, 128);
  expect("NVFP4A16", true, 4, 16, {});
  expect("NVFP4", true, 4, 16, {.code = Code::e2m1, .scale = Scale::nvfp4, .group = 16, .divisor = 6});
  expect("MXFP4A16", true, 4, 32, {});
  expect("MXFP4", true, 4, 32, {.code = Code::e2m1, .scale = Scale::power_even, .group = 32, .shift = 2});
  expect("MXFP4XFP8", true, 4, 32, fp8_groups);
  expect("MXFP6A16", true, 6, 32, {});
  expect("MXFP6A8", true, 6, 32, mxfp8);
  expect("MXFP8A16", true, 8, 32, {});
  expect("MXFP8", true, 8, 32, mxfp8);
  const auto failure = [&](const char* name) { return testing::failure_of(ErrorKind::model, [&] { preset(name); }); };
  expect("W4A4", false, 4, ct::kAnySize, {.code = Code::int4, .divisor = 7.5f});
  EXPECT_THAT(failure("W4A17"), HasSubstr("config_groups.W4A17: not the name of a preset (known: W1A16"));
  EXPECT_THAT(failure("MXFP5"), HasSubstr("not the name of a preset"));
}

TEST(CompressedTensorsSettings, BlocksAndEmbeddings) {
  const auto group = [](const Json& block) {
    return Json{{"g",
                 {{"targets", {"Linear", "Embedding"}},
                  {"input_activations", {{"dynamic", true}}},
                  {"weights", {{"type", "float"}, {"strategy", "block"}, {"block_structure", block}}}}}};
  };
  for (const Json& block : {Json{64, 128}, Json("64x128")}) {
    EXPECT_EQ(scheme_of(group(block)).block_rows, 64);
    EXPECT_EQ(scheme_of(group(block)).group_size, 128);
  }
  for (const Json& block :
       {Json(nullptr), Json{128}, Json{0, 128}, Json("128"), Json("ax3"), Json{1.5, 2}, Json("1x2,3")}) {
    EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { scheme_of(group(block)); }),
                HasSubstr("config_groups.g.weights.block_structure: expected two sizes (got "));
  }
  EXPECT_EQ(scheme_of(group({64, 128})).act.code, Code::int8);
  EXPECT_EQ(scheme_of(group({64, 128}), "model.embed_tokens").act.code, Code::none) << "tokens are not activations";
}

TEST(CompressedTensorsSettings, TheFirstGroupOfTheFileCounts) {
  CheckpointView view;
  const auto group = [](int bits) { return Json{{"targets", {"re:.*up_proj"}}, {"weights", {{"num_bits", bits}}}}; };
  view.quantization_config = {{"config_groups", {{"group_10", group(4)}, {"group_9", group(8)}}}};
  view.quantization_order = {{"config_groups", {"group_9", "group_10"}}};
  EXPECT_EQ(ct::scheme_of(view, module_of("model.layers.0.mlp.up_proj", 4, 4)).bits, 8);
}

TEST(CompressedTensorsSettings, OutputsAreNotQuantized) {
  const Json group = {{"targets", {"Linear"}}, {"weights", Json::object()}, {"output_activations", {{"num_bits", 8}}}};
  EXPECT_THAT(testing::failure_of(ErrorKind::model,
                                  [&] {
                                    scheme_of({{"g", group}});
                                  }),
              HasSubstr("config_groups.g.output_activations: not supported yet"));
}

TEST(CompressedTensorsSettings, CachesAndRotations) {
  const auto check = [](const char* settings) {
    CheckpointView view;
    view.path = "m";
    view.quantization_config = Json::parse(settings);
    ct::check_settings(view);
  };
  const auto failure = [&](const char* settings) {
    return testing::failure_of(ErrorKind::model, [&] { check(settings); });
  };
  check("{}");
  check(R"({"kv_cache_scheme": null, "transform_config": {}})");
  check(R"({"kv_cache_scheme": {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": true,
                                "dynamic": false, "group_size": null}})");
  check(R"({"transform_config": {"config_groups": {"u": {"type": "hadamard", "apply": [
             {"targets": ["Linear"], "location": "weight_output"},
             {"targets": ["Linear"], "location": "weight_input", "inverse": true}]}}}})");
  check(R"({"kv_cache_scheme": {"type": "float", "strategy": "attn_head"}})");
  EXPECT_THAT(
      failure(R"({"kv_cache_scheme": {"type": "float", "strategy": "channel"}})"),
      HasSubstr("kv_cache_scheme.strategy: only one scale per tensor or per head is supported (got \"channel\""));
  EXPECT_THAT(failure(R"({"kv_cache_scheme": {"num_bits": 8}})"),
              HasSubstr("kv_cache_scheme.type: only static fp8 is"));
  EXPECT_THAT(failure(R"({"kv_cache_scheme": {"num_bits": 4, "type": "float"}})"),
              HasSubstr("kv_cache_scheme.num_bits"));
  EXPECT_THAT(failure(R"({"kv_cache_scheme": "fp8"})"), HasSubstr("kv_cache_scheme: expected an object (got \"fp8\")"));
  for (const char* location : {"input", "output", "q_attn", "k_cache"}) {
    const std::string text = fmt::format(
        R"({{"transform_config": {{"config_groups": {{"u": {{"apply": [{{"location": "{}"}}]}}}}}}}})", location);
    EXPECT_THAT(failure(text.c_str()),
                HasSubstr(fmt::format("transform_config.config_groups.u.apply.location: only rotations merged into "
                                      "weights are supported (got \"{}\")",
                                      location)));
  }
}

}  // namespace
}  // namespace packhorse
