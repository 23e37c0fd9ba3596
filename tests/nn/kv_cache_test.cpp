// What attention stores for every type of the KV cache, bit for bit, and what it makes of it, against
// golden/make_kv_cache.py.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/half.h"
#include "codec/kv_codes.h"
#include "formats/format_testing.h"
#include "nn/attention.h"

namespace packhorse {
namespace {

struct Type {
  const char* name;
  KvDType type;
};
constexpr Type kTypes[] = {
    {"bfloat16", KvDType::bf16},
    {"float16", KvDType::f16},
    {"fp8_e4m3", KvDType::fp8_e4m3},
    {"fp8_e5m2", KvDType::fp8_e5m2},
    {"fp8_per_token_head", KvDType::fp8_token},
    {"int8_per_token_head", KvDType::int8_token},
    {"int4_per_token_head", KvDType::int4_token},
};
constexpr AttentionShape kShape{.n_heads = 4, .n_kv_heads = 2, .head_dim = 48, .scale = 0.14433756729740643f};

class KvCache : public ::testing::TestWithParam<Type> {
 protected:
  /// Stores and attends to qkv, `chunk` tokens at a time.
  std::vector<float> attend(std::vector<float> qkv, KvPool& kv, int64_t chunk, KvScales scales = {}) {
    const int64_t n_tokens = static_cast<int64_t>(qkv.size()) / kShape.qkv_width(), width = 4 * 48;
    const Attention attention(kShape, 0, KernelSelector(), std::move(scales));
    ThreadPool pool(2);
    Workspace workspace;
    ForwardCtx ctx{.pool = pool, .workspace = workspace, .kv = kv};
    std::vector<int32_t> blocks(static_cast<size_t>(kv.n_blocks()));
    std::iota(blocks.begin(), blocks.end(), 0);
    std::vector<float> out;
    for (int64_t begin = 0; begin < n_tokens; begin += chunk) {
      const int64_t count = std::min(chunk, n_tokens - begin);
      const Batch batch{
          .tokens = std::vector<int32_t>(static_cast<size_t>(count)),
          .spans = {{.first_token = 0, .n_tokens = count, .first_position = begin, .block_table = blocks}},
          .logit_rows = {}};
      const float* part = attention(qkv.data() + begin * kShape.qkv_width(), batch, ctx);
      out.insert(out.end(), part, part + count * width);
    }
    return out;
  }
  static CacheSpec spec(KvDType type) { return {.n_kv_heads = 2, .head_dim = 48, .dtype = type}; }
};

TEST_P(KvCache, holds_and_gives_what_the_golden_says) {
  const testing::TensorFile golden(testing::golden_dir() / "kv_cache.safetensors");
  const std::string name = GetParam().name;
  const std::vector<float> qkv = golden.get<float>("qkv"), want = golden.get<float>(name + ".out");
  KvPool kv({spec(GetParam().type)}, 2);
  const std::vector<float> out = attend(qkv, kv, 1000);
  const KvLayerView cache = kv.layer(0);
  ASSERT_EQ(cache.block_stride, spec(GetParam().type).bytes_per_block());
  for (const char* half : {"keys", "values"}) {
    const std::vector<uint8_t> expected = golden.get<uint8_t>(name + "." + half);
    const size_t bytes = expected.size() / 2;
    ASSERT_EQ(static_cast<int64_t>(bytes) * 2, cache.block_stride);
    for (size_t block = 0; block < 2; ++block) {
      const std::byte* memory =
          (half[0] == 'k' ? cache.keys : cache.values) + static_cast<int64_t>(block) * cache.block_stride;
      for (size_t i = 0; i < bytes; ++i) {
        ASSERT_EQ(static_cast<uint8_t>(memory[i]), expected[block * bytes + i])
            << half << " block " << block << " byte " << i;
      }
    }
  }
  float largest = 0;
  for (const float v : want) largest = std::max(largest, std::fabs(v));
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(out[i], want[i], 2e-6f * largest) << i;
}

TEST_P(KvCache, is_the_same_in_chunks) {
  const testing::TensorFile golden(testing::golden_dir() / "kv_cache.safetensors");
  const std::vector<float> qkv = golden.get<float>("qkv");
  KvPool whole({spec(GetParam().type)}, 2), parts({spec(GetParam().type)}, 2);
  EXPECT_EQ(attend(qkv, whole, 1000), attend(qkv, parts, 3));
  const auto bytes = static_cast<size_t>(2 * whole.layer(0).block_stride);
  EXPECT_EQ(std::memcmp(whole.layer(0).keys, parts.layer(0).keys, bytes), 0);
}

TEST_P(KvCache, shows_a_number_that_is_not_finite) {
  if (!kv_has_token_scales(GetParam().type)) return;
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x(48, 1);
    x[17] = bad;
    std::vector<uint8_t> codes(48);
    EXPECT_TRUE(
        std::isnan(unpack_kv_scale(GetParam().type, encode_kv(GetParam().type, x.data(), 48, 1, codes.data())).scale));
  }
}

TEST_P(KvCache, a_value_that_is_no_number_reaches_the_output) {
  const testing::TensorFile golden(testing::golden_dir() / "kv_cache.safetensors");
  std::vector<float> qkv = golden.get<float>("qkv");
  qkv[3 * 384 + 6 * 48 + 5] = std::numeric_limits<float>::quiet_NaN();  // token 3, first value head
  KvPool kv({spec(GetParam().type)}, 2);
  const std::vector<float> out = attend(qkv, kv, 1);
  const auto is_nan = [](float v) { return std::isnan(v); };
  EXPECT_TRUE(std::none_of(out.begin(), out.begin() + 3 * 192, is_nan));
  EXPECT_TRUE(std::any_of(out.begin() + 5 * 192, out.begin() + 6 * 192, is_nan));
}

TEST_P(KvCache, takes_zeros_and_tiny_numbers) {
  for (const float value : {0.0f, 1e-40f, -1e-38f, 3e-31f}) {
    const std::vector<float> x(48, value);
    std::vector<uint8_t> codes(static_cast<size_t>(kv_code_bytes(GetParam().type, 48)));
    const KvScale scale = unpack_kv_scale(GetParam().type, encode_kv(GetParam().type, x.data(), 48, 1, codes.data()));
    EXPECT_NEAR((kv_code_value(GetParam().type, codes.data(), 5) - scale.zero) * scale.scale, 0, 1e-30) << value;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, KvCache, ::testing::ValuesIn(kTypes),
                         [](const auto& test) { return std::string(test.param.name); });

using KvCacheScales = KvCache;
TEST_F(KvCacheScales, divide_what_is_stored_and_come_back) {
  const testing::TensorFile golden(testing::golden_dir() / "kv_cache.safetensors");
  std::vector<float> qkv = golden.get<float>("qkv");
  for (float& v : qkv) v = std::clamp(v, -8.0f, 8.0f);
  std::vector<float> divided = qkv;
  const KvScales scales{{0.5f, 4}, {2, 0.25f}};
  for (size_t i = 0; i < qkv.size(); ++i) {
    const size_t head = i % 384 / 48;
    if (head >= 4) divided[i] /= (head < 6 ? scales.k : scales.v)[head % 2];
  }
  KvPool with({spec(KvDType::fp8_e4m3)}, 2), without({spec(KvDType::fp8_e4m3)}, 2), exact({spec(KvDType::f32)}, 2);
  const std::vector<float> out = attend(qkv, with, 1000, scales), want = attend(qkv, exact, 1000);
  attend(divided, without, 1000);
  const auto bytes = static_cast<size_t>(2 * with.layer(0).block_stride);
  EXPECT_EQ(std::memcmp(with.layer(0).keys, without.layer(0).keys, bytes), 0);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], want[i], 0.3) << i;
}

