// KV cache types by name, and the scales that calculate_kv_scales measures.

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/kv_calibration.h"
#include "engine/loaded_model.h"
#include "testing.h"

namespace packhorse {
namespace {

std::string error_of(const std::string& name) {
  try {
    resolve_precision("auto", name, "bfloat16", false);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  return "";
}

TEST(KvCacheDtype, names) {
  const auto resolved = [](const char* name, bool has_scales = false) {
    const Precision precision = resolve_precision("auto", name, "bfloat16", has_scales);
    return std::pair(precision.kv_cache_dtype, precision.kv);
  };
  EXPECT_EQ(resolved("auto"), std::pair(std::string("bfloat16"), KvDType::bf16));
  EXPECT_EQ(resolved("auto", true), std::pair(std::string("fp8_e4m3"), KvDType::fp8_e4m3));
  EXPECT_EQ(resolved("bfloat16", true), std::pair(std::string("bfloat16"), KvDType::bf16));
  EXPECT_EQ(resolved("half"), std::pair(std::string("float16"), KvDType::f16));
  EXPECT_EQ(resolved("torch.float32"), std::pair(std::string("float32"), KvDType::f32));
  for (const char* name : {"fp8", "fp8_e4m3", "fp8_inc"})
    EXPECT_EQ(resolved(name), std::pair(std::string("fp8_e4m3"), KvDType::fp8_e4m3));
  EXPECT_EQ(resolved("fp8_e5m2", true), std::pair(std::string("fp8_e5m2"), KvDType::fp8_e5m2));
  EXPECT_EQ(resolved("fp8_per_token_head").second, KvDType::fp8_token);
  EXPECT_EQ(resolved("int8"), std::pair(std::string("int8_per_token_head"), KvDType::int8_token));
  EXPECT_EQ(resolved("int4"), std::pair(std::string("int4_per_token_head"), KvDType::int4_token));
}

TEST(KvCacheDtype, errors) {
  constexpr const char* kAll =
      "(auto, float32, bfloat16, float16, fp8_e4m3, fp8_e5m2, fp8_per_token_head, int8_per_token_head, "
      "int4_per_token_head)";
  EXPECT_EQ(error_of("q8_0"), fmt::format("kv_cache_dtype: 'q8_0' is not supported {}", kAll));
  for (const char* name : {"nvfp4", "nvfp4_4over6", "nvfp4_ds_mla", "fp8_ds_mla", "turboquant_k8v4",
                           "turboquant_3bit_nc", "octave_k3v4", "ultraquant_4bit"})
    EXPECT_EQ(error_of(name), fmt::format("kv_cache_dtype: '{}' is not supported yet {}", name, kAll));
}

/// A model that notes the scales that it is given.
class Noting final : public Model {
 public:
  explicit Noting(const Model& model) : scales(model.cache_specs().size()), model_(model) {}
  Logits forward(const Batch& batch, ForwardCtx& ctx) const override { return model_.forward(batch, ctx); }
  std::vector<CacheSpec> cache_specs() const override { return model_.cache_specs(); }
  void set_kv_scales(int64_t layer, const KvScales& given) override { scales[static_cast<size_t>(layer)] = given; }
  int64_t vocab_size() const override { return model_.vocab_size(); }
  int64_t max_positions() const override { return model_.max_positions(); }
  std::vector<KvScales> scales;

 private:
  const Model& model_;
};

EngineOptions small_model(const char* kv_cache_dtype) {
  EngineOptions options;
  options.model = (testing::golden_dir() / "formats" / "gguf-q4_0").string();
  options.kv_cache_dtype = kv_cache_dtype;
  options.threads = 2;
  return options;
}

TEST(CalculateKvScales, are_for_the_layers_that_have_none) {
  const EngineOptions options = small_model("float32");
  LoadedModel loaded(options, options.model);
  Noting model(*loaded.model);
  calibrate_kv_scales(model, loaded.pool, 40, std::vector<int64_t>{1});
  EXPECT_TRUE(model.scales[0].k.empty());
  EXPECT_FALSE(model.scales[1].k.empty());
}

TEST(CalculateKvScales, are_the_largest_over_the_calibration_tokens) {
  const EngineOptions options = small_model("float32");
  LoadedModel loaded(options, options.model);
  Noting model(*loaded.model);
  std::vector<int64_t> layers(model.scales.size());
  std::iota(layers.begin(), layers.end(), 0);
  calibrate_kv_scales(model, loaded.pool, 40, layers);

  // The same tokens one by one, each read back from its slot.
  const std::vector<int32_t> tokens = calibration_tokens(model.vocab_size(), 40);
  KvPool kv(model.cache_specs(), 3);
  const std::vector<int32_t> blocks = {0, 1, 2};
  Workspace workspace;
  ForwardCtx ctx{.pool = loaded.pool, .workspace = workspace, .kv = kv};
  std::vector<float> keys(model.scales.size()), values = keys;
  for (int64_t t = 0; t < 40; ++t) {
    model.forward({.tokens = {tokens[static_cast<size_t>(t)]},
                   .spans = {{.first_token = 0, .n_tokens = 1, .first_position = t, .block_table = blocks}},
                   .logit_rows = {}},
                  ctx);
    for (size_t layer = 0; layer < keys.size(); ++layer) {
      const KvLayerView cache = kv.layer(static_cast<int64_t>(layer));
      for (int64_t i = 0; i < cache.spec.n_kv_heads * cache.spec.head_dim; ++i) {
        const int64_t head = i / cache.spec.head_dim, d = i % cache.spec.head_dim;
        const int64_t block = t / 16 * cache.block_stride;
        const auto* key = reinterpret_cast<const float*>(cache.keys + block) + i * 16 + t % 16;
        const auto* value =
            reinterpret_cast<const float*>(cache.values + block) + (head * 16 + t % 16) * cache.spec.head_dim + d;
        keys[layer] = std::max(keys[layer], std::fabs(*key));
        values[layer] = std::max(values[layer], std::fabs(*value));
      }
    }
  }
  for (size_t layer = 0; layer < keys.size(); ++layer) {
    const auto n = static_cast<size_t>(model.cache_specs()[layer].n_kv_heads);
    EXPECT_EQ(model.scales[layer].k, std::vector(n, keys[layer] / 200));
    EXPECT_EQ(model.scales[layer].v, std::vector(n, values[layer] / 100));
  }
}

TEST(CalculateKvScales, tokens_spread_over_the_vocabulary) {
  const std::vector<int32_t> tokens = calibration_tokens(1000, 256);
  EXPECT_EQ(tokens, calibration_tokens(1000, 256));
  std::vector<int> per_tenth(10);
  for (const int32_t token : tokens) {
    ASSERT_GE(token, 0);
    ASSERT_LT(token, 1000);
    ++per_tenth[static_cast<size_t>(token / 100)];
  }
  for (const int n : per_tenth) EXPECT_NEAR(n, 25.6, 3);
}

TEST(CalculateKvScales, warnings_say_what_happened) {
  const auto warnings = [](const char* kv, bool calculate) {
    EngineOptions options = small_model(kv);
    options.calculate_kv_scales = calculate;
    std::string all;
    for (const std::string& line : LoadedModel(options, options.model).warnings) all += line + "\n";
    return all;
  };
  EXPECT_EQ(warnings("fp8", true), "");
  EXPECT_EQ(warnings("fp8", false),
            "kv_cache_dtype fp8: the checkpoint has no scales of keys and values; 1 is taken (--calculate-kv-scales "
            "measures them)\n");
  EXPECT_EQ(warnings("int8", true), "calculate_kv_scales: no effect with kv_cache_dtype int8_per_token_head\n");
  EXPECT_EQ(warnings("fp8_e5m2", false), "");
}

}  // namespace
}  // namespace packhorse
