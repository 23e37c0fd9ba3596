#include <gmock/gmock.h>

#include <limits>

#include "base/half.h"
#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;
using testing::TensorWriter;

/// Value of an E4M3 code, from its definition: sign, four bits of exponent, three of mantissa.
float e4m3(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const float magnitude = exponent ? std::ldexp(8.0f + static_cast<float>(mantissa), exponent - 10)
                                   : std::ldexp(static_cast<float>(mantissa), -9);
  return code & 0x80 ? -magnitude : magnitude;
}

/// A matrix of codes, all but the two that are no numbers, and the values under a scale for each element.
struct Written {
  int64_t n = 0, k = 0;
  std::vector<uint8_t> codes = {};
  TensorWriter tensors = {};

  Written(int64_t rows, int64_t columns) : n(rows), k(columns) {
    for (int64_t i = 0; i < n * k; ++i) {
      const auto code = static_cast<uint8_t>(i * 37 + i / k * 11);
      codes.push_back((code & 0x7f) == 0x7f ? 0x80 : code);
    }
    tensors.add("p.weight", "F8_E4M3", {n, k}, codes);
  }
  template <class Scale>
  std::vector<float> values(Scale&& scale) const {
    std::vector<float> out;
    for (int64_t i = 0; i < n * k; ++i) out.push_back(e4m3(codes[static_cast<size_t>(i)]) * scale(i / k, i % k));
    return out;
  }
};

WeightPlan planned(const Written& written, const Json& config, CheckpointView& view) {
  const testing::TempDir dir;
  view = written.tensors.open(dir, config);
  return plan_weight(view, module_of("p", written.n, written.k), {}, true);
}

/// What the file means is `values`, in any order of reading.
Encoding expect_read(const Written& written, const Json& config, const std::vector<float>& values) {
  CheckpointView view;
  const WeightPlan plan = planned(written, config, view);
  EXPECT_EQ(testing::decoded_rows(plan, 0, written.n), values) << describe(plan.encoding);
  testing::expect_any_read_order(plan);
  return plan.encoding;
}

const Json kDynamic = {{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}};
const Json kBlocks = {{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}, {"weight_block_size", {128, 128}}};
const ActScheme kPerToken{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::max, .divisor = 448};

TEST(Fp8, OneScaleForTheMatrixOrForEachRow) {
  Written one(5, 72);
  one.tensors.add("p.weight_scale", "BF16", {1}, std::vector<uint16_t>{f32_to_bf16(0.375f)});
  const Encoding encoding = expect_read(one, kDynamic, one.values([](auto, auto) { return 0.375f; }));
  EXPECT_EQ(encoding, (Encoding{.element = Element::minifloat,
                                .bits = 8,
                                .mantissa = 3,
                                .bias = 7,
                                .grouping = {GroupKind::row, 0},
                                .scale = ScaleType::f32,
                                .act = kPerToken}));

  Written rows(5, 72);
  rows.tensors.add("p.weight_scale", "F32", {5, 1}, std::vector<float>{1, 0.3f, 1e-4f, 7, 0.1f});
  const float scales[] = {1, 0.3f, 1e-4f, 7, 0.1f};
  EXPECT_EQ(expect_read(rows, kDynamic, rows.values([&](int64_t r, auto) { return scales[r]; })), encoding);
}

TEST(Fp8, BlocksAtTheEdgesAreCut) {
  for (const auto& [n, k] : {std::pair{130, 576}, {128, 128}, {64, 100}, {257, 72}, {1, 129}}) {
    Written written(n, k);
    const int64_t block_rows = (n + 127) / 128, block_columns = (k + 127) / 128;
    std::vector<float> scales;
    for (int64_t i = 0; i < block_rows * block_columns; ++i) scales.push_back(0.01f + 0.3f * static_cast<float>(i));
    written.tensors.add("p.weight_scale_inv", "F32", {block_rows, block_columns}, scales);
    const Encoding encoding = expect_read(written, kBlocks, written.values([&](int64_t r, int64_t c) {
      return scales[static_cast<size_t>(r / 128 * block_columns + c / 128)];
    }));
    EXPECT_EQ(encoding.grouping, (Grouping{GroupKind::along_k, 128}));
    EXPECT_EQ(encoding.act.group, 128);
    EXPECT_EQ(encoding.act.scale, ActScheme::Scale::max);
  }
}

