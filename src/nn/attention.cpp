#include "nn/attention.h"

#include <algorithm>
#include <cstring>

#include "codec/kv_codes.h"
#include "nn/act.h"

namespace packhorse {
namespace {

/// Spreads the codes of a token's head over a block's keys: `keys` is where the first unit goes.
template <class Unit>
void scatter_key(const uint8_t* codes, int64_t n_bytes, std::byte* keys) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(Unit));
  for (int64_t i = 0; i < n_bytes / kBytes; ++i)
    std::memcpy(keys + i * kKvBlockTokens * kBytes, codes + i * kBytes, sizeof(Unit));
}

/// One slot of a block.
struct Slot {
  const CacheSpec& spec;
  std::byte* keys;  // of the block
  std::byte* values;
  int64_t index;
  std::vector<uint8_t>& codes;  // working memory, kv_code_bytes(head_dim)

  void store_key(int64_t head, const float* x, float scale) const {
    const int64_t bytes = kv_code_bytes(spec.dtype, spec.head_dim);
    const float own = encode_kv(spec.dtype, x, spec.head_dim, scale, codes.data());
    std::byte* at = keys + head * bytes * kKvBlockTokens;
    switch (kv_bits(spec.dtype)) {
      case 32:
        scatter_key<uint32_t>(codes.data(), bytes, at + index * 4);
        break;
      case 16:
        scatter_key<uint16_t>(codes.data(), bytes, at + index * 2);
        break;
      default:
        scatter_key<uint8_t>(codes.data(), bytes, at + index);
    }
    store_scale(keys, head, own);
  }
  void store_value(int64_t head, const float* x, float scale) const {
    const int64_t bytes = kv_code_bytes(spec.dtype, spec.head_dim);
    const float own = encode_kv(spec.dtype, x, spec.head_dim, scale, codes.data());
    std::memcpy(values + (head * kKvBlockTokens + index) * bytes, codes.data(), static_cast<size_t>(bytes));
    store_scale(values, head, own);
  }
  void store_scale(std::byte* half, int64_t head, float scale) const {
    if (!kv_has_token_scales(spec.dtype)) return;
    const int64_t n_codes = spec.n_kv_heads * spec.head_dim * kKvBlockTokens;
    std::memcpy(half + kv_code_bytes(spec.dtype, n_codes) + (head * kKvBlockTokens + index) * 4, &scale, 4);
  }
};

void rotate_heads(float* x, int64_t m, int64_t n_heads, int64_t head_dim, float scale, ForwardCtx& ctx) {
  for_tokens(ctx.pool, m, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin * n_heads; head < end * n_heads; ++head) {
      hadamard(x + head * head_dim, head_dim);
      for (int64_t d = 0; d < head_dim; ++d) x[head * head_dim + d] *= scale;
    }
  });
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
      std::vector<uint8_t> codes(static_cast<size_t>(kv_code_bytes(cache.spec.dtype, dim)));
      for (int64_t t = begin; t < end; ++t) {
        const int64_t position = span.first_position + t;
        const int64_t block = span.block_table[static_cast<size_t>(position / kKvBlockTokens)] * cache.block_stride;
        const Slot slot{cache.spec, cache.keys + block, cache.values + block, position % kKvBlockTokens, codes};
        const float* key = qkv + (span.first_token + t) * width + shape_.n_heads * dim;
        const float* value = key + kv_heads * dim;
        for (int64_t head = 0; head < kv_heads; ++head) {
          const auto h = static_cast<size_t>(head);
          slot.store_key(head, key + head * dim, scales_.k.empty() ? 1.0f : scales_.k[h]);
          slot.store_value(head, value + head * dim, scales_.v.empty() ? 1.0f : scales_.v[h]);
        }
      }
    });
  }
}

float* Attention::operator()(float* qkv, const Batch& batch, ForwardCtx& ctx) const {
  const KvLayerView cache = ctx.kv.layer(layer_);
  const auto m = static_cast<int64_t>(batch.tokens.size());
  const bool rotated = kv_is_rotated(cache.spec.dtype);
  // Rotations keep the products of queries and keys; their factors are powers of two, which cost no accuracy.
  const float unrotate = 1.0f / static_cast<float>(hadamard_block(shape_.head_dim));
  if (rotated) rotate_heads(qkv, m, shape_.n_heads + 2 * shape_.n_kv_heads, shape_.head_dim, 1, ctx);
  store(qkv, batch, ctx);
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
                               .scale = rotated ? shape_.scale * unrotate : shape_.scale,
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
  if (rotated) rotate_heads(out, m, shape_.n_heads, dim, unrotate, ctx);
  return out;
}

}  // namespace packhorse
