#include <gmock/gmock.h>

#include <random>

#include "base/half.h"
#include "codec/tables.h"
#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

Encoding encoding_of(const char* fixture, const char* part = "model.layers.0.self_attn.q_proj") {
  const CheckpointView view = open_checkpoint(testing::fixture(fixture).string());
  return plan_weight(view, module_of(part, 256, 256), {}, true).encoding;
}

TEST(Torchao, EncodingsOfTheFixtures) {
  if (testing::fixture("torchao-8da4w").empty()) GTEST_SKIP() << "the fixtures are absent";
  EXPECT_EQ(encoding_of("torchao-8da4w").act,
            (ActScheme{.code = ActScheme::Code::int8, .symmetric = false, .divisor = 255, .smallest = 0x1p-23f}));
  EXPECT_EQ(encoding_of("torchao-int8dyn").act,
            (ActScheme{.code = ActScheme::Code::int8, .divisor = 127.5f, .smallest = 0x1p-23f}));
  EXPECT_EQ(encoding_of("torchao-float8dyn").act, (ActScheme{.code = ActScheme::Code::fp8, .divisor = 448}));
  EXPECT_EQ(encoding_of("torchao-float8wo").act, ActScheme{});
  const Encoding plain{.element = Element::integer,
                       .bits = 8,
                       .offset = 128,
                       .grouping = {GroupKind::along_k, 64},
                       .scale = ScaleType::f32};
  EXPECT_EQ(encoding_of("torchao-int8wo-g64"), plain) << "zero points that are all 0 are none";
}

Json name_of(const char* type, const char* value) { return {{"_type", type}, {"_data", value}}; }

/// A weight as a class would leave it.
struct Written {
  int64_t n = 0, k = 0;
  std::string type = {};
  Json attributes = Json::object();
  testing::TensorWriter tensors = {};
  std::vector<float> values = {};
  bool has_metadata = true;
};

CheckpointView open(const Written& written) {
  const testing::TempDir dir;
  const Json text = {{"_type", written.type}, {"_data", written.attributes}};
  Json metadata = {{"format", "pt"}};
  if (written.has_metadata) metadata["p.weight"] = text.dump();
  CheckpointView view = written.tensors.open(dir, {{"quant_method", "torchao"}});
  view.file_metadata.assign(view.files.size(), metadata);
  return view;
}

WeightPlan expect_read(const Written& written) {
  const CheckpointView view = open(written);
  WeightPlan plan = plan_weight(view, module_of("p", written.n, written.k), {}, true);
  EXPECT_EQ(testing::decoded_rows(plan, 0, written.n), written.values) << describe(plan.encoding);
  testing::expect_any_read_order(plan);
  plan.read = {};  // of the view
  return plan;
}

std::string failure_of(const Written& written) {
  return testing::failure_of(ErrorKind::model, [&] {
    const CheckpointView view = open(written);
    RowBlock rows;
    plan_weight(view, module_of("p", written.n, written.k), {}, true).read(0, written.n, rows);
  });
}

std::mt19937& random_source() {
  static std::mt19937 random(7);
  return random;
}
int below(int limit) { return static_cast<int>(random_source()() % static_cast<uint32_t>(limit)); }
float any_scale() { return bf16_to_f32(f32_to_bf16(static_cast<float>(below(1000) + 1) / 512)); }
std::vector<uint16_t> as_bf16(const std::vector<float>& values) {
  std::vector<uint16_t> out;
  for (const float f : values) out.push_back(f32_to_bf16(f));
  return out;
}

