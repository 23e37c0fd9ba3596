#include <gmock/gmock.h>

#include <cmath>

#include "base/half.h"
#include "format_testing.h"
#include "formats/quark_settings.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;
using testing::TensorWriter;

Json config_of(const Json& weight, const Json& input = nullptr) {
  return {{"quant_method", "quark"},
          {"global_quant_config", {{"weight", weight}, {"input_tensors", input}}},
          {"exclude", {"lm_head"}},
          {"export", {{"pack_method", "reorder"}}}};
}

const Json kFp8 = {{"dtype", "fp8_e4m3"}, {"qscheme", "per_tensor"}, {"is_dynamic", false}, {"symmetric", true}};
const Json kInt8 = {{"dtype", "int8"}, {"qscheme", "per_channel"}, {"is_dynamic", false}, {"symmetric", true}};

Json group_of(const char* dtype, int size) {
  return {{"dtype", dtype}, {"qscheme", "per_group"}, {"group_size", size}, {"scale_format", "e8m0"}};
}
Json patched(Json base, const Json& change) {
  base.merge_patch(change);
  return base;
}

WeightPlan planned(const TensorWriter& tensors, const Json& config, int64_t n, int64_t k, CheckpointView& view,
                   const std::string& module = "p") {
  const testing::TempDir dir;
  view = tensors.open(dir, config);
  return plan_weight(view, module_of(module, n, k), {}, true);
}

/// A matrix of 4-bit numbers [n, k] with zero points and scales [n, groups], written as Quark does.
struct Int4 {
  int64_t n, k, group;
  bool is_signed, is_reordered, symmetric;
  std::vector<float> values = {};
  TensorWriter tensors = {};

  int64_t groups() const { return (k + group - 1) / group; }

  /// Lines of numbers, [lines, n], as words of eight.
  std::vector<uint32_t> packed(const std::vector<int>& numbers, int64_t lines) const {
    const int reordered[] = {0, 2, 4, 6, 1, 3, 5, 7};  // row in each nibble
    const int64_t words = (n + 7) / 8;
    std::vector<uint32_t> out(static_cast<size_t>(lines * words));
    for (int64_t line = 0; line < lines; ++line) {
      for (int64_t at = 0; at < words * 8; ++at) {
        const int64_t row = at / 8 * 8 + (is_reordered ? reordered[at % 8] : at % 8);
        const int number = row < n ? numbers[static_cast<size_t>(line * n + row)] : 0;
        out[static_cast<size_t>(line * words + at / 8)] |= (static_cast<uint32_t>(number) & 15u) << (at % 8 * 4);
      }
    }
    return out;
  }

  void write() {
    const int low = is_signed ? -8 : 0;
    std::vector<int> codes, zeros;  // [k, n], [groups, n]
    std::vector<uint16_t> scales;   // [groups, n]
    for (int64_t i = 0; i < k * n; ++i) codes.push_back(low + static_cast<int>((i * 7 + i / n * 3) % 16));
    for (int64_t i = 0; i < groups() * n; ++i) {
      zeros.push_back(symmetric ? (is_signed ? 0 : 8) : low + static_cast<int>(i * 5 % 16));
      scales.push_back(f32_to_bf16(0.03125f * static_cast<float>(i % 50 + 1)));
    }
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < k; ++c) {
        const auto g = static_cast<size_t>(c / group * n + r);
        values.push_back(static_cast<float>(codes[static_cast<size_t>(c * n + r)] - zeros[g]) * bf16_to_f32(scales[g]));
      }
    }
    tensors.add("p.weight", "I32", {k, (n + 7) / 8}, packed(codes, k));
    tensors.add("p.weight_scale", "BF16", {groups(), n}, scales);
    tensors.add("p.weight_zero_point", "I32", {groups(), (n + 7) / 8}, packed(zeros, groups()));
  }

  Json config() const {
    Json out = config_of({{"dtype", is_signed ? "int4" : "uint4"},
                          {"qscheme", "per_group"},
                          {"group_size", group},
                          {"symmetric", symmetric}});
    out["export"]["pack_method"] = is_reordered ? "reorder" : "order";
    return out;
  }
};

