// Layouts of compressed-tensors that hold a byte per code, small floats, or masks; written here bit by bit.

#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "base/half.h"
#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

Json config_of(const Json& weights) {
  return {{"quant_method", "compressed-tensors"},
          {"config_groups", {{"g", {{"targets", {"Linear"}}, {"weights", weights}}}}}};
}

struct Written {
  int64_t n = 0, k = 0;
  Json config = {};
  std::vector<float> values = {};  // [n, k]
  testing::TensorWriter tensors = {};

  WeightPlan plan(CheckpointView& view) const {
    const testing::TempDir dir;
    view = tensors.open(dir, config);
    return plan_weight(view, module_of("p", n, k), {}, true);
  }
  void expect_read() const {
    CheckpointView view;
    const WeightPlan read = plan(view);
    EXPECT_EQ(testing::decoded_rows(read, 0, n), values) << describe(read.encoding);
    testing::expect_any_read_order(read);
  }
  /// What planning or reading says.
  std::string failure() const {
    const testing::TempDir dir;
    const CheckpointView view = tensors.open(dir, config);
    return testing::failure_of(ErrorKind::model,
                               [&] { testing::decoded_rows(plan_weight(view, module_of("p", n, k), {}, true), 0, n); });
  }
};

/// Integers in bytes, with zero points or without.
Written integers(int bits, int64_t n, int64_t k, int64_t group, bool symmetric) {
  std::mt19937 random(static_cast<uint32_t>(bits * 100 + k));
  const int middle = 1 << (bits - 1);
  const auto code = [&] { return static_cast<int>(random() % (2u * static_cast<uint32_t>(middle))) - middle; };
  const int64_t groups = group ? (k + group - 1) / group : 1;
  std::vector<float> scales;
  std::vector<int8_t> zeros, codes;
  for (int64_t i = 0; i < n * groups; ++i) {
    scales.push_back(static_cast<float>(random() % 1000 + 1) / 512);
    zeros.push_back(static_cast<int8_t>(symmetric ? 0 : code()));
  }
  Written out{.n = n, .k = k};
  for (int64_t i = 0; i < n * k; ++i) {
    const auto g = static_cast<size_t>(i / k * groups + (group ? i % k / group : 0));
    codes.push_back(static_cast<int8_t>(code()));
    out.values.push_back(static_cast<float>(codes.back() - zeros[g]) * scales[g]);
  }
  out.tensors.add("p.weight", "I8", {n, k}, codes);
  out.tensors.add("p.weight_scale", "F32", {n, groups}, scales);
  if (!symmetric) out.tensors.add("p.weight_zero_point", "I8", {n, groups}, zeros);
  Json weights = {{"num_bits", bits}, {"symmetric", symmetric}};
  if (group) weights["group_size"] = group;
  out.config = config_of(weights);
  return out;
}

TEST(CompressedTensorsBytes, IntegersOfAllWidths) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool symmetric : {true, false}) {
      integers(bits, 7, 96, 0, symmetric).expect_read();
      integers(bits, 7, 100, 32, symmetric).expect_read();
    }
  }
}

TEST(CompressedTensorsBytes, IntegersInBlocksAndOlderSettings) {
  Written blocks = integers(8, 5, 72, 0, true);
  const std::vector<int8_t> codes(5 * 72, 3);
  blocks.tensors.add("p.weight", "I8", {5, 72}, codes);
  const std::vector<float> scales = {1, 2, 3, 4, 5, 6};
  blocks.tensors.add("p.weight_scale", "F32", {2, 3}, scales);
  for (int64_t i = 0; i < 5 * 72; ++i)
    blocks.values[static_cast<size_t>(i)] = 3 * scales[static_cast<size_t>(i / 72 / 4 * 3 + i % 72 / 32)];
  blocks.config = config_of({{"strategy", "block"}, {"block_structure", {4, 32}}});
  blocks.expect_read();
  blocks.config.erase("quant_method");
  blocks.expect_read();
  blocks.config["quant_method"] = "sparseml";
  blocks.expect_read();
}