/// tinygemm's tiles, from the published index rule: walks over words and half bytes.
Written write_tiles(int64_t n, int64_t k, int64_t group, int64_t words) {
  Written out{.n = n, .k = k, .type = "Int4TilePackedTo4dTensor"};
  const int64_t n_padded = (n + 7) / 8 * 8, k_padded = (k + 1023) / 1024 * 1024, k_tile = 32 * words;
  const int64_t groups = k_padded / group;
  std::vector<int> codes(static_cast<size_t>(n_padded * k_padded));
  for (int& code : codes) code = below(16);
  std::vector<float> pairs(static_cast<size_t>(groups * n_padded * 2));
  for (float& f : pairs) f = any_scale() * (below(2) ? 1 : -1);
  std::vector<uint32_t> packed;
  for (int64_t nt = 0; nt < n_padded / 8; ++nt) {
    for (int64_t kt = 0; kt < k_padded / k_tile; ++kt) {
      for (int64_t t = 0; t < 32; ++t) {
        for (int64_t w = 0; w < words; ++w) {
          uint32_t word = 0;
          for (int64_t p = 0; p < 8; ++p) {
            const int64_t row = 8 * nt + t / 4;
            const int64_t column = k_tile * kt + 32 * w + 2 * (t % 4) + 8 * (p % 2) + 16 * (p % 4 / 2) + p / 4;
            word |= static_cast<uint32_t>(codes[static_cast<size_t>(row * k_padded + column)]) << (4 * p);
          }
          packed.push_back(word);
        }
      }
    }
  }
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < k; ++c) {
      const auto at = static_cast<size_t>((c / group * n_padded + r) * 2);
      out.values.push_back(static_cast<float>(codes[static_cast<size_t>(r * k_padded + c)] - 8) * pairs[at] +
                           pairs[at + 1]);
    }
  }
  out.tensors.add("p._weight_qdata", "I32", {n_padded / 8, k_padded / k_tile, 32, words}, packed);
  out.tensors.add("p._weight_scale_and_zero", "BF16", {groups, n_padded, 2}, as_bf16(pairs));
  out.attributes = {{"block_size", {1, group}}, {"shape", {n, k}}};
  return out;
}

TEST(Torchao, TilesOfTinygemm) {
  for (const int64_t words : {4, 2, 1}) {
    expect_read(write_tiles(16, 1024, 32, words));
    expect_read(write_tiles(21, 576, 64, words));  // both filled up
  }
  Written bad = write_tiles(16, 1024, 32, 4);
  bad.attributes["shape"] = {16, 1000};
  EXPECT_THAT(failure_of(bad), HasSubstr("__metadata__.p.weight.shape: does not fit the model (got [16,1000]"));
  bad = write_tiles(16, 1024, 32, 4);
  bad.attributes["block_size"] = {1, 64};
  EXPECT_THAT(failure_of(bad), AllOf(HasSubstr("'p._weight_qdata': shapes do not fit a matrix [16, 1024] in tiles"),
                                     HasSubstr("scale_and_zero BF16 [32, 16, 2]")));
  bad = write_tiles(16, 1024, 32, 4);
  bad.n = 32;
  bad.attributes.erase("shape");
  EXPECT_THAT(failure_of(bad), HasSubstr("shapes do not fit a matrix [32, 1024]"));
}

/// Scales in tiles of 128 x 4: four columns of 32 rows stand side by side.
std::vector<uint8_t> swizzled(const std::vector<uint8_t>& scales, int64_t n, int64_t groups) {
  std::vector<uint8_t> out;
  for (int64_t row_tile = 0; row_tile * 128 < n; ++row_tile) {
    for (int64_t group_tile = 0; group_tile * 4 < groups; ++group_tile) {
      for (int64_t line = 0; line < 32; ++line) {
        for (int64_t i = 0; i < 16; ++i) {
          const int64_t row = row_tile * 128 + i / 4 * 32 + line, group = group_tile * 4 + i % 4;
          out.push_back(row < n && group < groups ? scales[static_cast<size_t>(row * groups + group)] : 0);
        }
      }
    }
  }
  return out;
}

float e2m1(int code) {
  static constexpr float kMagnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return code & 8 ? -kMagnitudes[code & 7] : kMagnitudes[code & 7];
}