TEST(Fp8, BlocksOfOtherSizesAndNames) {
  Written written(6, 96);
  const std::vector<float> scales = {1, 2, 3, 4, 5, 6};
  written.tensors.add("p.weight_scale", "F32", {2, 3}, scales);
  Json config = kBlocks;
  config["weight_block_size"] = {4, 32};
  const Encoding encoding = expect_read(written, config, written.values([&](int64_t r, int64_t c) {
    return scales[static_cast<size_t>(r / 4 * 3 + c / 32)];
  }));
  EXPECT_EQ(encoding.grouping, (Grouping{GroupKind::along_k, 32}));
  EXPECT_EQ(encoding.act.group, 32);
}

TEST(Fp8, BlocksWithoutTheirSizeQuantizeInputsInGroups) {
  Written written(130, 300);
  written.tensors.add("p.weight_scale_inv", "F32", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  CheckpointView view;
  EXPECT_EQ(planned(written, kDynamic, view).encoding.act.group, 128);
}

TEST(Fp8, StaticScaleUnderTheNameOfFineGrainedFp8) {
  Written written(4, 64);
  written.tensors.add("p.weight_scale_inv", "BF16", {}, std::vector<uint16_t>{f32_to_bf16(0.375f)});
  written.tensors.add("p.activation_scale", "F32", {}, std::vector<float>{0.0125f});
  const Json config = {
      {"quant_method", "fp8"}, {"activation_scheme", "static"}, {"weight_block_size", nullptr}, {"dequantize", false}};
  CheckpointView view;
  const WeightPlan plan = planned(written, config, view);
  EXPECT_EQ(plan.encoding.act.scale, ActScheme::Scale::fixed);
  EXPECT_EQ(plan.input.act_scale, 0.0125f);
}

TEST(Fp8, PowersOfTwoAsScales) {
  Written written(128, 384);
  // 2^-127, 2^0 and 2^127: the least, one and the largest.
  written.tensors.add("p.weight_scale_inv", "F8_E8M0", {1, 3}, std::vector<uint8_t>{0x00, 127, 0xfe});
  const float scales[] = {0x1p-127f, 1, 0x1p127f};
  Json config = kBlocks;
  config["scale_fmt"] = "ue8m0";
  const Encoding encoding =
      expect_read(written, config, written.values([&](auto, int64_t c) { return scales[c / 128]; }));
  EXPECT_EQ(
      encoding.act,
      (ActScheme{.code = ActScheme::Code::fp8, .scale = ActScheme::Scale::power_ceil, .group = 128, .divisor = 448}));
}

TEST(Fp8, StaticActivationsKeepTheScaleOfTheirModule) {
  Written written(4, 64);
  written.tensors.add("p.weight_scale", "F32", {}, std::vector<float>{0.5f});
  written.tensors.add("p.input_scale", "F32", {1}, std::vector<float>{0.0125f});
  CheckpointView view;
  const WeightPlan plan = planned(written, {{"quant_method", "fp8"}, {"activation_scheme", "static"}}, view);
  EXPECT_EQ(plan.encoding.act.code, ActScheme::Code::fp8);
  EXPECT_EQ(plan.encoding.act.scale, ActScheme::Scale::fixed);
  EXPECT_EQ(plan.input.act_scale, 0.0125f);
  EXPECT_EQ(planned(written, kDynamic, view).encoding.act, kPerToken) << "dynamic though there is a scale";
  EXPECT_EQ(planned(written, nullptr, view).encoding.act.scale, ActScheme::Scale::fixed) << "no settings at all";
  written.tensors.remove("p.input_scale");
  EXPECT_EQ(planned(written, nullptr, view).encoding.act, ActScheme{});
}

TEST(Fp8, ExpertsOfAStackedTensor) {
  Written written(3 * 4, 64);
  TensorWriter tensors;
  tensors.add("p.weight", "F8_E4M3", {3, 4, 64}, written.codes);
  tensors.add("p.weight_scale", "F32", {3}, std::vector<float>{1, 2, 4});
  tensors.add("p.input_scale", "F32", {3, 1}, std::vector<float>{0.5f, 0.25f, 0.125f});
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir, {{"quant_method", "fp8"}, {"activation_scheme", "static"}});
  const std::vector<float> all = written.values([](int64_t r, auto) { return std::exp2(static_cast<float>(r / 4)); });
  for (int64_t e = 0; e < 3; ++e) {
    Module module = module_of("p", 4, 64);
    module.expert = e, module.n_experts = 3;
    const WeightPlan plan = plan_weight(view, module, {}, true);
    EXPECT_EQ(testing::decoded_rows(plan, 0, 4), std::vector(all.begin() + e * 256, all.begin() + (e + 1) * 256));
    EXPECT_EQ(plan.input.act_scale, std::exp2(static_cast<float>(-1 - e)));
  }
}

