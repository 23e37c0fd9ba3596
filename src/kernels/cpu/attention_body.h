#pragma once
// Causal attention over the paged cache, over a vector type S: FlashAttention's running softmax (arXiv 2205.14135), one
// rescaling per chunk of 64 keys at absolute positions. A query row's arithmetic does not depend on its neighbours.

#include <cstdint>

#include "kernels/cpu/elementwise_body.h"
#include "kernels/op.h"

namespace packhorse {
namespace {

template <class S>
typename S::F load_kv(KvDType type, const uint8_t* base, int64_t element) {
  switch (type) {
    case KvDType::f16:
      return S::load_f16(base + 2 * element);
    case KvDType::bf16:
      return S::load_bf16(base + 2 * element);
    case KvDType::fp8_e4m3:
      return S::load_e4m3(base + element);
    case KvDType::f32:
      break;
  }
  return S::load(reinterpret_cast<const float*>(base) + element);
}

/// One query row of a work item: a head of a token.
struct QueryRow {
  const float* q;
  int64_t position;
};

/// State of a work item's rows, in the caller's scratch.
struct AttentionState {
  float* scores;   // [rows, kAttentionChunk], then probabilities
  float* out;      // [rows, head_dim], not yet divided by total
  float* largest;  // [rows]
  float* total;    // [rows]
};

/// scores[r][key] = scale * q[r] . k[key] for R rows and the 16 keys of a block.
template <class S, KvDType Type, int R>
void score_block(const AttentionArgs& a, const QueryRow* rows, const uint8_t* keys, float scale, float* scores) {
  for (int half = 0; half < 16 / S::kLanes; ++half) {
    typename S::F acc[R];
    for (int r = 0; r < R; ++r) acc[r] = S::zero();
    for (int64_t d = 0; d < a.head_dim; ++d) {
      const typename S::F k = load_kv<S>(Type, keys, d * 16 + half * S::kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r] = S::fma(k, S::set1(rows[r].q[d]), acc[r]);
    }
    for (int r = 0; r < R; ++r)
      S::store(scores + r * kAttentionChunk + half * S::kLanes, S::mul(acc[r], S::set1(scale)));
  }
}

/// Masks and exponentiates a row's scores of one chunk; rescales what the row has so far.
template <class S>
void softmax_chunk(const AttentionArgs& a, const QueryRow& row, const AttentionState& state, int64_t r,
                   int64_t chunk_begin) {
  float* p = state.scores + r * kAttentionChunk;
  const int64_t first = a.window > 0 ? row.position - a.window + 1 : 0;
  if (chunk_begin < first || chunk_begin + kAttentionChunk - 1 > row.position) {
    for (int64_t i = 0; i < kAttentionChunk; ++i) {
      const int64_t key = chunk_begin + i;
      if (key > row.position || key < first) p[i] = -__builtin_inff();
    }
  }
  typename S::F most = S::set1(state.largest[r]);
  for (int64_t i = 0; i < kAttentionChunk; i += S::kLanes) most = S::max(most, S::load(p + i));
  float lanes[S::kLanes], largest = state.largest[r];
  S::store(lanes, most);
  for (const float lane : lanes) largest = lane > largest ? lane : largest;
  if (largest == -__builtin_inff()) {  // nothing of this chunk or before is visible
    for (int64_t i = 0; i < kAttentionChunk; ++i) p[i] = 0;
    return;
  }
  const typename S::F limit = S::set1(-__builtin_inff()), shift = S::set1(largest);
  Lanes16<S> sum;
  for (int64_t i = 0; i < kAttentionChunk; i += S::kLanes) {
    const typename S::F x = S::load(p + i);
    // Masked keys get exactly 0, whatever exp() makes of its lower limit.
    const typename S::F e = S::keep_lt(exp<S>(S::sub(x, shift)), limit, x);
    S::store(p + i, e);
    auto& lane = sum.v[i / S::kLanes % sum.kVectors];
    lane = S::add(lane, e);
  }
  float rescale[S::kLanes];
  S::store(rescale, exp<S>(S::set1(state.largest[r] - largest)));
  const float factor = state.largest[r] == -__builtin_inff() ? 0.0f : rescale[0];
  state.total[r] = state.total[r] * factor + sum.sum();
  state.largest[r] = largest;
  if (factor != 1.0f) {
    for (int64_t d = 0; d < a.head_dim; ++d) state.out[r * a.head_dim + d] *= factor;
  }
}

/// out[r] += p[r][key] * v[key] for R rows, a block's first n_keys keys in order, and V vectors of dimensions from d.
template <class S, KvDType Type, int R, int V>
void add_values(const AttentionArgs& a, const uint8_t* values, int64_t n_keys, const float* p, float* out, int64_t d) {
  typename S::F acc[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) acc[r][v] = S::load(out + r * a.head_dim + d + v * S::kLanes);
  }
  for (int64_t key = 0; key < n_keys; ++key) {
    typename S::F value[V];
    for (int v = 0; v < V; ++v) value[v] = load_kv<S>(Type, values, key * a.head_dim + d + v * S::kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = S::fma(S::set1(p[r * kAttentionChunk + key]), value[v], acc[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) S::store(out + r * a.head_dim + d + v * S::kLanes, acc[r][v]);
  }
}

template <class S, KvDType Type, int R>
void add_values(const AttentionArgs& a, const uint8_t* values, int64_t n_keys, const float* p, float* out) {
  constexpr int kVectors = S::kLanes == 16 ? 4 : 2;
  int64_t d = 0;
  for (; d + kVectors * S::kLanes <= a.head_dim; d += kVectors * S::kLanes) {
    add_values<S, Type, R, kVectors>(a, values, n_keys, p, out, d);
  }
  for (; d < a.head_dim; d += S::kLanes) add_values<S, Type, R, 1>(a, values, n_keys, p, out, d);
}

/// Calls f<R>(first row) over all rows in groups of Largest, then singly.
template <int Largest, class F>
void for_rows(int64_t n_rows, F f) {
  int64_t r = 0;
  for (; r + Largest <= n_rows; r += Largest) f.template operator()<Largest>(r);
  if constexpr (Largest > 4) {
    for (; r + 4 <= n_rows; r += 4) f.template operator()<4>(r);
  }
  for (; r + 2 <= n_rows; r += 2) f.template operator()<2>(r);
  for (; r < n_rows; ++r) f.template operator()<1>(r);
}

template <class S, KvDType Type>
void attend(const AttentionArgs& a, const QueryRow* rows, int64_t n_rows, int64_t kv_head,
            const AttentionState& state) {
  const int64_t last = rows[n_rows - 1].position;  // rows are in order of position
  const int64_t oldest = a.window > 0 && rows[0].position >= a.window ? rows[0].position - a.window + 1 : 0;
  const float scale = a.key_scale ? a.scale * a.key_scale[kv_head] : a.scale;
  const int64_t head_bytes = a.head_dim * kKvBlockTokens * kv_dtype_bytes(Type) * kv_head;
  for (int64_t chunk = oldest / kAttentionChunk * kAttentionChunk; chunk <= last; chunk += kAttentionChunk) {
    const int64_t end = last + 1 < chunk + kAttentionChunk ? last + 1 : chunk + kAttentionChunk;
    for (int64_t key = chunk; key < end; key += kKvBlockTokens) {
      const uint8_t* block = a.keys + a.block_table[key / kKvBlockTokens] * a.block_stride + head_bytes;
      for_rows<8>(n_rows, [&]<int R>(int64_t r) {
        score_block<S, Type, R>(a, rows + r, block, scale, state.scores + r * kAttentionChunk + (key - chunk));
      });
    }
    for (int64_t r = 0; r < n_rows; ++r) softmax_chunk<S>(a, rows[r], state, r, chunk);
    for (int64_t key = chunk; key < end; key += kKvBlockTokens) {
      const uint8_t* block = a.values + a.block_table[key / kKvBlockTokens] * a.block_stride + head_bytes;
      const int64_t n_keys = end - key < kKvBlockTokens ? end - key : kKvBlockTokens;
      for_rows<4>(n_rows, [&]<int R>(int64_t r) {
        add_values<S, Type, R>(a, block, n_keys, state.scores + r * kAttentionChunk + (key - chunk),
                               state.out + r * a.head_dim);
      });
    }
  }
}

/// Work item i: query tile i / n_kv_heads, kv head i % n_kv_heads.
template <class S>
void attention(const AttentionArgs& a, int64_t begin, int64_t end) noexcept {
  const int64_t group = a.n_heads / a.n_kv_heads, max_rows = group * kAttentionTile;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t kv_head = item % a.n_kv_heads, first = item / a.n_kv_heads * kAttentionTile;
    const int64_t n_tokens = a.n_tokens - first < kAttentionTile ? a.n_tokens - first : kAttentionTile;
    const int64_t n_rows = n_tokens * group;
    AttentionState state;
    state.scores = a.scratch;
    state.out = state.scores + max_rows * kAttentionChunk;
    state.largest = state.out + max_rows * a.head_dim;
    state.total = state.largest + max_rows;
    auto* rows = reinterpret_cast<QueryRow*>(state.total + max_rows);
    for (int64_t r = 0; r < n_rows; ++r) {
      const int64_t token = first + r / group;
      rows[r] = {a.q + token * a.q_stride + (kv_head * group + r % group) * a.head_dim, a.first_position + token};
      state.largest[r] = -__builtin_inff();
      state.total[r] = 0;
    }
    __builtin_memset(state.out, 0, static_cast<uint64_t>(n_rows * a.head_dim) * 4);
    switch (a.dtype) {
      case KvDType::f32:
        attend<S, KvDType::f32>(a, rows, n_rows, kv_head, state);
        break;
      case KvDType::f16:
        attend<S, KvDType::f16>(a, rows, n_rows, kv_head, state);
        break;
      case KvDType::bf16:
        attend<S, KvDType::bf16>(a, rows, n_rows, kv_head, state);
        break;
      case KvDType::fp8_e4m3:
        attend<S, KvDType::fp8_e4m3>(a, rows, n_rows, kv_head, state);
        break;
    }
    const float value_scale = a.value_scale ? a.value_scale[kv_head] : 1.0f;
    for (int64_t r = 0; r < n_rows; ++r) {
      float* out = a.out + (first + r / group) * a.out_stride + (kv_head * group + r % group) * a.head_dim;
      for (int64_t d = 0; d < a.head_dim; ++d) out[d] = state.out[r * a.head_dim + d] / state.total[r] * value_scale;
    }
  }
}

}  // namespace
}  // namespace packhorse
