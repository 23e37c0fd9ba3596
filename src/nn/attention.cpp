#include "nn/attention.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "nn/act.h"

namespace packhorse {
namespace {

void put(KvDType type, std::byte* base, int64_t element, float value) {
  if (type == KvDType::fp8_e4m3) {
    base[element] = static_cast<std::byte>(f32_to_e4m3(value));
  } else if (type == KvDType::f32) {
    std::memcpy(base + element * 4, &value, 4);
  } else {
    const uint16_t bits = type == KvDType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
    std::memcpy(base + element * 2, &bits, 2);
  }
}

}  // namespace

Attention::Attention(const AttentionShape& shape, int64_t layer, const KernelSelector& selector, KvScales scales)
    : shape_(shape),
      layer_(layer),
      kernel_(selector.choose({.op = Op::attention, .head_dim = shape.head_dim}, "attention")),
      scales_(std::move(scales)) {}

void Attention::store(const float* qkv, const Batch& batch, ForwardCtx& ctx) const {
  const KvLayerView cache = ctx.kv.layer(layer_);
  const int64_t dim = shape_.head_dim, kv_heads = shape_.n_kv_heads, width = shape_.qkv_width();
  for (const SequenceSpan& span : batch.spans) {
    for_tokens(ctx.pool, span.n_tokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t position = span.first_position + t, slot = position % kKvBlockTokens;
        const int64_t block = span.block_table[static_cast<size_t>(position / kKvBlockTokens)] * cache.block_stride;
        const float* key = qkv + (span.first_token + t) * width + shape_.n_heads * dim;
        const float* value = key + kv_heads * dim;
        for (int64_t head = 0; head < kv_heads; ++head) {
          const float key_scale = scales_.k.empty() ? 1.0f : scales_.k[static_cast<size_t>(head)];
          const float value_scale = scales_.v.empty() ? 1.0f : scales_.v[static_cast<size_t>(head)];
          for (int64_t d = 0; d < dim; ++d, ++key, ++value) {
            put(cache.spec.dtype, cache.keys + block, (head * dim + d) * kKvBlockTokens + slot, *key / key_scale);
            put(cache.spec.dtype, cache.values + block, (head * kKvBlockTokens + slot) * dim + d, *value / value_scale);
          }
        }
      }
    });
  }
}

float* Attention::operator()(const float* qkv, const Batch& batch, ForwardCtx& ctx) const {
  store(qkv, batch, ctx);
  const KvLayerView cache = ctx.kv.layer(layer_);
  const auto m = static_cast<int64_t>(batch.tokens.size());
  const int64_t dim = shape_.head_dim, out_width = shape_.n_heads * dim, group = shape_.n_heads / shape_.n_kv_heads;
  float* out = ctx.workspace.allocate<float>(m * out_width);
  const Workspace::Mark mark = ctx.workspace.mark();

  std::vector<int64_t> first_item = {0};  // of each span; the last entry is the number of items
  for (const SequenceSpan& span : batch.spans) {
    const int64_t tiles = (span.n_tokens + kAttentionTile - 1) / kAttentionTile;
    first_item.push_back(first_item.back() + tiles * shape_.n_kv_heads);
  }
  const int64_t n_items = first_item.back(), n_tasks = std::min<int64_t>(n_items, ctx.pool.size() * 8);
  const int64_t scratch_floats = attention_scratch_floats(group, dim);
  float* scratch = ctx.workspace.allocate<float>(n_tasks * scratch_floats);

  ctx.pool.run(n_tasks, [&](int64_t task) {
    // The last tiles of a prompt see the most keys: deal items out in turn.
    for (int64_t item = task; item < n_items; item += n_tasks) {
      const auto index = static_cast<size_t>(std::ranges::upper_bound(first_item, item) - first_item.begin() - 1);
      const SequenceSpan& span = batch.spans[index];
      const AttentionArgs args{.q = qkv + span.first_token * shape_.qkv_width(),
                               .out = out + span.first_token * out_width,
                               .q_stride = shape_.qkv_width(),
                               .out_stride = out_width,
                               .n_tokens = span.n_tokens,
                               .first_position = span.first_position,
                               .n_heads = shape_.n_heads,
                               .n_kv_heads = shape_.n_kv_heads,
                               .head_dim = dim,
                               .scale = shape_.scale,
                               .window = shape_.window,
                               .keys = reinterpret_cast<const uint8_t*>(cache.keys),
                               .values = reinterpret_cast<const uint8_t*>(cache.values),
                               .block_stride = cache.block_stride,
                               .block_table = span.block_table.data(),
                               .dtype = cache.spec.dtype,
                               .key_scale = scales_.k.empty() ? nullptr : scales_.k.data(),
                               .value_scale = scales_.v.empty() ? nullptr : scales_.v.data(),
                               .scratch = scratch + task * scratch_floats};
      const int64_t local = item - first_item[index];
      kernel_.kernel->run.attention(args, local, local + 1);
    }
  });
  ctx.workspace.release(mark);
  return out;
}

}  // namespace packhorse