/// MXTensor or NVFP4Tensor of any element.
Written write_blocks(int64_t n, int64_t k, const char* element, int bits, bool nv, bool is_swizzled,
                     const std::function<float(int)>& value) {
  Written out{.n = n, .k = k, .type = nv ? "NVFP4Tensor" : "MXTensor"};
  const int64_t group = nv ? 16 : 32, groups = (k + group - 1) / group;
  const float outer = nv ? 0.0123f : 1;
  std::vector<uint8_t> scales, data(static_cast<size_t>(bits == 4 ? n * k / 2 : n * k));
  for (int64_t i = 0; i < n * groups; ++i)
    scales.push_back(static_cast<uint8_t>(nv ? below(120) + 1 : 110 + below(30)));
  for (int64_t i = 0; i < n * k; ++i) {
    int code = below(1 << bits);
    if (bits == 8 && (code & 0x7f) >= 0x7c) code = 0;
    if (bits == 4)
      data[static_cast<size_t>(i / 2)] |= static_cast<uint8_t>(code << (i % 2 * 4));
    else
      data[static_cast<size_t>(i)] = static_cast<uint8_t>(code);
    const uint8_t scale = scales[static_cast<size_t>(i / k * groups + i % k / group)];
    const float product = value(code) * (nv ? e4m3_to_f32(scale) : e8m0_to_f32(scale));
    out.values.push_back(nv ? product * outer : product);
  }
  const bool fp8 = std::string(element).starts_with("float8");
  out.tensors.add("p._weight_qdata", fp8 ? (std::string(element) == "float8_e5m2" ? "F8_E5M2" : "F8_E4M3") : "U8",
                  {n, bits == 4 ? k / 2 : k}, data);
  const std::vector<uint8_t> stored = is_swizzled ? swizzled(scales, n, groups) : scales;
  if (is_swizzled)
    out.tensors.add("p._weight_scale", nv ? "F8_E4M3" : "F8_E8M0", {static_cast<int64_t>(stored.size())}, stored);
  else
    out.tensors.add("p._weight_scale", nv ? "F8_E4M3" : "U8", {n, groups}, stored);
  if (nv) out.tensors.add("p._weight_per_tensor_scale", "F32", {}, std::vector<float>{outer});
  out.attributes = {{"block_size", group}, {"is_swizzled_scales", is_swizzled}, {"act_quant_kwargs", nullptr}};
  if (!nv) out.attributes["elem_dtype"] = name_of("torch.dtype", element);
  return out;
}

TEST(Torchao, MxOfEveryElement) {
  for (const bool is_swizzled : {false, true}) {
    expect_read(write_blocks(37, 160, "float4_e2m1fn_x2", 4, false, is_swizzled, e2m1));
    expect_read(write_blocks(130, 64, "float8_e4m3fn", 8, false, is_swizzled,
                             [](int c) { return e4m3_to_f32(static_cast<uint8_t>(c)); }));
    expect_read(write_blocks(5, 64, "float8_e5m2", 8, false, is_swizzled,
                             [](int c) { return f16_to_f32(static_cast<uint16_t>(c << 8)); }));
    expect_read(
        write_blocks(5, 64, "fp6_e2m3", 6, false, is_swizzled, [](int c) { return minifloat_value(kE2M3, c); }));
    expect_read(
        write_blocks(5, 64, "fp6_e3m2", 6, false, is_swizzled, [](int c) { return minifloat_value(kE3M2, c); }));
  }
}

TEST(Torchao, Nvfp4WithScalesInTiles) {
  for (const bool is_swizzled : {false, true}) {
    const WeightPlan plan = expect_read(write_blocks(300, 144, "", 4, true, is_swizzled, e2m1));
    EXPECT_EQ(plan.encoding.table, &kE2M1);
    EXPECT_EQ(plan.encoding.outer, Outer::multiply);
  }
  Written bad = write_blocks(130, 64, "", 4, true, true, e2m1);
  bad.tensors.add("p._weight_scale", "F8_E4M3", {130, 4}, std::vector<uint8_t>(520, 8));
  EXPECT_THAT(failure_of(bad), HasSubstr("does not fit 130 rows of 4 groups in tiles (got [130, 4], expected 1024"));
}