TEST(CompressedTensorsBytes, fault_052_integers) {
  Written four = integers(4, 4, 64, 32, true);
  std::vector<int8_t> codes(4 * 64);
  codes[70] = -9;
  four.tensors.add("p.weight", "I8", {4, 64}, codes);
  EXPECT_THAT(four.failure(), HasSubstr("'p.weight': row 1, column 6: not a value of 4 bits (got -9)"));
  codes[70] = 8;
  four.tensors.add("p.weight", "I8", {4, 64}, codes);
  EXPECT_THAT(four.failure(), HasSubstr("not a value of 4 bits (got 8)"));
  Written scales = integers(8, 4, 64, 32, false);
  scales.tensors.add("p.weight_zero_point", "I8", {4, 1}, std::vector<int8_t>(4));
  EXPECT_THAT(scales.failure(), AllOf(HasSubstr("matrix [4, 64] of 8 bits in groups of 32 (got weight [4, 64]"),
                                      HasSubstr("weight_scale [4, 2], weight_zero_point [4, 1]")));
  scales = integers(8, 4, 64, 32, true);
  scales.tensors.add("p.weight_scale", "F32", {4, 2}, std::vector<float>{1, 1, 1, NAN, 1, 1, 1, 1});
  EXPECT_THAT(scales.failure(), HasSubstr("'p.weight_scale': scale of row 1, group 1: not a number (got nan)"));
  scales.config = config_of({{"type", "float"}});
  EXPECT_THAT(scales.failure(), HasSubstr("config_groups.g.weights.type: weights in integers are int"));
}

/// E4M3 by its definition.
float e4m3(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const double magnitude = exponent ? std::ldexp(8 + mantissa, exponent - 10) : std::ldexp(mantissa, -9);
  return static_cast<float>(code & 0x80 ? -magnitude : magnitude);
}

std::vector<uint8_t> random_e4m3(int64_t n) {
  std::mt19937 random(7);
  std::vector<uint8_t> codes(static_cast<size_t>(n));
  for (uint8_t& code : codes) {
    do code = static_cast<uint8_t>(random());
    while ((code & 0x7f) == 0x7f);
  }
  return codes;
}

/// E4M3 under float32 scales of blocks of `rows` x `columns`, 0 = all.
Written floats(int64_t n, int64_t k, int64_t rows, int64_t columns, std::vector<int64_t> scale_shape) {
  std::mt19937 random(3);
  const std::vector<uint8_t> codes = random_e4m3(n * k);
  std::vector<float> scales;
  int64_t n_scales = 1;
  for (const int64_t dim : scale_shape) n_scales *= dim;
  for (int64_t i = 0; i < n_scales; ++i) scales.push_back(static_cast<float>(random() % 1000 + 1) / 512);
  const int64_t per_row = columns ? (k + columns - 1) / columns : 1;
  Written out{.n = n, .k = k};
  for (int64_t i = 0; i < n * k; ++i) {
    const int64_t block = (rows ? i / k / rows * per_row : 0) + (columns ? i % k / columns : 0);
    out.values.push_back(e4m3(codes[static_cast<size_t>(i)]) * scales[static_cast<size_t>(block)]);
  }
  out.tensors.add("p.weight", "F8_E4M3", {n, k}, codes);
  out.tensors.add("p.weight_scale", "F32", scale_shape, scales);
  out.config = config_of({{"type", "float"}});
  return out;
}

TEST(CompressedTensorsBytes, FloatsByMatrixRowsAndBlocks) {
  floats(6, 40, 0, 0, {1}).expect_read();
  floats(6, 40, 1, 0, {6, 1}).expect_read();
  floats(6, 40, 1, 0, {6}).expect_read();
  Written blocks = floats(37, 100, 16, 32, {3, 4});  // neither divides
  blocks.config = config_of({{"type", "float"}, {"strategy", "block"}, {"block_structure", {16, 32}}});
  blocks.expect_read();
  Written groups = floats(5, 100, 1, 32, {5, 4});
  groups.config = config_of({{"type", "float"}, {"group_size", 32}});
  groups.expect_read();
}