TEST(KvCodes, small_floats_saturate_and_keep_nan) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(e5m2_to_f32(f32_to_e5m2(1e9f)), 57344);
  EXPECT_EQ(e5m2_to_f32(f32_to_e5m2(-infinity)), -57344);
  EXPECT_EQ(e4m3_to_f32(f32_to_e4m3(infinity)), 448);
  EXPECT_TRUE(std::isnan(e5m2_to_f32(f32_to_e5m2(nan))));
  for (int code = 0; code < 256; ++code) {
    const float value = e5m2_to_f32(static_cast<uint8_t>(code));
    if (!std::isfinite(value)) continue;
    EXPECT_EQ(f32_to_e5m2(value), code);
  }
}

TEST(KvCodes, sizes) {
  constexpr int64_t kCodes = 2 * 64 * 16, kScales = 2 * 16 * 4;
  EXPECT_EQ(kv_half_block_bytes(KvDType::f16, 2, 64), kCodes * 2);
  EXPECT_EQ(kv_half_block_bytes(KvDType::fp8_e5m2, 2, 64), kCodes);
  EXPECT_EQ(kv_half_block_bytes(KvDType::int8_token, 2, 64), kCodes + kScales);
  EXPECT_EQ(kv_half_block_bytes(KvDType::int4_token, 2, 64), kCodes / 2 + kScales);
}

TEST(KvCodes, a_transform_of_a_transform_is_a_multiple) {
  std::vector<float> x(96);
  std::iota(x.begin(), x.end(), -20.0f);
  const std::vector<float> given = x;
  hadamard(x.data(), 96);
  EXPECT_NE(x, given);
  EXPECT_EQ(x[0], -20 * 32 + 31 * 16) << "the first of a block of 32 is its sum";
  hadamard(x.data(), 96);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], 32 * given[i]);
}

}  // namespace
}  // namespace packhorse