TEST(FbgemmFp8, RowScalesAndABoundForActivations) {
  Written written(3, 40);
  const std::vector<float> scales = {0.5f, 0.3f, 2e-5f};
  written.tensors.add("p.weight_scale", "F32", {3, 1}, scales);
  written.tensors.add("p.input_scale_ub", "F32", {1}, std::vector<float>{7});
  Json config = {
      {"quant_method", "fbgemm_fp8"}, {"activation_scale_ub", 1200.0}, {"modules_to_not_convert", {"lm_head"}}};
  const Encoding encoding =
      expect_read(written, config, written.values([&](int64_t r, auto) { return scales[static_cast<size_t>(r)]; }));
  ActScheme bounded = kPerToken;
  bounded.limit = 1200;
  EXPECT_EQ(encoding.act, bounded);
  CheckpointView view;
  EXPECT_EQ(plan_quantization((planned(written, config, view), view), {}).description, "fbgemm_fp8 (checkpoint)");
  config.erase("activation_scale_ub");
  EXPECT_EQ(planned(written, config, view).encoding.act, kPerToken);
  for (const Json& bad : {Json(0), Json(-1.5), Json("x")}) {
    config["activation_scale_ub"] = bad;
    EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(written, config, view); }),
                HasSubstr("quantization_config.activation_scale_ub: not a number above 0 (got " + bad.dump()));
  }
}

/// The message about a weight of 4 x 256 with these tensors instead of its own.
template <class Change>
std::string failure(const Json& config, Change&& change) {
  Written written(4, 256);
  written.tensors.add("p.weight_scale", "F32", {}, std::vector<float>{0.5f});
  change(written.tensors);
  CheckpointView view;
  return testing::failure_of(ErrorKind::model, [&] {
    RowBlock rows;
    planned(written, config, view).read(1, 3, rows);
  });
}

