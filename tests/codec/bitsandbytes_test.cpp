#include "codec/bitsandbytes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "codec/cascade_sum.h"
#include "codec/widen.h"
#include "tensor_file.h"

namespace packhorse {
namespace {

using testing::TensorFile;

std::vector<float> widened(const TensorFile& file, const std::string& name) {
  const std::string dtype = file.dtype(name);
  const Element element = dtype == "F32" ? Element::f32 : dtype == "F16" ? Element::f16 : Element::bf16;
  const auto raw = file.get<uint8_t>(name);
  std::vector<float> out(raw.size() / element_bytes(element));
  widen(element, raw.data(), static_cast<int64_t>(out.size()), out.data());
  return out;
}

/// Equal up to a common prefix: a cut golden has the weights of the first rows alone.
template <class T>
void expect_prefix(const std::vector<T>& got, const std::vector<T>& want, const std::string& what) {
  ASSERT_LE(got.size(), want.size()) << what;
  size_t n_wrong = 0;
  for (size_t i = 0; i < got.size(); ++i) n_wrong += got[i] != want[i];
  EXPECT_EQ(n_wrong, 0u) << what << " of " << got.size();
}

struct Golden {
  const char* label;
  std::filesystem::path path;
};
class BitsandbytesGolden : public ::testing::TestWithParam<Golden> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(GetParam().path)) GTEST_SKIP() << GetParam().path << " is absent";
    file_ = std::make_unique<TensorFile>(GetParam().path);
  }
  std::vector<std::string> names_ending(std::string_view suffix) const {
    std::vector<std::string> found;
    for (const auto& [name, value] : file_->header().items()) {
      if (name.ends_with(suffix)) found.push_back(name.substr(0, name.size() - suffix.size()));
    }
    return found;
  }
  std::unique_ptr<TensorFile> file_;
};

TEST_P(BitsandbytesGolden, FourBitCodesAndAbsmax) {
  int n_cases = 0;
  for (const std::string& name : names_ending(".packed")) {
    const size_t dot = name.rfind('.');
    const std::string kind = name.substr(dot + 1);
    const CodeTable& table = kind.starts_with("nf4") ? kNf4 : kFp4;
    const uint32_t block = kind.ends_with("_bs32") ? 32 : kind.ends_with("_bs4096") ? 4096 : 64;
    const std::vector<float> weights = widened(*file_, name.substr(0, dot) + ".weight");
    std::vector<uint8_t> codes(weights.size()), packed(weights.size() / 2);
    std::vector<float> absmax((weights.size() + block - 1) / block), measured(absmax.size());
    encode_4bit(table, weights.data(), static_cast<int64_t>(weights.size()), block, codes.data(), absmax.data());
    for (size_t i = 0; i < packed.size(); ++i) packed[i] = static_cast<uint8_t>(codes[2 * i] << 4 | codes[2 * i + 1]);
    expect_prefix(packed, file_->get<uint8_t>(name + ".packed"), name);
    if (file_->has(name + ".absmax")) expect_prefix(absmax, file_->get<float>(name + ".absmax"), name + ".absmax");
    block_absmax(weights.data(), static_cast<int64_t>(weights.size()), block, measured.data());
    EXPECT_EQ(measured, absmax) << name;
    ++n_cases;
  }
  EXPECT_GE(n_cases, 6);
}

TEST_P(BitsandbytesGolden, NestedStatistics) {
  int n_cases = 0;
  for (const std::string& name : names_ending("_double.offset")) {
    if (!file_->has(name + ".absmax")) continue;
    const auto absmax = file_->get<float>(name + ".absmax");
    const NestedAbsmax nested = encode_nested(absmax);
    EXPECT_EQ(nested.offset, file_->get<float>(name + "_double.offset")[0]) << name;
    EXPECT_EQ(nested.codes, file_->get<uint8_t>(name + "_double.absmax")) << name;
    EXPECT_EQ(nested.absmax, file_->get<float>(name + "_double.nested_absmax")) << name;
    ++n_cases;
  }
  EXPECT_GE(n_cases, 3);
}