Written write_float8(int64_t n, int64_t k, int64_t block_rows, int64_t block_columns) {
  Written out{.n = n, .k = k, .type = "Float8Tensor"};
  const int64_t rows = (n + block_rows - 1) / block_rows, groups = (k + block_columns - 1) / block_columns;
  std::vector<float> scales(static_cast<size_t>(rows * groups));
  for (float& s : scales) s = static_cast<float>(below(1000) + 1) / 777;
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < n * k; ++i) {
    codes.push_back(static_cast<uint8_t>(below(127) | below(2) << 7));
    out.values.push_back(e4m3_to_f32(codes.back()) *
                         scales[static_cast<size_t>(i / k / block_rows * groups + i % k / block_columns)]);
  }
  out.tensors.add("p._weight_qdata", "F8_E4M3", {n, k}, codes);
  out.tensors.add("p._weight_scale", "F32", {rows, groups}, scales);
  out.attributes = {{"block_size", {block_rows, block_columns}}, {"act_quant_kwargs", nullptr}};
  return out;
}

TEST(Torchao, Float8PerTensorRowAndBlock) {
  expect_read(write_float8(9, 64, 1, 64));
  expect_read(write_float8(9, 64, 9, 64));
  expect_read(write_float8(300, 320, 128, 128));
}

TEST(Torchao, ActivationsOfFloat8) {
  Written written = write_float8(8, 256, 1, 256);
  const auto with = [&](const Json& kwargs) {
    written.attributes["act_quant_kwargs"] = {{"_type", "QuantizeTensorToFloat8Kwargs"}, {"_data", kwargs}};
    return expect_read(written).encoding.act;
  };
  const ActScheme fp8{.code = ActScheme::Code::fp8, .divisor = 448};
  EXPECT_EQ(with({{"granularity", {{"_type", "PerTensor"}, {"_data", Json::object()}}}}), fp8);
  ActScheme bounded = fp8;
  bounded.limit = 1200, bounded.smallest = 0.5f / 448;
  EXPECT_EQ(with({{"hp_value_ub", 1200}, {"hp_value_lb", 0.5}}), bounded);
  ActScheme grouped = fp8;
  grouped.group = 128;
  EXPECT_EQ(with({{"granularity", {{"_type", "PerBlock"}, {"_data", {{"block_size", {1, 128}}}}}}}), grouped);

  written.attributes["act_quant_kwargs"]["_data"] = {{"granularity", {{"_type", "PerAxis"}}}};
  EXPECT_THAT(failure_of(written), HasSubstr("act_quant_kwargs.granularity: cannot be held (got \"PerAxis\")"));
  written.attributes["act_quant_kwargs"] = {{"_type", "QuantizeSomehow"}};
  EXPECT_THAT(failure_of(written),
              HasSubstr("act_quant_kwargs: a class that cannot be read (got \"QuantizeSomehow\")"));
}