TEST(Quark, Int4InBothOrders) {
  CheckpointView view;
  for (const bool is_signed : {true, false}) {
    for (const bool is_reordered : {true, false}) {
      for (const bool symmetric : {true, false}) {
        for (const auto& [n, k, group] : {std::tuple{16, 96, 32}, {13, 80, 32}, {8, 24, 24}}) {
          Int4 weight{n, k, group, is_signed, is_reordered, symmetric};
          weight.write();
          const WeightPlan plan = planned(weight.tensors, weight.config(), n, k, view);
          EXPECT_EQ(testing::decoded_rows(plan, 0, n), weight.values)
              << n << " x " << k << (is_signed ? " int4" : " uint4") << (is_reordered ? " reorder" : " order");
          testing::expect_any_read_order(plan);
          EXPECT_EQ(plan.encoding.zero, symmetric ? ScaleType::none : ScaleType::u8);
        }
      }
    }
  }
}

TEST(Quark, Int4WordOfEightRows) {
  TensorWriter tensors;
  tensors.add("p.weight", "I32", {1, 1}, std::vector<uint32_t>{0x75316420});
  tensors.add("p.weight_scale", "F32", {1, 8}, std::vector<float>(8, 1));
  CheckpointView view;
  const Json spec = {{"dtype", "int4"}, {"qscheme", "per_channel"}, {"symmetric", true}};
  EXPECT_EQ(testing::decoded_rows(planned(tensors, config_of(spec), 8, 1, view), 0, 8),
            (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(Quark, Int4ExpertsOfAStackedTensor) {
  TensorWriter tensors;
  tensors.add("p.weight", "I32", {2, 1, 1}, std::vector<uint32_t>{0, 0x75316420});
  tensors.add("p.weight_scale", "F32", {2, 1, 8}, std::vector<float>(16, 2));
  const testing::TempDir dir;
  const CheckpointView view =
      tensors.open(dir, config_of({{"dtype", "int4"}, {"qscheme", "per_channel"}, {"symmetric", true}}));
  Module module = module_of("p", 8, 1);
  module.expert = 1, module.n_experts = 2;
  EXPECT_EQ(testing::decoded_rows(plan_weight(view, module, {}, true), 0, 8),
            (std::vector<float>{0, 2, 4, 6, 8, 10, 12, 14}));
}

TEST(Quark, fault_052_int4_shapes) {
  CheckpointView view;
  Int4 weight{16, 96, 32, true, true, false};
  weight.write();
  const auto failure = [&](auto&& change) {
    TensorWriter tensors = weight.tensors;
    change(tensors);
    return testing::failure_of(ErrorKind::model, [&] { planned(tensors, weight.config(), 16, 96, view); });
  };
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight", "I32", {96, 3}, std::vector<int32_t>(288));
              }),
              AllOf(HasSubstr("'p.weight'"), HasSubstr("got [96, 3], expected [96, 2]")));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_zero_point", "I32", {3, 1}, std::vector<int32_t>(3));
              }),
              AllOf(HasSubstr("'p.weight_zero_point'"), HasSubstr("got [3, 1], expected [3, 2]")));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_scale", "F32", {2, 16}, std::vector<float>(32));
              }),
              HasSubstr("'p.weight_scale': 2 groups do not fit 96 columns in groups of 32 (got [2, 16]"));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_zero_point", "I8", {3, 2}, std::vector<int8_t>(6));
              }),
              AllOf(HasSubstr("'p.weight_zero_point'"), HasSubstr("wrong dtype (got I8, expected I32)")));
  Json config = weight.config();
  config["export"]["pack_method"] = "rows";
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(weight.tensors, config, 16, 96, view); }),
              HasSubstr("quantization_config.export.pack_method: not order or reorder (got 'rows')"));
}

/// Value of a 6-bit float, from its definition.
float fp6(int code, int mantissa_bits, int bias) {
  const int steps = 1 << mantissa_bits, exponent = (code & 31) >> mantissa_bits, mantissa = code & (steps - 1);
  const float magnitude = exponent ? std::ldexp(static_cast<float>(steps + mantissa), exponent - bias - mantissa_bits)
                                   : std::ldexp(static_cast<float>(mantissa), 1 - bias - mantissa_bits);
  return code & 32 ? -magnitude : magnitude;
}