TEST_P(BitsandbytesGolden, Int8Rows) {
  for (const std::string& name : names_ending(".int8.CB")) {
    std::vector<float> weights = widened(*file_, name + ".weight");
    const int64_t k = file_->columns(name + ".weight");
    const auto golden = file_->get<int8_t>(name + ".int8.CB");
    const auto scales = file_->get<float>(name + ".int8.SCB");
    ASSERT_EQ(golden.size(), weights.size());
    std::vector<uint8_t> codes(static_cast<size_t>(k));
    size_t n_wrong = 0;
    for (size_t r = 0; r < scales.size(); ++r) {
      const size_t first = r * codes.size();
      EXPECT_EQ(encode_int8_row(weights.data() + first, k, codes.data()), scales[r]);
      for (size_t i = 0; i < codes.size(); ++i) n_wrong += codes[i] - 128 != golden[first + i];
    }
    EXPECT_EQ(n_wrong, 0u) << name;
  }
}

TEST_P(BitsandbytesGolden, Tables) {
  if (!file_->has("nf4.code")) return;  // this file holds no tables
  const auto nf4 = file_->get<float>("nf4.code"), fp4 = file_->get<float>("fp4.code"),
             map = file_->get<float>("nested.code");
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(kNf4.values[i], nf4[i]) << i;
    EXPECT_EQ(kFp4.values[i], fp4[i]) << i;
  }
  EXPECT_TRUE(std::equal(map.begin(), map.end(), dynamic_map().begin(), dynamic_map().end()));
}

INSTANTIATE_TEST_SUITE_P(Files, BitsandbytesGolden,
                         ::testing::Values(Golden{"small", testing::golden_dir() / "bitsandbytes_small.safetensors"},
                                           Golden{"full", testing::shared_dir() / "goldens/bitsandbytes.safetensors"},
                                           Golden{"dtypes",
                                                  testing::shared_dir() / "goldens/bitsandbytes_dtypes.safetensors"}),
                         [](const auto& param) { return param.param.label; });

std::vector<uint8_t> encoded(const CodeTable& table, std::vector<float> weights, uint32_t block,
                             std::vector<float>* absmax = nullptr) {
  std::vector<uint8_t> codes(weights.size());
  std::vector<float> scales((weights.size() + block - 1) / block);
  encode_4bit(table, weights.data(), static_cast<int64_t>(weights.size()), block, codes.data(), scales.data());
  if (absmax) *absmax = scales;
  return codes;
}

TEST(Bitsandbytes, ExampleOfTheFormat) {
  std::vector<float> absmax;
  EXPECT_EQ(encoded(kNf4, {0.5f, -1, 0.25f, 0, 2, -2, 1.5f, -0.1f}, 64, &absmax),
            (std::vector<uint8_t>{10, 2, 9, 7, 15, 0, 14, 6}));
  EXPECT_EQ(absmax, std::vector<float>{2});
}

TEST(Bitsandbytes, ZeroBlocksKeepTheCodeOfZero) {
  EXPECT_EQ(encoded(kNf4, std::vector<float>(96, 0.0f), 64), std::vector<uint8_t>(96, 7));
  EXPECT_EQ(encoded(kFp4, std::vector<float>(96, -0.0f), 64), std::vector<uint8_t>(96, 0));
}

/// The rule as the library's portable code states it, one weight at a time.
uint8_t code_by_rule(const CodeTable& table, float y) {
  std::vector<std::pair<float, uint8_t>> sorted;
  for (uint8_t code = 0; code < 16; ++code) sorted.emplace_back(table.values[code], code);
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  size_t at = 0;
  while (at < 15 && (sorted[at].first + sorted[at + 1].first) / 2 < y) ++at;
  return sorted[at].second;
}

TEST(Bitsandbytes, FullBlocksMultiplyAndTheShortOneDivides) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  int n_differ = 0;  // where the two roundings fall on two sides of a midpoint
  for (const CodeTable* table : {&kNf4, &kFp4}) {
    for (int round = 0; round < 300; ++round) {
      const size_t n = 1 + random() % 200;
      const float largest = 1 + std::fabs(normal(random));
      std::vector<float> weights(n);
      for (float& w : weights) {  // next to the midpoints
        const size_t i = random() % 15;
        w = (table->values[i] + table->values[i + 1]) / 2 * largest;
      }
      for (size_t i = 0; i < n; i += 64) weights[i] = largest;
      const std::vector<uint8_t> codes = encoded(*table, weights, 64);
      for (size_t i = 0; i < n; ++i) {
        const bool is_short = i / 64 == n / 64;
        const float product = weights[i] * (1 / largest), quotient = weights[i] / largest;
        ASSERT_EQ(codes[i], code_by_rule(*table, is_short ? quotient : product))
            << table->name << " " << weights[i] << " / " << largest;
        n_differ += is_short && code_by_rule(*table, product) != codes[i];
      }
    }
  }
  EXPECT_GT(n_differ, 0);
}