TEST(Torchao, ActivationsOfMxAndNvfp4) {
  Written mx = write_blocks(8, 64, "float4_e2m1fn_x2", 4, false, false, e2m1);
  const auto with = [&](const char* element, const char* mode) {
    mx.attributes["act_quant_kwargs"] = {{"_type", "QuantizeTensorToMXKwargs"},
                                         {"_data",
                                          {{"elem_dtype", name_of("torch.dtype", element)},
                                           {"block_size", 32},
                                           {"scaling_mode", name_of("ScaleCalculationMode", mode)}}}};
    return expect_read(mx).encoding.act;
  };
  using Scale = ActScheme::Scale;
  EXPECT_EQ(
      with("float8_e4m3fn", "RCEIL"),
      (ActScheme{.code = ActScheme::Code::fp8, .scale = Scale::power_ceil, .group = 32, .shift = 8, .divisor = 448}));
  EXPECT_EQ(
      with("float4_e2m1fn_x2", "FLOOR"),
      (ActScheme{.code = ActScheme::Code::e2m1, .scale = Scale::power_floor, .group = 32, .shift = 2, .divisor = 6}));
  EXPECT_EQ(with("float4_e2m1fn_x2", "EVEN").scale, Scale::power_even);
  mx.attributes["act_quant_kwargs"]["_data"]["scaling_mode"] = "CEIL";
  EXPECT_THAT(failure_of(mx), HasSubstr("scaling_mode: cannot be held (got 'CEIL')"));

  Written nv = write_blocks(8, 64, "", 4, true, false, e2m1);
  nv.attributes["act_quant_kwargs"] = {{"_type", "QuantizeTensorToNVFP4Kwargs"}, {"_data", Json::object()}};
  nv.tensors.add("p._weight_act_per_tensor_scale", "F32", {}, std::vector<float>{0.25f});
  const WeightPlan plan = expect_read(nv);
  EXPECT_EQ(plan.encoding.act,
            (ActScheme{.code = ActScheme::Code::e2m1, .scale = Scale::nvfp4, .group = 16, .divisor = 6}));
  EXPECT_EQ(plan.input.act_scale, 0.25f);
}

/// I8 codes of `bits` with zero points of either kind.
Written write_bytes(int64_t n, int64_t k, int64_t block_rows, int64_t group, int bits, const char* zero_type) {
  Written out{.n = n, .k = k, .type = bits == 8 ? "Int8Tensor" : "IntxUnpackedToInt8Tensor"};
  const int64_t rows = (n + block_rows - 1) / block_rows, groups = (k + group - 1) / group;
  const int middle = 1 << (bits - 1);
  std::vector<float> scales(static_cast<size_t>(rows * groups)), zeros(scales.size());
  const bool float_zeros = std::string(zero_type) == "F32";
  for (float& s : scales) s = any_scale();
  for (float& z : zeros) z = static_cast<float>(below(2 * middle) - middle) + (float_zeros ? 0.25f : 0);
  std::vector<int8_t> codes;
  for (int64_t i = 0; i < n * k; ++i) {
    codes.push_back(static_cast<int8_t>(below(2 * middle) - middle));
    const auto at = static_cast<size_t>(i / k / block_rows * groups + i % k / group);
    out.values.push_back((static_cast<float>(codes.back()) - zeros[at]) * scales[at]);
  }
  out.tensors.add("p._weight_qdata", "I8", {n, k}, codes);
  out.tensors.add("p._weight_scale", "F32", {rows, groups}, scales);
  if (float_zeros)
    out.tensors.add("p._weight_zero_point", "F32", {rows, groups}, zeros);
  else
    out.tensors.add("p._weight_zero_point", "I8", {rows, groups}, std::vector<int8_t>(zeros.begin(), zeros.end()));
  out.attributes = {{"block_size", {block_rows, group}}};
  if (bits < 8) out.attributes["target_dtype"] = name_of("torch.dtype", fmt::format("int{}", bits).c_str());
  return out;
}

TEST(Torchao, IntegersWithZeroPoints) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (const char* type : {"I8", "F32"}) {
      const WeightPlan plan = expect_read(write_bytes(21, 192, 1, 64, bits, type));
      EXPECT_EQ(plan.encoding.bits, bits);
      EXPECT_EQ(plan.encoding.zero, std::string(type) == "I8" ? ScaleType::u8 : ScaleType::f32);
    }
  }
  expect_read(write_bytes(21, 192, 21, 192, 8, "I8"));
  expect_read(write_bytes(7, 72, 1, 72, 4, "I8"));
}

