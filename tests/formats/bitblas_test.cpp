#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "base/half.h"
#include "codec/tables.h"
#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

TEST(Bitblas, NamesOfMethods) {
  const CheckpointView view = open_checkpoint(testing::fixture("bitblas-int2").string());
  for (const char* method : {"bitblas", "gptq_bitblas", "gptq"})
    EXPECT_EQ(plan_quantization(view, {method, "", nullptr}).description, "bitblas (checkpoint)") << method;
}

enum class Order { plain, half, bytes };
enum class Zeros { none, quantized, original, rescale };

/// How to write a weight, and what is there beside it.
struct Written {
  std::string w_dtype = "int4";
  int64_t n = 0, k = 0, group = 0;  // 0 = one group per row
  Zeros zeros = Zeros::none;
  bool whole_zeros = true;
  Order order = Order::half;
  const char* zeros_name = "zeros";
  int64_t n_experts = 0;  // > 0: the rows are those of a stacked tensor
  Json config = {{"quant_method", "bitblas"}, {"checkpoint_format", "bitblas"}};
  std::vector<float> values = {};  // [n, k]
  testing::TensorWriter tensors = {};
};

int bits_of(const std::string& w_dtype) {
  if (w_dtype == "nf4" || w_dtype == "fp4_e2m1") return 4;
  return w_dtype.find("float8") != w_dtype.npos ? 8 : w_dtype.back() - '0';
}

/// The value of a stored code.
float value_of(const std::string& w_dtype, int code) {
  if (w_dtype == "int1") return code ? 1 : -1;
  if (w_dtype == "int2") return static_cast<float>(code - 2);
  if (w_dtype == "int4") return static_cast<float>(code - 8);
  if (w_dtype == "int8") return static_cast<float>(code < 128 ? code : code - 256);
  if (w_dtype == "nf4") return kNf4.values[code];
  if (w_dtype == "fp4_e2m1")
    return (code & 8 ? -1.0f : 1.0f) * (code & 7 ? std::exp2(static_cast<float>(code & 7) - 7) : 0.0f);
  if (w_dtype == "e5m2_float8") return f16_to_f32(static_cast<uint16_t>(code << 8));
  if (w_dtype == "e4m3_float8") return e4m3_to_f32(static_cast<uint8_t>(code));
  return static_cast<float>(code);
}

/// Bit of the row at which code k begins, by the published positions.
int64_t bit_of(int64_t k, int bits, Order order) {
  static constexpr int kHalf[] = {0, 4, 1, 5, 2, 6, 3, 7};
  static constexpr int kByte1[] = {0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15};
  int64_t field = k;
  if (order == Order::half && bits < 8) field = k / 8 * 8 + kHalf[k % 8];
  if (order == Order::bytes && bits == 2) field = k / 16 * 16 + k % 16 % 4 * 4 + k % 16 / 4;
  if (order == Order::bytes && bits == 1) field = k / 16 * 16 + kByte1[k % 16];
  return field * bits;
}

