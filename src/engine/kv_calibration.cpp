#include "engine/kv_calibration.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace packhorse {
namespace {

/// Largest magnitude of n floats, NaN when one is.
float largest_of(const std::byte* memory, int64_t n) {
  const auto* x = reinterpret_cast<const float*>(memory);
  float largest = 0, bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    bad += x[i] * 0.0f;
  }
  return largest + bad;
}

std::vector<float> scales_for(float largest, float code, const KvLayerView& cache, int64_t layer) {
  if (!std::isfinite(largest)) fail_model("calculate_kv_scales: keys or values of layer {} are not finite", layer);
  return std::vector(static_cast<size_t>(cache.spec.n_kv_heads), largest > 0 ? largest / code : 1.0f);
}

}  // namespace

std::vector<int32_t> calibration_tokens(int64_t vocab_size, int64_t n) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) {
    const auto fraction = static_cast<uint64_t>(static_cast<uint32_t>(i * 0x9e3779b9));  // of 2^32: golden ratio steps
    tokens.push_back(static_cast<int32_t>(fraction * static_cast<uint64_t>(vocab_size) >> 32));
  }
  return tokens;
}

void calibrate_kv_scales(Model& model, ThreadPool& pool, int64_t max_tokens, std::span<const int64_t> layers) {
  std::vector<CacheSpec> specs = model.cache_specs();
  for (CacheSpec& spec : specs) spec.dtype = KvDType::f32;
  const int64_t n_tokens = std::min(kCalibrationTokens, max_tokens);
  const int64_t n_blocks = (n_tokens + kKvBlockTokens - 1) / kKvBlockTokens;
  KvPool kv(specs, n_blocks);  // zeros where no token is
  std::vector<int32_t> blocks(static_cast<size_t>(n_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  Batch batch{.tokens = calibration_tokens(model.vocab_size(), n_tokens), .spans = {}, .logit_rows = {}};
  batch.spans.push_back({.first_token = 0, .n_tokens = n_tokens, .first_position = 0, .block_table = blocks});
  Workspace workspace;
  ForwardCtx ctx{.pool = pool, .workspace = workspace, .kv = kv};
  model.forward(batch, ctx);
  for (const int64_t layer : layers) {
    const KvLayerView cache = kv.layer(layer);
    const int64_t n = cache.spec.n_kv_heads * cache.spec.head_dim * kKvBlockTokens;
    float key = 0, value = 0;
    for (int64_t block = 0; block < n_blocks; ++block) {
      key = std::max(largest_of(cache.keys + block * cache.block_stride, n), key);
      value = std::max(largest_of(cache.values + block * cache.block_stride, n), value);
    }
    model.set_kv_scales(layer,
                        {scales_for(key, kLargestKey, cache, layer), scales_for(value, kLargestValue, cache, layer)});
  }
}

}  // namespace packhorse
