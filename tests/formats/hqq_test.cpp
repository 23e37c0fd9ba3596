#include <gmock/gmock.h>

#include <random>

#include "base/half.h"
#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

/// How to write a weight, and what is there beside it.
struct Written {
  int bits = 4;
  int64_t n = 0, k = 0, group = 64;
  const char* type = "BF16";  // of scales and zero points
  std::vector<float> values = {};
  testing::TensorWriter tensors = {};
  Json config = {{"quant_method", "hqq"}};
};

/// Codes by the published packings: row blocks, the first in the high bits.
std::vector<uint32_t> pack(const std::vector<uint32_t>& codes, int bits, int64_t group) {
  const int n_blocks = bits == 4 ? 2 : bits == 3 ? 10 : bits == 2 ? 4 : bits == 1 ? 8 : 1;
  const auto n_groups = static_cast<int64_t>(codes.size()) / group;
  const int64_t step = (n_groups + n_blocks - 1) / n_blocks;
  std::vector<uint32_t> out(static_cast<size_t>(step * group));
  for (int64_t r = 0; r < n_groups; ++r) {
    const int64_t block = r / step;
    for (int64_t i = 0; i < group; ++i)
      out[static_cast<size_t>(r % step * group + i)] |= codes[static_cast<size_t>(r * group + i)]
                                                        << (bits * (n_blocks - 1 - block));
  }
  return out;
}

void add_number(Written& out, const std::string& key, int32_t value) {
  out.tensors.add("p." + key, "I32", {}, std::vector<int32_t>{value});
}

Written write(Written out) {
  std::mt19937 random(static_cast<uint32_t>(out.bits * 1000 + out.n * 7 + out.k));
  const int64_t size = out.n * out.k, n_groups = size / out.group;
  std::vector<uint32_t> codes(static_cast<size_t>(size));
  for (uint32_t& code : codes) code = random() % (1u << out.bits);
  const std::string type = out.type;
  std::vector<float> scales, zeros;
  for (int64_t g = 0; g < n_groups; ++g) {
    const auto any = [&] { return bf16_to_f32(f32_to_bf16(static_cast<float>(random() % 200) / 64 + 0.25f)); };
    scales.push_back(any() / 16), zeros.push_back(any());
  }
  for (int64_t i = 0; i < size; ++i) {
    const auto g = static_cast<size_t>(i / out.group);
    out.values.push_back((static_cast<float>(codes[static_cast<size_t>(i)]) - zeros[g]) * scales[g]);
  }
  const auto add_floats = [&](const std::string& name, const std::vector<float>& values) {
    if (type == "F32") return out.tensors.add(name, type, {n_groups, 1}, values);
    std::vector<uint16_t> halves;
    for (const float f : values) halves.push_back(type == "BF16" ? f32_to_bf16(f) : f32_to_f16(f));
    out.tensors.add(name, type, {n_groups, 1}, halves);
  };
  add_floats("p.scale", scales);
  add_floats("p.zero", zeros);
  const std::vector<uint32_t> packed = pack(codes, out.bits, out.group);
  const int64_t rows = static_cast<int64_t>(packed.size()) / out.group;
  if (out.bits == 3)
    out.tensors.add("p.W_q", "I32", {rows, out.group}, packed);
  else
    out.tensors.add("p.W_q", "U8", {rows, out.group}, std::vector<uint8_t>(packed.begin(), packed.end()));
  add_number(out, "nbits", out.bits);
  add_number(out, "group_size", static_cast<int32_t>(out.group));
  add_number(out, "axis", 1);
  out.tensors.add("p.shape", "I64", {2}, std::vector<int64_t>{out.n, out.k});
  out.tensors.add_text("p.packing", out.bits == 3  ? "3bit_32"
                                    : out.bits > 4 ? "8bit_u8"
                                                   : fmt::format("{}bit_u8", out.bits));
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
  EXPECT_EQ(testing::decoded_rows(plan, 0, written.n), written.values) << describe(plan.encoding);
  testing::expect_any_read_order(plan);
  return plan.encoding;
}

std::string failure_of(const Written& written) {
  CheckpointView view;
  return testing::failure_of(ErrorKind::model,
                             [&] { planned(written, view).read(0, written.n, *std::make_unique<RowBlock>()); });
}

TEST(Hqq, EveryWidth) {
  for (const int bits : {1, 2, 3, 4, 5, 6, 8}) {
    for (const char* type : {"BF16", "F16", "F32"}) {
      const Encoding encoding = expect_read(write({.bits = bits, .n = 24, .k = 256, .group = 64, .type = type}));
      EXPECT_EQ(encoding.bits, bits);
      EXPECT_EQ(encoding.grouping, (Grouping{GroupKind::flat, 64}));
    }
    expect_read(write({.bits = bits, .n = 16, .k = 96, .group = 64}));  // groups that cross rows
    expect_read(write({.bits = bits, .n = 16, .k = 64, .group = 128}));
    expect_read(write({.bits = bits, .n = 8, .k = 72, .group = 72}));  // one per row
  }
  expect_read(write({.bits = 3, .n = 7, .k = 96, .group = 32}));  // 21 groups, filled up to 30
}