Written write(Written out) {
  const int bits = bits_of(out.w_dtype);
  std::mt19937 random(static_cast<uint32_t>(bits * 1000 + out.n * 7 + out.k));
  const int64_t groups = out.group ? (out.k + out.group - 1) / out.group : 1, row_bytes = out.k * bits / 8;
  const auto below = [&](int limit) { return static_cast<int>(random() % static_cast<uint32_t>(limit)); };
  const bool half = out.order != Order::plain;  // of the scales
  const auto stored = [&](float f) { return half ? f32_to_f16(f) : f32_to_bf16(f); };
  const auto loaded = [&](uint16_t h) { return half ? f16_to_f32(h) : bf16_to_f32(h); };
  std::vector<uint16_t> scales, float_zeros;
  std::vector<int> zeros;
  for (int64_t i = 0; i < out.n * groups; ++i) {
    scales.push_back(stored(static_cast<float>(below(1000) - 300) / 512));
    zeros.push_back(below(1 << bits));
    const float zero = static_cast<float>(zeros.back()) + (out.whole_zeros ? 0 : 0.5f);
    float_zeros.push_back(stored(out.zeros == Zeros::rescale ? zero * loaded(scales.back()) : zero));
  }
  std::vector<uint8_t> packed(static_cast<size_t>(out.n * row_bytes));
  for (int64_t r = 0; r < out.n; ++r) {
    for (int64_t k = 0; k < out.k; ++k) {
      int code = below(1 << bits);
      if (out.w_dtype == "e4m3_float8" && (code & 0x7f) == 0x7f) code = 0;
      if (out.w_dtype == "e5m2_float8" && (code & 0x7c) == 0x7c) code = 0;
      const int64_t bit = bit_of(k, bits, out.order);
      packed[static_cast<size_t>(r * row_bytes + bit / 8)] |= static_cast<uint8_t>(code << (bit % 8));
      const auto at = static_cast<size_t>(r * groups + (out.group ? k / out.group : 0));
      const float scale = loaded(scales[at]), value = value_of(out.w_dtype, code), zero = loaded(float_zeros[at]);
      if (out.zeros == Zeros::none) out.values.push_back(value * scale);
      if (out.zeros == Zeros::quantized) out.values.push_back(static_cast<float>(code - zeros[at]) * scale);
      if (out.zeros == Zeros::original) out.values.push_back((value - zero) * scale);
      if (out.zeros == Zeros::rescale) out.values.push_back(std::fma(value, scale, -zero));
    }
  }
  const char* type = half ? "F16" : "BF16";
  const auto shape = [&](int64_t columns) {
    return out.n_experts ? std::vector<int64_t>{out.n_experts, out.n / out.n_experts, columns}
                         : std::vector<int64_t>{out.n, columns};
  };
  out.tensors.add("p.qweight", "I8", shape(row_bytes), packed);
  out.tensors.add("p.scales", type, shape(groups), scales);
  if (out.zeros == Zeros::none) out.tensors.add(std::string("p.") + out.zeros_name, "I8", {0}, std::vector<int8_t>{});
  if (out.zeros == Zeros::original || out.zeros == Zeros::rescale)
    out.tensors.add(std::string("p.") + out.zeros_name, type, shape(groups), float_zeros);
  if (out.zeros == Zeros::quantized) {
    std::vector<uint8_t> bytes(static_cast<size_t>(groups * (out.n * bits / 8)));
    for (int64_t r = 0; r < out.n; ++r) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t bit = r * bits, at = g * (out.n * bits / 8) + bit / 8;
        bytes[static_cast<size_t>(at)] |= static_cast<uint8_t>(zeros[static_cast<size_t>(r * groups + g)] << (bit % 8));
      }
    }
    out.tensors.add(std::string("p.") + out.zeros_name, "I8", {groups, out.n * bits / 8}, bytes);
  }
  static constexpr const char* kModes[] = {"", "quantized", "original", "rescale"};
  out.config["bits"] = bits;
  out.config["sym"] = out.zeros == Zeros::none;
  out.config["group_size"] = out.group ? out.group : -1;
  out.config["W_dtype"] = out.w_dtype;
  if (out.zeros != Zeros::none) out.config["zeros_mode"] = kModes[static_cast<int>(out.zeros)];
  if (out.order == Order::bytes) out.config["A_dtype"] = "int8";
  return out;
}

WeightPlan planned(const Written& written, CheckpointView& view) {
  const testing::TempDir dir;
  view = written.tensors.open(dir, written.config);
  return plan_weight(view, module_of("p", written.n, written.k), {}, true);
}

Encoding expect_read(const Written& written) {
  CheckpointView view;
  const WeightPlan plan = planned(written, view);
  EXPECT_EQ(testing::decoded_rows(plan, 0, written.n), written.values)
      << written.config.dump() << ": " << describe(plan.encoding);
  testing::expect_any_read_order(plan);
  return plan.encoding;
}

std::string failure_of(const Written& written) {
  CheckpointView view;
  return testing::failure_of(ErrorKind::model, [&] { planned(written, view); });
}

TEST(Bitblas, EveryWeightTypeInBothOrders) {
  for (const char* type : {"int1", "int2", "int4", "int8", "uint1", "uint2", "uint4", "uint8", "nf4", "fp4_e2m1",
                           "e4m3_float8", "e5m2_float8"}) {
    for (const Order order : {Order::half, Order::plain}) {
      const Encoding encoding = expect_read(write({.w_dtype = type, .n = 21, .k = 192, .group = 64, .order = order}));
      EXPECT_EQ(encoding.scale, order == Order::half ? ScaleType::f16 : ScaleType::bf16) << type;
      expect_read(write({.w_dtype = type, .n = 5, .k = 72, .order = order}));
    }
  }
}