TEST(Quark, SixBitFloats) {
  // All codes, in four rows of 64; then four that the format's documentation spells out.
  std::vector<uint8_t> bytes, scales = {127, 0, 0xfe, 120, 125, 126, 128, 129};
  for (int i = 0; i < 4 * 64; i += 4) {
    const uint32_t c[] = {static_cast<uint32_t>(i % 64), static_cast<uint32_t>((i + 1) % 64),
                          static_cast<uint32_t>((i + 2) % 64), static_cast<uint32_t>((i + 3) % 64)};
    const uint32_t word = c[0] | c[1] << 6 | c[2] << 12 | c[3] << 18;
    for (int b = 0; b < 3; ++b) bytes.push_back(static_cast<uint8_t>(word >> (8 * b)));
  }
  CheckpointView view;
  for (const auto& [dtype, mantissa, bias] : {std::tuple{"fp6_e3m2", 2, 3}, {"fp6_e2m3", 3, 1}}) {
    TensorWriter tensors;
    tensors.add("p.weight", "U8", {4, 48}, bytes);
    tensors.add("p.weight_scale", "U8", {4, 2}, scales);
    std::vector<float> want;
    for (int i = 0; i < 256; ++i)
      want.push_back(fp6(i % 64, mantissa, bias) * std::ldexp(1.0f, scales[static_cast<size_t>(i / 32)] - 127));
    const WeightPlan plan = planned(tensors, config_of(group_of(dtype, 32)), 4, 64, view);
    EXPECT_EQ(testing::decoded_rows(plan, 0, 4), want) << dtype;
    testing::expect_any_read_order(plan);
  }
  TensorWriter tensors;
  std::vector<uint8_t> row(24);
  row[0] = 0xc1, row[1] = 0x0f, row[2] = 0x56;
  tensors.add("p.weight", "U8", {1, 24}, row);
  tensors.add("p.weight_scale", "U8", {1, 1}, std::vector<uint8_t>{127});
  const std::vector<float> read =
      testing::decoded_rows(planned(tensors, config_of(group_of("fp6_e3m2", 32)), 1, 32, view), 0, 1);
  EXPECT_EQ(std::vector<float>(read.begin(), read.begin() + 4), (std::vector<float>{0.0625f, -28, -0.0f, 5}));
}

/// FP8 of 2 x 64, all ones, with these scales.
TensorWriter fp8_weight(const char* name, std::vector<int64_t> shape, const std::vector<float>& scales) {
  TensorWriter tensors;
  tensors.add("p.weight", "F8_E4M3", {2, 64}, std::vector<uint8_t>(128, 0x38));
  tensors.add(name, "F32", std::move(shape), scales);
  tensors.add("p.input_scale", "F32", {1}, std::vector<float>{0.25f});
  return tensors;
}

TEST(Quark, SchemesOfActivations) {
  const TensorWriter tensors = fp8_weight("p.weight_scale", {}, {2});
  CheckpointView view;
  const auto act = [&](const Json& input) {
    return planned(tensors, config_of(kFp8, input), 2, 64, view).encoding.act;
  };
  const auto token = [](ActScheme::Code code, float divisor) { return ActScheme{.code = code, .divisor = divisor}; };
  EXPECT_EQ(act(nullptr), ActScheme{});
  EXPECT_EQ(act(kFp8), (ActScheme{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::fixed}));
  EXPECT_EQ(act(Json::array({kFp8})), act(kFp8)) << "a list of one";
  for (const char* scheme : {"per_tensor", "per_channel"}) {
    EXPECT_EQ(act(patched(kFp8, {{"is_dynamic", true}, {"qscheme", scheme}})), token(ActScheme::Code::fp8, 448));
    EXPECT_EQ(act(patched(kInt8, {{"is_dynamic", true}, {"qscheme", scheme}})), token(ActScheme::Code::int8, 127));
  }
  EXPECT_EQ(act(patched(kFp8, {{"is_dynamic", true}, {"qscheme", "per_group"}, {"group_size", 128}})).group, 128);
  const Json mxfp4 = patched(group_of("fp4", 32), {{"is_dynamic", true}});
  EXPECT_EQ(act(mxfp4),
            (ActScheme{.code = ActScheme::Code::e2m1, .scale = ActScheme::Scale::power_even, .group = 32, .shift = 2}));
  EXPECT_EQ(act(patched(mxfp4, {{"scale_calculation_mode", "floor"}})).scale, ActScheme::Scale::power_floor);
  EXPECT_EQ(act(patched(mxfp4, {{"dtype", "fp8_e4m3"}})),
            (ActScheme{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::power_even, .group = 32, .shift = 8}));
  for (const Json& bad : {patched(mxfp4, {{"dtype", "fp6_e2m3"}}), patched(mxfp4, {{"scale_calculation_mode", "odd"}}),
                          patched(kFp8, {{"qscheme", "per_channel"}}), patched(kFp8, {{"dtype", "uint8"}})}) {
    EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { act(bad); }),
                AllOf(HasSubstr("global_quant_config.input_tensors: "), HasSubstr("is not supported (module 'p')")));
  }
}

