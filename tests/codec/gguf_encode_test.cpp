// Small cases worked out by hand; all of ggml's own answers are compared in tests/formats/gguf_in_flight_test.cpp.

#include "codec/gguf_encode.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "codec/tables.h"

namespace packhorse {
namespace {

using Encode = void (*)(std::span<const float>, const GgufTarget&);

/// A row of blocks, with room for the smallest groups; what is not written stays at the fillers.
struct Encoded {
  static constexpr float kFiller = -777;

  Encoded(Encode encode, const std::vector<float>& row)
      : codes(row.size(), 255),
        scale(row.size() / 16, kFiller),
        min(row.size() / 16, kFiller),
        super_scale(row.size() / 32, kFiller),
        super_min(row.size() / 32, kFiller) {
    encode(row, {codes.data(), scale.data(), min.data(), super_scale.data(), super_min.data()});
  }
  std::vector<uint8_t> codes;
  std::vector<float> scale, min, super_scale, super_min;
};

std::vector<float> row_of(size_t k, std::vector<float> first, float rest = 0) {
  first.resize(k, rest);
  return first;
}

TEST(GgufEncode, FirstExtremeOfEqualMagnitudeGetsTheLowestCode) {
  const Encoded positive(encode_q4_0, row_of(32, {4, -4, 2, 0.25f, 0.2f}));
  EXPECT_EQ(positive.scale[0], -0.5f);
  EXPECT_EQ((std::vector<uint8_t>(positive.codes.begin(), positive.codes.begin() + 5)),
            (std::vector<uint8_t>{0, 15, 4, 8, 8}));
  const Encoded negative(encode_q5_0, row_of(64, std::vector<float>(32), 8));
  EXPECT_EQ(negative.scale[1], -0.5f);
  EXPECT_EQ(negative.codes[31], 16);
  EXPECT_EQ(negative.codes[32], 0);
  EXPECT_EQ(negative.scale[0], 0.0f);
  EXPECT_TRUE(std::signbit(negative.scale[0]));
}

TEST(GgufEncode, RangesBeginAtTheSmallestElement) {
  const Encoded four(encode_q4_1, row_of(32, {2, 17, 2.5f, 2.49f, 9}, 3));
  EXPECT_EQ(four.scale[0], 1.0f);
  EXPECT_EQ(four.min[0], 2.0f);
  EXPECT_EQ((std::vector<uint8_t>(four.codes.begin(), four.codes.begin() + 6)),
            (std::vector<uint8_t>{0, 15, 1, 0, 7, 1}));
  const Encoded flat(encode_q5_1, std::vector<float>(32, -3));
  EXPECT_EQ(flat.scale[0], 0.0f);
  EXPECT_EQ(flat.min[0], -3.0f);
  EXPECT_EQ(flat.codes, std::vector<uint8_t>(32, 0));
}

TEST(GgufEncode, HalvesGoAwayFromZero) {
  const Encoded eight(encode_q8_0, row_of(32, {127, -127, 0.5f, -0.5f, 1.5f, 2.5f, -2.5f, std::nextafter(0.5f, 0.0f)}));
  EXPECT_EQ(eight.scale[0], 1.0f);
  EXPECT_EQ((std::vector<uint8_t>(eight.codes.begin(), eight.codes.begin() + 8)),
            (std::vector<uint8_t>{255, 1, 129, 127, 130, 131, 125, 128}));
  const Encoded ternary(encode_ternary, row_of(256, {2, -2, 1, -1, 0.99f, -0.99f}));
  EXPECT_EQ(ternary.scale[0], 2.0f);
  EXPECT_EQ((std::vector<uint8_t>(ternary.codes.begin(), ternary.codes.begin() + 6)),
            (std::vector<uint8_t>{2, 0, 2, 0, 1, 1}));
}

TEST(GgufEncode, ScalesWithoutAnInverseLeaveZeros) {
  const std::vector<float> row = row_of(256, {1e-39f, -1e-39f, 1e-42f});
  EXPECT_EQ(Encoded(encode_q8_0, row).codes, std::vector<uint8_t>(256, 128));
  EXPECT_EQ(Encoded(encode_ternary, row).codes[0], 1);
}

TEST(GgufEncode, ElementsOnAGridKeepTheirCodes) {
  std::vector<float> row(256);
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i * 7 % 32);
  const Encoded five(encode_q5_k, row);
  for (size_t i = 0; i < row.size(); ++i) EXPECT_EQ(five.codes[i], i * 7 % 32);
  EXPECT_EQ(five.scale[7], 63.0f);
  EXPECT_EQ(five.min[7], 0.0f);
  EXPECT_EQ(five.super_min[0], 0.0f);
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i * 3 % 8) - 4;
  const Encoded three(encode_q3_k, row);
  for (size_t i = 0; i < row.size(); ++i) EXPECT_EQ(three.codes[i], i * 3 % 8);
  EXPECT_EQ(three.scale[0] * three.super_scale[0], 1.0f);
}

TEST(GgufEncode, ZerosAsGgmlWritesThem) {
  const std::vector<float> zeros(256);
  for (const Encode encode : {encode_q2_k, encode_q3_k, encode_q4_k, encode_q5_k, encode_q6_k}) {
    const Encoded zero(encode, zeros);
    EXPECT_EQ(zero.codes, std::vector<uint8_t>(256, 0));
    EXPECT_EQ(zero.super_scale[0], 0.0f);
  }
  EXPECT_EQ(Encoded(encode_q3_k, zeros).scale[0], -32.0f);
  EXPECT_EQ(Encoded(encode_q6_k, zeros).scale[0], 0.0f);
}

TEST(GgufEncode, EachTableValueIsItsOwnNearest) {
  std::vector<float> row(32 * 5);
  for (size_t i = 0; i < row.size(); ++i) row[i] = kIq4Nl.values[i % 16] * 0.25f;
  const Encoded made(encode_iq4_nl, row);
  for (size_t i = 0; i < row.size(); ++i) EXPECT_EQ(made.codes[i], i % 16) << i;
  EXPECT_EQ(made.scale[0], 0.25f);
  EXPECT_EQ(made.scale[4], 0.25f) << "the last block stands alone";
  EXPECT_EQ(made.scale[5], Encoded::kFiller);
}

TEST(GgufEncode, BlocksDoNotSeeEachOther) {
  std::vector<float> row(512);
  for (size_t i = 0; i < row.size(); ++i) row[i] = std::sin(static_cast<float>(i * i));
  std::vector<float> other = row;
  for (size_t i = 0; i < 256; ++i) other[i] *= 100;
  for (const Encode encode : {encode_q2_k, encode_q4_k, encode_q6_k, encode_iq4_xs}) {
    const Encoded a(encode, row), b(encode, other);
    EXPECT_TRUE(std::equal(a.codes.begin() + 256, a.codes.end(), b.codes.begin() + 256));
    EXPECT_EQ(a.super_scale[1], b.super_scale[1]);
    EXPECT_NE(a.super_scale[0], b.super_scale[0]);
  }
}

}  // namespace
}  // namespace packhorse