TEST(Bitblas, EncodingsAreThoseOfTheKernels) {
  const auto of = [](const char* type) { return expect_read(write({.w_dtype = type, .n = 8, .k = 64})); };
  EXPECT_EQ(of("int1").table, &kSign);
  EXPECT_EQ(of("nf4").table, &kNf4);
  EXPECT_EQ(of("fp4_e2m1").table, &kFp4Powers);
  EXPECT_EQ(of("int4"), (Encoding{.element = Element::integer,
                                  .bits = 4,
                                  .offset = 8,
                                  .grouping = {GroupKind::row, 0},
                                  .scale = ScaleType::f16}));
}

TEST(Bitblas, EveryZerosMode) {
  for (const char* type : {"uint1", "uint2", "uint4", "uint8"}) {
    for (const Zeros zeros : {Zeros::quantized, Zeros::original, Zeros::rescale}) {
      for (const Order order : {Order::half, Order::plain}) {
        for (const bool whole : {true, false}) {
          if (!whole && zeros == Zeros::quantized) continue;
          Written written = write({.w_dtype = type,
                                   .n = 24,
                                   .k = 160,
                                   .group = 64,
                                   .zeros = zeros,
                                   .whole_zeros = whole,
                                   .order = order,
                                   .zeros_name = whole ? "zeros" : "qzeros"});
          const Encoding encoding = expect_read(written);
          EXPECT_EQ(encoding.min != ScaleType::none, zeros == Zeros::rescale);
          EXPECT_EQ(encoding.zero == ScaleType::u8, zeros != Zeros::rescale && whole);
          // The mode shows in the tensor too, unless zero points that are no whole numbers stand unscaled.
          written.config.erase("zeros_mode");
          if (zeros != Zeros::original || whole) expect_read(written);
          written.config.erase("W_dtype");
          if (zeros != Zeros::original || whole) expect_read(written);
        }
      }
    }
  }
  expect_read(write({.w_dtype = "int4", .n = 8, .k = 64, .zeros = Zeros::original}));
}

TEST(Bitblas, SymmetricWithoutWeightType) {
  for (const char* type : {"int1", "int2", "int4"}) {
    Written written = write({.w_dtype = type, .n = 8, .k = 128, .group = 32});
    written.config.erase("W_dtype");
    expect_read(written);
    written.config.erase("sym");  // empty zero points say so too
    expect_read(written);
    written.tensors.remove("p.zeros");
    expect_read(written);
    written.tensors.add("p.zeros", "I8", {4, 1}, std::vector<int8_t>(4, 7));
    written.config["sym"] = true;  // what stands there is not used
    expect_read(written);
  }
}

TEST(Bitblas, BytesOfEightBitsShowTheirSign) {
  for (const bool is_signed : {true, false}) {
    Written written = write({.w_dtype = "int8", .n = 16, .k = 64});
    written.config.erase("W_dtype");
    std::vector<uint8_t> bytes;
    std::vector<float> values;
    for (int i = 0; i < 16 * 64; ++i) {
      const int value = i % 61 - 30;
      bytes.push_back(static_cast<uint8_t>(is_signed ? value : value + 128));
      values.push_back(static_cast<float>(value));
    }
    written.tensors.add("p.qweight", "I8", {16, 64}, bytes);
    written.tensors.add("p.scales", "F16", {16, 1}, std::vector<uint16_t>(16, f32_to_f16(1)));
    written.values = values;
    expect_read(written);
  }
}