TEST(Bitsandbytes, OddValuesDoNoHarm) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::vector<float> weights(130, 1e-42f);
  weights[3] = nan, weights[70] = inf, weights[129] = -inf;
  for (const CodeTable* table : {&kNf4, &kFp4}) {
    for (const uint8_t code : encoded(*table, weights, 64)) EXPECT_LT(code, 16);
  }
  const std::vector<float> statistics = {nan, inf, 1, 0};
  EXPECT_EQ(encode_nested(statistics).codes.size(), 4u);
  std::vector<uint8_t> codes(130);
  encode_int8_row(weights.data(), 130, codes.data());
  weights.assign(130, 0.0f);
  EXPECT_EQ(encode_int8_row(weights.data(), 130, codes.data()), 0);
  EXPECT_EQ(codes, std::vector<uint8_t>(130, 128));
}

TEST(Bitsandbytes, NestedStatisticsComeBack) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(0.5f, 1.5f);
  std::vector<float> absmax(700);
  for (float& a : absmax) a = uniform(random);
  const NestedAbsmax nested = encode_nested(absmax);
  ASSERT_EQ(nested.absmax.size(), 3u);
  std::vector<float> out(700), tail(100);
  decode_nested(nested.codes, 0, dynamic_map(), nested.absmax, kNestedBlock, nested.offset, out.data());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], absmax[i], 0.01);
  decode_nested(std::span(nested.codes).subspan(600), 600, dynamic_map(), nested.absmax, kNestedBlock, nested.offset,
                tail.data());
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), out.begin() + 600));
}

TEST(Bitsandbytes, ScalesSpreadOverGroupsOfRows) {
  // Rows of 96, blocks of 64: groups of 32. Row 1 begins in the middle of block 1.
  const std::vector<float> blocks = {1, 2, 3};
  std::vector<float> out(6);
  spread_block_scales(blocks.data(), 96, 32, 5, 64, out.data());
  EXPECT_EQ(out, (std::vector<float>{1, 2, 2, 3, 3, 0}));
}

TEST(CascadeSum, AddsEveryValueOnce) {
  for (const size_t n : {0, 1, 7, 8, 31, 32, 33, 100, 511, 512, 513, 4097, 70001}) {
    std::vector<float> values(n);
    double exact = 0;
    for (size_t i = 0; i < n; ++i) exact += values[i] = static_cast<float>(i % 13);
    EXPECT_EQ(cascade_sum(values), static_cast<float>(exact)) << n;
  }
}

TEST(Widen, EveryHalf) {
  std::vector<uint16_t> bits(65536);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  std::vector<float> wide(bits.size());
  widen(Element::f16, reinterpret_cast<const uint8_t*>(bits.data()), 65536, wide.data());
  for (size_t i = 0; i < bits.size(); ++i) {
    const int exponent = static_cast<int>(i >> 10 & 31), mantissa = static_cast<int>(i & 1023);
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    const double value = i >> 15 ? -magnitude : magnitude;
    if (exponent < 31)
      ASSERT_EQ(wide[i], value) << i;
    else if (mantissa == 0)
      ASSERT_EQ(wide[i], std::copysign(INFINITY, value)) << i;
    else
      ASSERT_TRUE(std::isnan(wide[i])) << i;
  }
  // Rounding is the nearest of those, also between the last two and below the smallest.
  for (size_t i = 0; i + 1 < 0x7c00; ++i) {
    const float low = wide[i], high = wide[i + 1], middle = (low + high) / 2;
    float values[4] = {low, middle, std::nextafter(middle, high), -std::nextafter(middle, low)};
    round_to_f16(values, 4);
    ASSERT_EQ(values[0], low);
    ASSERT_EQ(values[1], i % 2 ? high : low) << i;
    ASSERT_EQ(values[2], high);
    ASSERT_EQ(values[3], -low);
  }
  float large[3] = {65519.99f, 65520.0f, -1e30f};
  round_to_f16(large, 3);
  EXPECT_EQ(large[0], 65504.0f);
  EXPECT_EQ(large[1], INFINITY);
  EXPECT_EQ(large[2], -INFINITY);
}

TEST(Tables, IntegersApproximateTheValues) {
  for (const CodeTable* table : {&kNf4, &kFp4}) {
    for (int i = 0; i < 16; ++i) {
      EXPECT_LE(std::abs(table->approx[i]), 127);
      EXPECT_NEAR(table->values[i], table->approx[i] * table->approx_step, 0.004) << table->name << " " << i;
    }
  }
}

}  // namespace
}  // namespace packhorse