TEST(CompressedTensorsBytes, fault_054_floats) {
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY}) {
    Written written = floats(6, 40, 1, 0, {6, 1});
    written.tensors.add("p.weight_scale", "F32", {6, 1}, std::vector<float>{1, 1, 1, bad, 1, 1});
    EXPECT_THAT(written.failure(), HasSubstr("'p.weight_scale': scale of row 3, group 0: not a number above 0"));
  }
  Written codes = floats(6, 40, 1, 0, {6, 1});
  std::vector<uint8_t> bytes(6 * 40, 0x7e);
  bytes[85] = 0xff;
  codes.tensors.add("p.weight", "F8_E4M3", {6, 40}, bytes);
  EXPECT_THAT(codes.failure(), HasSubstr("'p.weight': row 2, column 5: not a finite number (code 0xff)"));
  Written blocks = floats(37, 100, 16, 32, {3, 4});
  blocks.config = config_of({{"type", "float"}, {"strategy", "block"}, {"block_structure", {16, 16}}});
  EXPECT_THAT(blocks.failure(), HasSubstr("'p.weight_scale': shape does not fit the model (got [3, 4]"));
  blocks.config = config_of({{"num_bits", 8}});
  EXPECT_THAT(blocks.failure(), HasSubstr("weights.type: weights in floats are float"));
}

/// Powers of two, and codes of `bits` as a stream, of values that `value` gives.
template <class F>
Written micro_scaled(int bits, int64_t n, int64_t k, F&& value) {
  std::mt19937 random(static_cast<uint32_t>(bits));
  const int64_t groups = (k + 31) / 32;
  std::vector<uint8_t> scales, packed(static_cast<size_t>(n * k * bits / 8));
  for (int64_t i = 0; i < n * groups; ++i) scales.push_back(static_cast<uint8_t>(100 + random() % 50));
  scales[0] = 0;
  Written out{.n = n, .k = k};
  for (int64_t i = 0; i < n * k; ++i) {
    const unsigned code = random() % (1u << bits);
    for (int b = 0; b < bits; ++b) {
      const auto at = static_cast<size_t>(i * bits + b);
      packed[at / 8] = static_cast<uint8_t>(packed[at / 8] | (code >> b & 1) << at % 8);
    }
    const int exponent = scales[static_cast<size_t>(i / k * groups + i % k / 32)] - 127;
    out.values.push_back(static_cast<float>(std::ldexp(value(static_cast<int>(code)), exponent)));
  }
  out.tensors.add("p.weight_packed", "U8", {n, k * bits / 8}, packed);
  out.tensors.add("p.weight_scale", "U8", {n, groups}, scales);
  out.config = config_of({{"type", "float"}, {"num_bits", bits}, {"group_size", 32}, {"scale_dtype", "torch.uint8"}});
  return out;
}

double e2m3(int code) {
  const int exponent = code >> 3 & 3, mantissa = code & 7;
  const double magnitude = exponent ? std::ldexp(8 + mantissa, exponent - 4) : mantissa / 8.0;
  return code & 32 ? -magnitude : magnitude;
}

double e2m1(int code) {
  constexpr double kMagnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  return code & 8 ? -kMagnitudes[code & 7] : kMagnitudes[code & 7];
}

TEST(CompressedTensorsSmallFloats, PowersOfTwo) {
  micro_scaled(4, 5, 96, e2m1).expect_read();
  micro_scaled(4, 5, 72, e2m1).expect_read();
  micro_scaled(6, 5, 96, e2m3).expect_read();
  micro_scaled(6, 5, 72, e2m3).expect_read();
}

// Bytes that the library wrote.
TEST(CompressedTensorsSmallFloats, BytesOfTheLibrary) {
  Written written{.n = 1, .k = 4};
  written.config = config_of({{"type", "float"}, {"num_bits", 6}, {"group_size", 32}});
  written.tensors.add("p.weight_packed", "U8", {1, 3}, std::vector<uint8_t>{0xc1, 0x0f, 0x56});
  written.tensors.add("p.weight_scale", "U8", {1, 1}, std::vector<uint8_t>{127});
  written.values = {0.125f, -7.5f, -0.0f, 3.25f};  // 01 3f 20 15
  written.expect_read();
  written.config = config_of({{"type", "float"}, {"num_bits", 4}, {"group_size", 32}});
  written.tensors.add("p.weight_packed", "U8", {1, 2}, std::vector<uint8_t>{0x2a, 0xf7});
  written.values = {-1, 1, 6, -6};
  written.expect_read();
}