TEST(Bitblas, ActivationsOfOtherTypes) {
  for (const char* type : {"int1", "int2", "int4", "int8", "uint1", "uint2", "uint4"}) {
    Order order = bits_of(type) < 4 ? Order::bytes : Order::plain;
    Written written = write({.w_dtype = type, .n = 8, .k = 96, .order = Order::bytes});
    EXPECT_EQ(expect_read(written).act,
              (ActScheme{.code = ActScheme::Code::int8, .divisor = 127, .smallest = 1e-5f / 127}))
        << static_cast<int>(order);
  }
  Written written = write({.w_dtype = "e4m3_float8", .n = 8, .k = 64});
  written.config["A_dtype"] = "e4m3_float8";
  EXPECT_EQ(expect_read(written).act.code, ActScheme::Code::fp8);
  written.config["A_dtype"] = "bfloat16";
  EXPECT_EQ(expect_read(written).act.code, ActScheme::Code::none);
  written.config["A_dtype"] = "int8";
  EXPECT_THAT(failure_of(written), HasSubstr("A_dtype: BitBLAS has no int8 activations for W_dtype e4m3_float8"));
  written = write({.w_dtype = "int2", .n = 8, .k = 64, .order = Order::plain});
  written.config["A_dtype"] = "int4";
  EXPECT_EQ(expect_read(written).act.code, ActScheme::Code::int4);
  written = write({.w_dtype = "e5m2_float8", .n = 8, .k = 64});
  written.config["A_dtype"] = "e5m2_float8";
  EXPECT_EQ(expect_read(written).act.code, ActScheme::Code::fp8_e5m2);
}

TEST(Bitblas, RowsOfAnotherOrder) {
  for (const Zeros zeros : {Zeros::quantized, Zeros::original, Zeros::rescale}) {
    const Written written = write({.w_dtype = "uint4", .n = 16, .k = 96, .group = 32, .zeros = zeros});
    const testing::TempDir dir;
    const CheckpointView view = written.tensors.open(dir, written.config);
    Module module = module_of("p", 16, 96);
    module.source_row = [](int64_t r) { return r % 2 ? r : 14 - r; };
    const std::vector<float> rows = testing::decoded_rows(plan_weight(view, module, {}, true), 0, 16);
    for (int64_t r = 0; r < 16; ++r) {
      EXPECT_TRUE(std::equal(rows.begin() + r * 96, rows.begin() + (r + 1) * 96,
                             written.values.begin() + module.source_row(r) * 96))
          << r;
    }
  }
}

TEST(Bitblas, ExpertsOfAStackedTensor) {
  const Written written =
      write({.w_dtype = "uint4", .n = 24, .k = 96, .group = 32, .zeros = Zeros::original, .n_experts = 3});
  const testing::TempDir dir;
  const CheckpointView view = written.tensors.open(dir, written.config);
  for (int64_t expert = 0; expert < 3; ++expert) {
    Module module = module_of("p", 8, 96);
    module.n_experts = 3;
    module.expert = expert;
    const std::vector<float> rows = testing::decoded_rows(plan_weight(view, module, {}, true), 0, 8);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), written.values.begin() + expert * 8 * 96)) << expert;
  }
}

TEST(Bitblas, SettingsThatMarkACheckpoint) {
  Written written = write({.n = 8, .k = 64});
  const auto described = [&](const Json& config) {
    const testing::TempDir dir;
    return plan_quantization(written.tensors.open(dir, config), {}).description;
  };
  EXPECT_EQ(described({{"quant_method", "bitblas"}, {"bits", 4}}), "bitblas (checkpoint)");
  EXPECT_EQ(described({{"quant_method", "gptq_bitblas"}, {"bits", 4}}), "bitblas (checkpoint)");
  EXPECT_EQ(described({{"quant_method", "gptq"}, {"checkpoint_format", "bitblas"}}), "bitblas (checkpoint)");
  EXPECT_EQ(described({{"quant_method", "gptq"}, {"is_bitblas_format", true}}), "bitblas (checkpoint)");
  EXPECT_EQ(described({{"bits", 4}, {"checkpoint_format", "bitblas"}}), "bitblas (checkpoint)");
}

TEST(Bitblas, WidthsOfTheirOwn) {
  Written written = write({.w_dtype = "int2", .n = 8, .k = 64});
  written.config.erase("W_dtype");
  written.config["bits"] = 4;
  EXPECT_THAT(failure_of(written), AllOf(HasSubstr("[8, 64] of 4 bits"), HasSubstr("qweight [8, 16]")));
  written.config["dynamic"] = {{".*down.*", {{"bits", 2}}}};
  expect_read(written);
}

