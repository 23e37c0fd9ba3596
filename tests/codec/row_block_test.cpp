#include "codec/row_block.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "codec/tables.h"
#include "codec/weight_plan.h"

namespace packhorse {
namespace {

std::vector<float> decoded(const Encoding& encoding, const RowBlock& rows, int64_t r) {
  std::vector<float> out(static_cast<size_t>(rows.k));
  decode_row(encoding, rows, r, out.data());
  return out;
}

TEST(RowBlock, GroupsAlongARow) {
  EXPECT_EQ(group_along_row({GroupKind::none, 0}, 96), 0);
  EXPECT_EQ(group_along_row({GroupKind::row, 0}, 96), 96);
  EXPECT_EQ(group_along_row({GroupKind::along_k, 64}, 96), 64);
  EXPECT_EQ(group_along_row({GroupKind::flat, 64}, 96), 32);
  EXPECT_EQ(group_along_row({GroupKind::flat, 64}, 33), 1);
}

TEST(RowBlock, Sizes) {
  RowBlock rows;
  rows.resize({.element = Element::integer,
               .bits = 4,
               .grouping = {GroupKind::along_k, 32},
               .scale = ScaleType::u8,
               .min = ScaleType::u8,
               .super_size = 256},
              5, 3, 512);
  EXPECT_EQ(rows.row_begin, 5);
  EXPECT_EQ(rows.codes.size(), 3u * 512);
  EXPECT_EQ(rows.scale.size(), 3u * 16);
  EXPECT_EQ(rows.min.size(), 3u * 16);
  EXPECT_EQ(rows.super_scale.size(), 3u * 2);
  EXPECT_EQ(rows.super_min.size(), 3u * 2);
  rows.resize({.element = Element::bf16, .bits = 16}, 0, 2, 100);
  EXPECT_EQ(rows.codes.size(), 400u);
  EXPECT_TRUE(rows.scale.empty() && rows.min.empty() && rows.super_scale.empty() && rows.super_min.empty());
}

TEST(RowBlock, IntegersWithAScalePerGroup) {
  const Encoding encoding{.element = Element::integer,
                          .bits = 4,
                          .offset = 8,
                          .grouping = {GroupKind::along_k, 4},
                          .scale = ScaleType::f16};
  RowBlock rows;
  rows.resize(encoding, 0, 2, 6);  // the last group is short
  rows.codes = {0, 8, 9, 15, 7, 10, 1, 2, 3, 4, 5, 6};
  rows.scale = {0.5f, 2, 1, 10};
  EXPECT_EQ(decoded(encoding, rows, 0), (std::vector<float>{-4, 0, 0.5f, 3.5f, -2, 4}));
  EXPECT_EQ(decoded(encoding, rows, 1), (std::vector<float>{-7, -6, -5, -4, -30, -20}));
}

TEST(RowBlock, ZeroPointsComeOffTheCodes) {
  const Encoding encoding{.element = Element::integer,
                          .bits = 4,
                          .offset = 1,
                          .grouping = {GroupKind::along_k, 4},
                          .scale = ScaleType::bf16,
                          .zero = ScaleType::u8};
  RowBlock rows;
  rows.resize(encoding, 0, 2, 6);
  ASSERT_EQ(rows.zero.size(), 4u);
  rows.codes = {0, 8, 9, 15, 7, 10, 1, 2, 3, 4, 5, 6};
  rows.scale = {0.5f, 2, 1, 10};
  rows.zero = {0, 3, 255, 15};
  EXPECT_EQ(decoded(encoding, rows, 0), (std::vector<float>{-0.5f, 3.5f, 4, 7, 6, 12}));
  EXPECT_EQ(decoded(encoding, rows, 1), (std::vector<float>{-255, -254, -253, -252, -110, -100}));
  EXPECT_EQ(describe(encoding), "int4, groups of 4, bf16 scale and u8 zero point");
  EXPECT_DOUBLE_EQ(bits_per_weight(encoding, 8), 4 + 6);
  EXPECT_DOUBLE_EQ(bits_per_weight(encoding, 6), 4 + 2 * 24 / 6.0);  // a short group has a scale, too
  Encoding outer = encoding;
  outer.outer = Outer::multiply;
  EXPECT_DOUBLE_EQ(bits_per_weight(outer, 8), 4 + 6 + 4);
  rows.resize({.element = Element::bf16, .bits = 16}, 0, 2, 100);
  EXPECT_TRUE(rows.zero.empty());
}

TEST(RowBlock, ScaleTimesFactorRoundsTwice) {
  const Encoding encoding{.element = Element::integer,
                          .bits = 8,
                          .offset = 128,
                          .factor = 7.874015718698502e-3f,
                          .grouping = {GroupKind::row, 0},
                          .scale = ScaleType::f32};
  RowBlock rows;
  rows.resize(encoding, 0, 1, 255);
  std::iota(rows.codes.begin(), rows.codes.end(), uint8_t{1});
  rows.scale = {0.337f};
  const std::vector<float> out = decoded(encoding, rows, 0);
  for (int q = -127; q <= 127; ++q) {
    const float product = static_cast<float>(q) * 0.337f;
    EXPECT_EQ(out[static_cast<size_t>(q + 127)], product * 7.874015718698502e-3f);
  }
}

TEST(RowBlock, TwoLevelsWithAMinRoundOnce) {
  const Encoding encoding{.element = Element::integer,
                          .bits = 5,
                          .grouping = {GroupKind::along_k, 32},
                          .scale = ScaleType::u8,
                          .min = ScaleType::u8,
                          .super_size = 256};
  RowBlock rows;
  rows.resize(encoding, 0, 1, 512);
  for (size_t i = 0; i < rows.codes.size(); ++i) rows.codes[i] = static_cast<uint8_t>(i % 32);
  for (size_t g = 0; g < rows.scale.size(); ++g)
    rows.scale[g] = static_cast<float>(g + 1), rows.min[g] = static_cast<float>(63 - g);
  rows.super_scale = {0x1.ffcp-7f, 0x1.004p-9f};
  rows.super_min = {-0x1.234p-5f, 0x1.3p-8f};
  const std::vector<float> out = decoded(encoding, rows, 0);
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t g = i / 32, s = i / 256;
    const double exact = static_cast<double>(rows.super_scale[s]) * rows.scale[g] * rows.codes[i] +
                         static_cast<double>(rows.super_min[s]) * rows.min[g];
    ASSERT_EQ(out[i], static_cast<float>(exact)) << i;
  }
}

TEST(RowBlock, TableCodesInFlatGroups) {
  const Encoding encoding{
      .element = Element::table, .bits = 4, .table = &kNf4, .grouping = {GroupKind::flat, 64}, .scale = ScaleType::f32};
  RowBlock rows;
  rows.resize(encoding, 0, 1, 96);
  EXPECT_EQ(rows.n_groups, 3);
  for (size_t i = 0; i < 96; ++i) rows.codes[i] = static_cast<uint8_t>(i % 16);
  rows.scale = {1.5f, 0.25f, 3};
  const std::vector<float> out = decoded(encoding, rows, 0);
  for (size_t i = 0; i < 96; ++i) EXPECT_EQ(out[i], kNf4.values[i % 16] * rows.scale[i / 32]);
}

TEST(RowBlock, FloatElements) {
  RowBlock rows;
  for (const Element element : {Element::f16, Element::bf16}) {
    const Encoding encoding{.element = element, .bits = 16};
    rows.resize(encoding, 0, 1, 2);
    rows.codes = {0x00, 0x3c, 0x00, 0xc0};  // 0x3c00, 0xc000
    const std::vector<float> want =
        element == Element::f16 ? std::vector<float>{1, -2} : std::vector<float>{0x1p-7f, -2};
    EXPECT_EQ(decoded(encoding, rows, 0), want);
  }
  const Encoding encoding{.element = Element::f32, .bits = 32};
  rows.resize(encoding, 0, 1, 1);
  rows.codes = {0, 0, 0x80, 0x3f};
  EXPECT_EQ(decoded(encoding, rows, 0), std::vector<float>{1});
}

TEST(RowBlock, BitsPerWeight) {
  const Encoding q4_k{.element = Element::integer,
                      .bits = 4,
                      .grouping = {GroupKind::along_k, 32},
                      .scale = ScaleType::f16,
                      .min = ScaleType::f16};
  EXPECT_DOUBLE_EQ(bits_per_weight(q4_k, 4096), 5.0);
  const Encoding nf4{
      .element = Element::table, .bits = 4, .table = &kNf4, .grouping = {GroupKind::flat, 64}, .scale = ScaleType::f32};
  EXPECT_DOUBLE_EQ(bits_per_weight(nf4, 4096), 4.5);
  EXPECT_NE(describe(nf4).find("nf4"), std::string::npos);
}

/// A plan whose element (r, c) is 100 r + c.
WeightPlan numbered(int64_t first_row, int64_t n, int64_t k) {
  return {.name = "w" + std::to_string(first_row),
          .encoding = {.element = Element::f32, .bits = 32},
          .n = n,
          .k = k,
          .source_bytes = static_cast<uint64_t>(n * k * 4),
          .read = [first_row, k](int64_t begin, int64_t count, RowBlock& rows) {
            rows.resize({.element = Element::f32, .bits = 32}, begin, count, k);
            for (int64_t i = 0; i < count * k; ++i) {
              const auto value = static_cast<float>(100 * (first_row + begin + i / k) + i % k);
              std::memcpy(rows.codes.data() + 4 * i, &value, 4);
            }
          }};
}

float first_of_row(const WeightPlan& plan, int64_t begin, int64_t count, int64_t r) {
  RowBlock rows;
  plan.read(begin, count, rows);
  EXPECT_EQ(rows.row_begin, begin);
  EXPECT_EQ(rows.n_rows, count);
  return decoded(plan.encoding, rows, r)[0];
}

TEST(WeightPlan, SliceAndConcat) {
  const WeightPlan slice = slice_rows(numbered(0, 10, 3), 4, 5);
  EXPECT_EQ(slice.n, 5);
  EXPECT_EQ(slice.source_bytes, 60u);
  EXPECT_EQ(first_of_row(slice, 1, 2, 1), 600);
  const WeightPlan whole = concat_rows({numbered(0, 4, 3), numbered(4, 1, 3), numbered(5, 6, 3)});
  EXPECT_EQ(whole.n, 11);
  EXPECT_EQ(whole.source_bytes, 132u);
  for (int64_t begin = 0; begin < 11; ++begin) {
    for (int64_t count = 1; begin + count <= 11; ++count) {
      EXPECT_EQ(first_of_row(whole, begin, count, count - 1), 100.0f * static_cast<float>(begin + count - 1));
    }
  }
}

}  // namespace
}  // namespace packhorse