TEST(CompressedTensorsSmallFloats, TwoLevelsOfScales) {
  Written written{.n = 2, .k = 32};
  written.config = config_of({{"type", "float"}, {"num_bits", 4}, {"group_size", 16}, {"strategy", "tensor_group"}});
  std::vector<uint8_t> packed, scales = {0x38, 0x7e, 0x00, 0x41};  // 1, 448, 0, 2.25
  for (int i = 0; i < 32; ++i) packed.push_back(static_cast<uint8_t>(i * 37));
  for (size_t i = 0; i < 64; ++i) {
    const int code = packed[i / 2] >> (i % 2 * 4) & 15;
    written.values.push_back(static_cast<float>(e2m1(code)) * e4m3(scales[i / 16]) / 1352.0f);
  }
  written.tensors.add("p.weight_packed", "U8", {2, 16}, packed);
  written.tensors.add("p.weight_scale", "F8_E4M3", {2, 2}, scales);
  written.tensors.add("p.weight_global_scale", "F32", {1}, std::vector<float>{1352});
  written.expect_read();
  scales[2] = 0x7f;
  written.tensors.add("p.weight_scale", "F8_E4M3", {2, 2}, scales);
  EXPECT_THAT(written.failure(), HasSubstr("'p.weight_scale': scale of row 1, group 0"));
  written.tensors.add("p.weight_global_scale", "F32", {1}, std::vector<float>{0});
  EXPECT_THAT(written.failure(), HasSubstr("'p.weight_global_scale': not a number above 0 (got 0)"));
}

TEST(CompressedTensorsSmallFloats, fault_054_scales) {
  Written written = micro_scaled(4, 2, 64, e2m1);
  written.tensors.add("p.weight_scale", "U8", {2, 2}, std::vector<uint8_t>{127, 255, 127, 127});
  EXPECT_THAT(written.failure(), HasSubstr("'p.weight_scale': scale of row 0, group 1: not a number above 0"));
  written.tensors.add("p.weight_scale", "U8", {2, 3}, std::vector<uint8_t>(6, 127));
  EXPECT_THAT(written.failure(), HasSubstr("'p.weight_scale': shape does not fit the model (got [2, 3]"));
  written = micro_scaled(4, 2, 64, e2m1);
  written.config = config_of({{"type", "float"}, {"num_bits", 4}, {"group_size", 16}});
  EXPECT_THAT(written.failure(), HasSubstr("weights.group_size: 32 goes with the tensors (got 16)"));
  written.config = config_of({{"type", "float"}, {"num_bits", 8}, {"group_size", 32}});
  EXPECT_THAT(written.failure(), HasSubstr("weights.num_bits: the weights have 4 (got 8)"));
}

/// A matrix of 16-bit floats or of E4M3 under scales of rows, where `keep` tells the columns that are stored.
template <class F>
Written masked(int64_t n, int64_t k, bool is_fp8, bool is_24, F&& keep) {
  std::mt19937 random(11);
  const std::vector<uint8_t> bytes = random_e4m3(n * k);
  std::vector<uint8_t> mask(static_cast<size_t>(n * ((k + 7) / 8))), kept8;
  std::vector<uint16_t> kept16;
  std::vector<int64_t> first;
  Written out{.n = n, .k = k};
  for (int64_t r = 0; r < n; ++r) {
    first.push_back(static_cast<int64_t>(kept8.size()));
    for (int64_t c = 0; c < k; ++c) {
      const auto half = static_cast<uint16_t>(0x3c00 + random() % 1024);
      const bool is_kept = keep(r, c);
      const uint8_t code = bytes[static_cast<size_t>(r * k + c)];
      const float value = is_fp8 ? e4m3(code) * 0.5f : bf16_to_f32(half);
      out.values.push_back(is_kept ? value : 0.0f);
      if (!is_kept) continue;
      auto& byte = mask[static_cast<size_t>(r * ((k + 7) / 8) + c / 8)];
      byte = static_cast<uint8_t>(byte | 1 << c % 8);
      kept8.push_back(code);
      kept16.push_back(half);
    }
  }
  const auto n_kept = static_cast<int64_t>(kept8.size());
  const std::vector<int64_t> shape = is_24 ? std::vector<int64_t>{n, k / 2} : std::vector<int64_t>{n_kept};
  const std::string prefix = is_24 ? "p." : "p.weight.";
  out.config = is_fp8 ? config_of({{"type", "float"}}) : Json{{"quant_method", "compressed-tensors"}};
  if (is_fp8) {
    out.tensors.add(prefix + "compressed", "F8_E4M3", shape, kept8);
    out.tensors.add("p.weight_scale", "F32", {n, 1}, std::vector<float>(static_cast<size_t>(n), 0.5f));
  } else {
    out.tensors.add(prefix + "compressed", "BF16", shape, kept16);
  }
  out.tensors.add(prefix + "bitmask", "U8", {n, (k + 7) / 8}, mask);
  if (is_24) {
    out.tensors.add(prefix + "shape", "I64", {2, 1}, std::vector<int64_t>{n, k});
    return out;
  }
  out.tensors.add(prefix + "shape", "I64", {2}, std::vector<int64_t>{n, k});
  out.tensors.add(prefix + "row_offsets", "I64", {n}, first);
  return out;
}