TEST(Quark, StaticIntegersWithAndWithoutAZeroPoint) {
  TensorWriter tensors;
  tensors.add("p.weight", "I8", {2, 4}, std::vector<int8_t>{-127, -1, 0, 127, 1, 2, 3, 4});
  tensors.add("p.weight_scale", "F32", {2, 1}, std::vector<float>{0.5f, 2});
  tensors.add("p.weight_zero_point", "I8", {2}, std::vector<int8_t>{0, 0});
  tensors.add("p.input_scale", "BF16", {}, std::vector<uint16_t>{f32_to_bf16(0.125f)});
  tensors.add("p.input_zero_point", "I8", {}, std::vector<int8_t>{-5});
  CheckpointView view;
  const Json input = patched(kInt8, {{"qscheme", "per_tensor"}});
  const WeightPlan symmetric = planned(tensors, config_of(kInt8, input), 2, 4, view);
  EXPECT_EQ(testing::decoded_rows(symmetric, 0, 2), (std::vector<float>{-63.5f, -0.5f, 0, 63.5f, 2, 4, 6, 8}));
  EXPECT_EQ(symmetric.encoding.act, (ActScheme{.code = ActScheme::Code::int8, .scale = ActScheme::Scale::fixed}));
  EXPECT_EQ(symmetric.input.act_scale, 0.125f);
  EXPECT_EQ(symmetric.input.act_zero, 0);
  const WeightPlan other = planned(tensors, config_of(kInt8, patched(input, {{"symmetric", false}})), 2, 4, view);
  EXPECT_FALSE(other.encoding.act.symmetric);
  EXPECT_EQ(other.input.act_zero, -5);
}

TEST(Quark, BlocksAndBothNamesOfScales) {
  CheckpointView view;
  const Json blocks = patched(kFp8, {{"qscheme", "per_block"}, {"block_size", {1, 32}}});
  for (const char* name : {"p.weight_scale", "p.weight_scale_inv"}) {
    const TensorWriter tensors = fp8_weight(name, {2, 2}, {1, 2, 3, 4});
    const WeightPlan plan = planned(tensors, config_of(blocks), 2, 64, view);
    const std::vector<float> rows = testing::decoded_rows(plan, 0, 2);
    EXPECT_EQ(rows[31], 1);
    EXPECT_EQ(rows[32], 2);
    EXPECT_EQ(rows[127], 4);
    EXPECT_EQ(plan.encoding.grouping, (Grouping{GroupKind::along_k, 32}));
  }
  TensorWriter powers = fp8_weight("p.weight_scale", {1}, {1});
  powers.add("p.weight_scale", "F8_E8M0", {1, 2}, std::vector<uint8_t>{128, 126});
  const WeightPlan plan = planned(powers, config_of(patched(blocks, {{"block_size", {2, 32}}})), 2, 64, view);
  EXPECT_EQ(plan.encoding.scale, ScaleType::e8m0);
  EXPECT_EQ(testing::decoded_rows(plan, 1, 1)[0], 2);
  EXPECT_EQ(testing::decoded_rows(plan, 1, 1)[63], 0.5f);
}

TEST(Quark, TwoLevelsOfScales) {
  TensorWriter tensors;
  tensors.add("p.weight", "U8", {1, 8}, std::vector<uint8_t>{0x2a, 0xf7, 0, 0, 0, 0, 0, 0});
  tensors.add("p.weight_scale", "F8_E4M3", {1, 1}, std::vector<uint8_t>{0x44});
  tensors.add("p.weight_scale_2", "F32", {}, std::vector<float>{1.0f / 512});
  tensors.add("p.input_scale_2", "F32", {}, std::vector<float>{0.5f});
  const Json levels = Json::array({patched(group_of("fp4", 16), {{"is_dynamic", true}}), kFp8});
  CheckpointView view;
  const WeightPlan plan = planned(tensors, config_of(levels, levels), 1, 16, view);
  const std::vector<float> row = testing::decoded_rows(plan, 0, 1);
  EXPECT_EQ(std::vector<float>(row.begin(), row.begin() + 4),
            (std::vector<float>{-0.005859375f, 0.005859375f, 0.03515625f, -0.03515625f}));
  EXPECT_EQ(plan.encoding.act.scale, ActScheme::Scale::nvfp4);
  EXPECT_EQ(plan.input.act_scale, 0.5f);
}