TEST(Torchao, StaticActivationsAndInputScales) {
  Written written = write_bytes(8, 64, 1, 64, 8, "I8");
  written.attributes["act_quant_kwargs"] = {{"_type", "QuantizeTensorToInt8Kwargs"},
                                            {"_data", {{"mapping_type", name_of("MappingType", "ASYMMETRIC")}}}};
  EXPECT_EQ(expect_read(written).encoding.act.divisor, 255);
  written.tensors.add("p._weight_act_quant_scale", "F32", {1, 1}, std::vector<float>{0.5f});
  written.tensors.add("p._weight_act_quant_zero_point", "I8", {1, 1}, std::vector<int8_t>{-7});
  std::vector<float> factors(64);
  for (size_t i = 0; i < factors.size(); ++i) factors[i] = static_cast<float>(i) + 1;
  written.tensors.add("p._weight_act_pre_scale", "F32", {1, 64}, factors);
  const WeightPlan plan = expect_read(written);
  EXPECT_EQ(plan.encoding.act.scale, ActScheme::Scale::fixed);
  EXPECT_EQ(plan.input, (WeightInput{.scale = factors, .order = {}, .act_scale = 0.5f, .act_zero = -7}));
  written.tensors.add("p._weight_act_quant_scale", "F32", {1, 1}, std::vector<float>{0});
  EXPECT_THAT(failure_of(written), HasSubstr("'p._weight_act_quant_scale': not a number above 0 (got 0)"));
}

TEST(Torchao, ClassesAndAttributesThatCannotBeRead) {
  const Written good = write_bytes(8, 64, 1, 64, 8, "I8");
  expect_read(good);
  const auto failure = [&](auto&& change) {
    Written changed = good;
    change(changed);
    return failure_of(changed);
  };
  EXPECT_THAT(failure([](Written& w) { w.type = "Int4PreshuffledTensor"; }),
              HasSubstr("__metadata__.p.weight: _type: a class that cannot be read (got 'Int4PreshuffledTensor'"));
  EXPECT_THAT(failure([](Written& w) { w.has_metadata = false; }),
              HasSubstr("'p._weight_qdata': a flattened tensor without its class (no 'p.weight' in __metadata__)"));
  for (const Json& size : {Json{1, 0}, Json{1, 65}, Json{-1, 64}, Json{1}, Json("64")})
    EXPECT_THAT(failure([&](Written& w) { w.attributes["block_size"] = size; }), HasSubstr("p.weight.block_size: "));
  EXPECT_THAT(failure([](Written& w) {
                w.attributes["block_size"] = {1, 32};
              }),
              HasSubstr("'p._weight_scale': shape does not fit the model (got [8, 1], expected [8, 2]"));
  EXPECT_THAT(failure([](Written& w) { w.tensors.remove("p._weight_scale"); }),
              HasSubstr("missing tensor 'p._weight_scale'"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p._weight_qdata", "U8", {8, 64}, std::vector<uint8_t>(512));
              }),
              HasSubstr("'p._weight_qdata': wrong dtype (got U8, expected I8)"));
  EXPECT_THAT(failure([](Written& w) {
                w.type = "IntxUnpackedToInt8Tensor";
                w.attributes["target_dtype"] = name_of("torch.dtype", "int9");
              }),
              HasSubstr("target_dtype: expected int1 to int8 (got 'int9')"));
  EXPECT_THAT(failure([](Written& w) {
                w.type = "IntxUnpackedToInt8Tensor";
                w.attributes["target_dtype"] = name_of("torch.dtype", "int4");
              }),
              HasSubstr("not a value of 4 bits"));
}

TEST(Torchao, fault_054_scales_and_codes_that_are_no_numbers) {
  Written written = write_float8(4, 64, 1, 64);
  written.tensors.add("p._weight_scale", "F32", {4, 1}, std::vector<float>{1, 1, std::nanf(""), 1});
  EXPECT_THAT(failure_of(written), HasSubstr("row 2, group 0: scale is no number (got nan)"));
  written = write_float8(4, 64, 1, 64);
  std::vector<uint8_t> codes(256, 8);
  codes[70] = 0x7f;
  written.tensors.add("p._weight_qdata", "F8_E4M3", {4, 64}, codes);
  EXPECT_THAT(failure_of(written), HasSubstr("row 1, column 6: no finite number (code 0x7f)"));
}

}  // namespace
}  // namespace packhorse