bool keeps_two_of_four(int64_t r, int64_t c) { return c % 4 == r % 4 || c % 4 == (r + 1 + r / 4) % 4; }
bool keeps_some(int64_t r, int64_t c) { return r != 2 && (r * 7 + c * 5) % 11 < 4; }

TEST(CompressedTensorsSparse, MasksOfEveryKind) {
  for (const bool is_fp8 : {false, true}) {
    masked(9, 36, is_fp8, true, [](int64_t r, int64_t c) { return keeps_two_of_four(r % 2, c); }).expect_read();
    masked(9, 37, is_fp8, false, keeps_some).expect_read();
  }
}

TEST(CompressedTensorsSparse, RowsOfAnotherOrder) {
  const Written written = masked(8, 37, false, false, keeps_some);
  const testing::TempDir dir;
  const CheckpointView view = written.tensors.open(dir, written.config);
  Module module = module_of("p", 8, 37);
  module.source_row = [](int64_t r) { return 7 - r; };
  const std::vector<float> rows = testing::decoded_rows(plan_weight(view, module, {}, true), 0, 8);
  for (int64_t r = 0; r < 8; ++r)
    EXPECT_TRUE(std::equal(rows.begin() + r * 37, rows.begin() + (r + 1) * 37, written.values.begin() + (7 - r) * 37));
}

TEST(CompressedTensorsSparse, fault_052_masks) {
  const auto two = [] { return masked(4, 16, false, true, [](int64_t, int64_t c) { return c % 2 == 0; }); };
  const auto some = [] { return masked(4, 13, false, false, keeps_some); };
  two().expect_read();
  some().expect_read();
  Written written = two();
  std::vector<uint8_t> mask(8, 0x55);
  mask[5] = 0x54;
  written.tensors.add("p.bitmask", "U8", {4, 2}, mask);
  EXPECT_THAT(written.failure(), HasSubstr("'p.bitmask': row 2: wrong number of values (got 7, the row has 8)"));
  written.tensors.add("p.bitmask", "U8", {4, 3}, std::vector<uint8_t>(12));
  EXPECT_THAT(written.failure(), HasSubstr("'p.bitmask': shape does not fit the model (got [4, 3], expected [4, 2])"));
  written.tensors.add("p.bitmask", "I8", {4, 2}, mask);
  EXPECT_THAT(written.failure(), HasSubstr("'p.bitmask': wrong dtype (got I8, expected U8)"));
  written = two();
  written.tensors.add("p.shape", "I64", {2, 1}, std::vector<int64_t>{4, 32});
  EXPECT_THAT(written.failure(), HasSubstr("'p.shape': does not fit the model (got [4, 32], expected [4, 16])"));
  written = two();
  written.tensors.add("p.compressed", "I16", {4, 8}, std::vector<int16_t>(32));
  EXPECT_THAT(written.failure(), HasSubstr("'p.compressed': wrong dtype (got I16"));
  written = some();
  written.tensors.add("p.weight.bitmask", "U8", {4, 2}, std::vector<uint8_t>{0, 0x20, 0, 0, 0, 0, 0, 0});
  EXPECT_THAT(written.failure(), HasSubstr("'p.weight.bitmask': row 0: bits after column 12"));
  for (const int64_t offset : {int64_t{-1}, int64_t{1000}, INT64_MAX}) {
    written = some();
    written.tensors.add("p.weight.row_offsets", "I64", {4}, std::vector<int64_t>{0, offset, 1, 1});
    EXPECT_THAT(written.failure(),
                HasSubstr(offset < 0 ? "row_offsets': row 0: not in 0..-1" : "row_offsets': row 1: not in 0..1"));
  }
}

}  // namespace
}  // namespace packhorse