TEST(Bitblas, fault_050_settings_out_of_range) {
  const Written good = write({.n = 16, .k = 256, .group = 64});
  expect_read(good);
  const auto failure = [&](const char* key, const Json& value) {
    Written changed = good;
    changed.config.erase("W_dtype");
    changed.config[key] = value;
    return failure_of(changed);
  };
  for (const Json& bits : {Json(0), Json(3.5), Json(17)})
    EXPECT_THAT(failure("bits", bits), HasSubstr("quantization_config.bits: not a whole number in 1..8"));
  EXPECT_THAT(failure("bits", 3), HasSubstr("quantization_config.bits: BitBLAS packs 1, 2, 4 or 8 (got 3)"));
  for (const Json& size : {Json(0), Json(-2), Json(1.5)})
    EXPECT_THAT(failure("group_size", size), HasSubstr("quantization_config.group_size: not a whole number"));
  EXPECT_THAT(failure("group_size", 128), AllOf(HasSubstr("groups of 128"), HasSubstr("scales [16, 4]")));
  EXPECT_THAT(failure("group_size", -1), HasSubstr("scales [16, 4]"));
  EXPECT_THAT(failure("W_dtype", "int3"), HasSubstr("W_dtype: not a type of BitBLAS that can be read (got 'int3'"));
  EXPECT_THAT(failure("A_dtype", "int2"), HasSubstr("A_dtype: not a type of BitBLAS that can be read (got 'int2'"));
  EXPECT_THAT(failure("sym", 1), HasSubstr("sym: expected true or false (got 1)"));
}

TEST(Bitblas, fault_052_tensors_that_do_not_fit) {
  const Written good = write({.w_dtype = "uint4", .n = 16, .k = 256, .group = 64, .zeros = Zeros::quantized});
  expect_read(good);
  const auto failure = [&](auto&& change) {
    Written changed = good;
    change(changed);
    return failure_of(changed);
  };
  const auto shapes = [](const char* codes, const char* scales, const char* zeros) {
    return AllOf(HasSubstr("tensor 'p.qweight': shapes do not fit a matrix [16, 256] of "),
                 HasSubstr(fmt::format("(got qweight {}, scales {}, zeros {}", codes, scales, zeros)));
  };
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.qweight", "I8", {16, 127}, std::vector<int8_t>(16 * 127));
              }),
              shapes("[16, 127]", "[16, 4]", "[4, 8]"));
  EXPECT_THAT(failure([](Written& w) { w.tensors.add("p.qweight", "I8", {2048}, std::vector<int8_t>(2048)); }),
              shapes("[2048]", "[16, 4]", "[4, 8]"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.scales", "F16", {16, 3}, std::vector<uint16_t>(48));
              }),
              shapes("[16, 128]", "[16, 3]", "[4, 8]"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.zeros", "I8", {4, 7}, std::vector<int8_t>(28));
              }),
              shapes("[16, 128]", "[16, 4]", "[4, 7]"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.qweight", "I8", {15, 128}, std::vector<int8_t>(15 * 128));
              }),
              HasSubstr("'p.qweight': shape does not fit the model (got [15, 128], expected [16, 128])"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.scales", "F16", {15, 4}, std::vector<uint16_t>(60));
              }),
              HasSubstr("'p.scales': shape does not fit the model (got [15, 4], expected [16, 4]"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.scales", "F32", {16, 4}, std::vector<float>(64));
              }),
              HasSubstr("'p.scales': wrong dtype (got F32, expected F16 or BF16)"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.zeros", "F16", {16, 4}, std::vector<uint16_t>(64));
              }),
              HasSubstr("'p.zeros': wrong dtype for zeros_mode 'quantized' (got F16, expected I8)"));
  EXPECT_THAT(failure([](Written& w) { w.config["zeros_mode"] = "rescale"; }),
              HasSubstr("'p.zeros': wrong dtype for zeros_mode 'rescale' (got I8, expected F16 or BF16)"));
  EXPECT_THAT(failure([](Written& w) { w.config["zeros_mode"] = "none"; }),
              HasSubstr("zeros_mode: expected original, rescale or quantized (got 'none')"));
  EXPECT_THAT(failure([](Written& w) { w.config["W_dtype"] = "nf4"; }),
              HasSubstr("'p.zeros': zero points of codes that are no integers"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.qweight", "I8", {1, 16, 16, 8}, std::vector<int8_t>(2048));
              }),
              HasSubstr("'p.qweight': weights in the tiles of BitBLAS's propagated layout cannot be read"));
}

}  // namespace
}  // namespace packhorse
