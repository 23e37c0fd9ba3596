#include "codec/tables.h"

#include <gtest/gtest.h>

#include <cmath>

namespace packhorse {
namespace {

TEST(CodeTables, ValuesThatAreMultiplesOfAStepAreExact) {
  const struct {
    const CodeTable& table;
    float step;
  } kCases[] = {{kE2M1, 0.5f}, {kFp4Powers, 1.0f / 64}, {kIq4Nl, 1}, {kSign, 1}};
  for (const auto& [table, step] : kCases) {
    EXPECT_EQ(table.approx_step, step) << table.name;
    for (int i = 0; i < 16; ++i)
      EXPECT_EQ(table.values[i], step * static_cast<float>(table.approx[i])) << table.name << i;
  }
  EXPECT_EQ(kE2M1.approx[7], 12);
  EXPECT_EQ(kIq4Nl.approx[0], -127);
}

TEST(CodeTables, OthersAreNear) {
  for (const CodeTable* table : {&kNf4, &kFp4}) {
    for (int i = 0; i < 16; ++i) {
      EXPECT_NEAR(table->values[i], table->approx_step * static_cast<float>(table->approx[i]), 0.004)
          << table->name << i;
    }
  }
}

TEST(CodeTables, Fp4OfBitblasIsSignAndExponent) {
  for (int code = 0; code < 16; ++code) {
    const int exponent = code & 7;
    const float magnitude = exponent ? std::ldexp(1.0f, exponent - 7) : 0.0f;
    EXPECT_EQ(kFp4Powers.values[code], code & 8 ? -magnitude : magnitude) << code;
  }
}

}  // namespace
}  // namespace packhorse