TEST(Fp8, fault_054_scales_that_do_not_fit) {
  const auto none = [](TensorWriter&) {};
  EXPECT_THAT(failure(kDynamic, [](auto& t) { t.remove("p.weight_scale"); }),
              HasSubstr("missing tensor 'p.weight_scale'"));
  for (const float bad :
       {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EXPECT_THAT(failure(kDynamic,
                        [bad](auto& t) {
                          t.add("p.weight_scale", "F32", {4}, std::vector<float>{1, 1, 1, bad});
                        }),
                HasSubstr("'p.weight_scale': scale of row 3, group 0: not a number above 0 (got "));
    EXPECT_THAT(failure({{"quant_method", "fp8"}, {"activation_scheme", "static"}},
                        [bad](auto& t) { t.add("p.input_scale", "F32", {}, std::vector<float>{bad}); }),
                HasSubstr("'p.input_scale': not a number above 0"));
  }
  EXPECT_THAT(failure(kDynamic, [](auto& t) { t.add("p.weight_scale", "I32", {}, std::vector<int32_t>{1}); }),
              AllOf(HasSubstr("'p.weight_scale'"), HasSubstr("wrong dtype (got I32")));
  EXPECT_THAT(failure(kDynamic, [](auto& t) { t.add("p.weight_scale", "F32", {5}, std::vector<float>(5, 1)); }),
              AllOf(HasSubstr("'p.weight_scale': shape does not fit the model (got [5], expected [2]")));
  EXPECT_THAT(failure(kBlocks,
                      [](auto& t) {
                        t.add("p.weight_scale_inv", "F32", {1, 3}, std::vector<float>(3, 1));
                      }),
              AllOf(HasSubstr("'p.weight_scale_inv'"), HasSubstr("got [1, 3]")));
  EXPECT_THAT(failure(kBlocks,
                      [](auto& t) {
                        t.add("p.weight_scale_inv", "F8_E8M0", {1, 2}, std::vector<uint8_t>{127, 0xff});
                      }),
              HasSubstr("'p.weight_scale_inv': scale of row 1, group 1: not a number above 0 (got nan)"));
  EXPECT_THAT(failure({{"quant_method", "fp8"}, {"activation_scheme", "static"}}, none),
              HasSubstr("missing tensor 'p.input_scale'"));
  EXPECT_THAT(failure(kDynamic,
                      [](auto& t) {
                        t.add("p.weight", "F8_E4M3", {4, 128}, std::vector<uint8_t>(512));
                      }),
              AllOf(HasSubstr("'p.weight': shape does not fit the model (got [4, 128], expected [4, 256])")));
}

TEST(Fp8, ACodeThatIsNoNumberIsNamed) {
  for (const uint8_t code : {uint8_t{0x7f}, uint8_t{0xff}}) {
    EXPECT_THAT(failure(kDynamic,
                        [code](auto& t) {
                          std::vector<uint8_t> codes(1024, 0x38);
                          codes[2 * 256 + 17] = code;
                          t.add("p.weight", "F8_E4M3", {4, 256}, codes);
                        }),
                AllOf(HasSubstr("'p.weight': row 2, column 17: not a finite number"),
                      HasSubstr(code == 0x7f ? "0x7f" : "0xff")));
  }
}

TEST(Fp8, BadSettingsAreNamed) {
  const auto with = [](const Json& change) {
    Json config = kBlocks;
    config.merge_patch(change);
    return failure(config, [](auto& t) { t.add("p.weight_scale_inv", "F32", {1, 2}, std::vector<float>{1, 1}); });
  };
  EXPECT_THAT(with({{"activation_scheme", "per_token"}}),
              HasSubstr("quantization_config.activation_scheme: not static or dynamic (got 'per_token')"));
  EXPECT_THAT(with({{"activation_scheme", "static"}}), HasSubstr("does not go together with weight_block_size"));
  EXPECT_THAT(with({{"scale_fmt", "e5"}}), HasSubstr("scale_fmt: not float or ue8m0 (got 'e5')"));
  for (const Json& bad : {Json(128), Json({128}), Json({0, 128}), Json({128, -1}), Json({128, 1 << 20}),
                          Json({128, "x"}), Json({1.5, 128}), Json::array({128, 18446744073709551615u})}) {
    EXPECT_THAT(with({{"weight_block_size", bad}}), HasSubstr("weight_block_size: not two whole numbers in 1..32768"));
  }
}

}  // namespace
}  // namespace packhorse