TEST(Hqq, SettingsOfTheCheckpoint) {
  Written written = write({.bits = 2, .n = 8, .k = 64, .group = 32});
  for (const char* key : {"nbits", "group_size", "axis", "shape", "packing"})
    written.tensors.remove(std::string("p.") + key);
  EXPECT_THAT(failure_of(written), HasSubstr("quantization_config.quant_config.weight_quant_params.nbits: HQQ packs"));
  written.config["quant_config"]["weight_quant_params"] = {
      {"nbits", 2}, {"group_size", 32}, {"axis", 1}, {"view_as_float", false}};
  expect_read(written);
  written.config["quant_config"]["weight_quant_params"]["axis"] = 0;
  EXPECT_THAT(failure_of(written), HasSubstr("weight_quant_params.axis: groups along other axes than 1"));
}

TEST(Hqq, TernaryCodesTakeTwoBits) {
  Written written = write({.bits = 2, .n = 8, .k = 64, .group = 32});
  written.tensors.add("p.nbits", "F32", {}, std::vector<float>{1.58f});
  EXPECT_EQ(expect_read(written).bits, 2);
}

TEST(Hqq, BytesUnderAFloatType) {
  Written written = write({.n = 8, .k = 64, .group = 32});
  const testing::TempDir dir;
  const CheckpointView view = written.tensors.open(dir, written.config);
  const std::vector<std::byte> raw = view.read_all(view.at("p.W_q"));
  written.tensors.add("p.W_q", "F16", {8, 16}, raw);
  EXPECT_THAT(failure_of(written), HasSubstr("'p.W_q': wrong dtype (got F16, expected U8)"));
  written.tensors.add("p.view_as_float", "U8", {}, std::vector<uint8_t>{1});
  expect_read(written);
}

TEST(Hqq, RowsOfAnotherOrder) {
  const Written written = write({.bits = 3, .n = 16, .k = 96, .group = 64});
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

TEST(Hqq, fault_050_settings_that_cannot_be_read) {
  const Written good = write({.n = 8, .k = 64, .group = 32});
  expect_read(good);
  const auto failure = [&](auto&& change) {
    Written changed = good;
    change(changed);
    return failure_of(changed);
  };
  EXPECT_THAT(failure([](Written& w) { add_number(w, "nbits", 7); }), HasSubstr("'p.nbits': HQQ packs 1, 1.58, 2"));
  EXPECT_THAT(failure([](Written& w) { add_number(w, "nbits", 3); }),
              HasSubstr("'p.packing': does not fit 3 bits (got '4bit_u8', expected '3bit_32')"));
  EXPECT_THAT(failure([](Written& w) { add_number(w, "group_size", 64); }),
              AllOf(HasSubstr("'p.scale': does not fit a matrix [8, 64] in groups of 64"), HasSubstr("got [16, 1]")));
  EXPECT_THAT(failure([](Written& w) { add_number(w, "axis", 0); }), HasSubstr("'p.axis': groups along other axes"));
  EXPECT_THAT(failure([](Written& w) { add_number(w, "quant_zero", 1); }),
              HasSubstr("'p.quant_zero': scales and zero points that are quantized themselves"));
  EXPECT_THAT(failure([](Written& w) { w.tensors.add("p.nbits", "F64", {}, std::vector<double>{4}); }),
              HasSubstr("'p.nbits': wrong dtype (got F64"));
  EXPECT_THAT(failure([](Written& w) { w.tensors.add("p.nbits", "I32", {2}, std::vector<int32_t>(2)); }),
              HasSubstr("'p.nbits': expected one number (got [2])"));
}

TEST(Hqq, fault_052_tensors_that_do_not_fit) {
  const Written good = write({.bits = 8, .n = 8, .k = 64, .group = 32});
  expect_read(good);
  const auto failure = [&](auto&& change) {
    Written changed = good;
    change(changed);
    return failure_of(changed);
  };
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.W_q", "U8", {15, 32}, std::vector<uint8_t>(480));
              }),
              HasSubstr("'p.W_q': does not fit a matrix [8, 64] of 8 bits (got 480 bytes in [15, 32], expected 512)"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.W_q", "I8", {16, 32}, std::vector<uint8_t>(512));
              }),
              HasSubstr("'p.W_q': wrong dtype (got I8, expected U8)"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.zero", "F32", {15, 1}, std::vector<float>(15));
              }),
              HasSubstr("'p.zero': shape does not fit the model (got [15, 1], expected [16]"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.scale", "F32", {15, 1}, std::vector<float>(15));
              }),
              HasSubstr("'p.scale': does not fit a matrix [8, 64] in groups of 32 (got [15, 1])"));
  EXPECT_THAT(failure([](Written& w) { w.tensors.remove("p.zero"); }), HasSubstr("missing tensor 'p.zero'"));
  EXPECT_THAT(failure([](Written& w) {
                w.tensors.add("p.shape", "I64", {2}, std::vector<int64_t>{8, 63});
              }),
              HasSubstr("'p.shape': does not fit the model (got [8, 63], expected [8, 64])"));
  EXPECT_THAT(failure([](Written& w) { add_number(w, "nbits", 6); }), HasSubstr("'p.W_q': not a code of 6 bits"));
}

}  // namespace
}  // namespace packhorse