TEST(Quark, SettingsByNameAndClass) {
  TensorWriter tensors;
  for (const char* p : {"a.q_proj", "a.k_proj", "b.up"}) {
    tensors.add(std::string(p) + ".weight", "F8_E4M3", {2, 64}, std::vector<uint8_t>(128, 0x38));
    tensors.add(std::string(p) + ".weight_scale", "F32", {}, std::vector<float>{1});
    tensors.add(std::string(p) + ".input_scale", "F32", {}, std::vector<float>{1});
  }
  const auto entry = [](const Json& input) { return Json{{"weight", kFp8}, {"input_tensors", input}}; };
  Json config = config_of(kFp8, kFp8);
  config["layer_quant_config"] = {{"*.q_proj", entry(nullptr)}, {"model.b.up", entry(nullptr)}};
  CheckpointView view;
  const auto code = [&](const char* module) { return planned(tensors, config, 2, 64, view, module).encoding.act.code; };
  EXPECT_EQ(code("a.q_proj"), ActScheme::Code::none);
  EXPECT_EQ(code("b.up"), ActScheme::Code::none) << "the name is a part of the key";
  EXPECT_EQ(code("a.k_proj"), ActScheme::Code::fp8);
  config["layer_type_quant_config"] = {{"torch.nn.modules.linear.Linear", entry(nullptr)}};
  EXPECT_EQ(code("a.k_proj"), ActScheme::Code::none);
  config.erase("layer_type_quant_config");
  {
    CheckpointView ordered;
    ordered.quantization_config = config;
    ordered.quantization_config["layer_quant_config"] = {{"*", entry(kFp8)}, {"*.k_proj", entry(nullptr)}};
    ordered.quantization_order = {{"layer_quant_config", {"*.k_proj", "*"}}};
    EXPECT_TRUE(quark_scheme(ordered, testing::module_of("a.k_proj", 2, 64)).input.empty()) << "the first that fits";
  }
  config["global_quant_config"] = nullptr;
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { code("a.k_proj"); }),
              HasSubstr("quantization_config.global_quant_config: expected an object for module 'a.k_proj'"));
  config["global_quant_config"] = entry(nullptr);
  config["global_quant_config"]["weight"] = {{"dtype", "mx6"}};
  EXPECT_EQ(code("a.k_proj"), ActScheme::Code::none) << "no weight of Quark's";
}

TEST(Quark, WeightsThatAreNotSupportedAreNamed) {
  TensorWriter tensors;
  tensors.add("p.weight", "U8", {2, 32}, std::vector<uint8_t>(64));
  tensors.add("p.weight_scale", "U8", {2, 2}, std::vector<uint8_t>(4, 127));
  CheckpointView view;
  for (const Json& bad : {Json{{"dtype", "mx9"}}, Json{{"dtype", "uint2"}}, group_of("fp4", 64),
                          patched(kInt8, {{"symmetric", false}})}) {
    EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(tensors, config_of(bad), 2, 64, view); }),
                AllOf(HasSubstr("global_quant_config.weight: " + bad["dtype"].get<std::string>()),
                      HasSubstr("is not supported (module 'p')")));
  }
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(tensors, config_of(nullptr), 2, 64, view); }),
              HasSubstr("global_quant_config: no settings for the weight of 'p', which is quantized"));
  tensors.add("p.weight_scale", "U8", {2, 3}, std::vector<uint8_t>(6, 127));
  EXPECT_THAT(
      testing::failure_of(ErrorKind::model, [&] { planned(tensors, config_of(group_of("fp4", 32)), 2, 64, view); }),
      AllOf(HasSubstr("'p.weight_scale'"), HasSubstr("got [2, 3]")));
}

}  // namespace
}  // namespace packhorse
