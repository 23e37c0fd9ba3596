#pragma once
// Causal attention over the paged cache, over a vector type S: FlashAttention's running softmax (arXiv 2205.14135), one
// rescaling per chunk of 64 keys at absolute positions. A query row's arithmetic does not depend on its neighbours.

#include <cstdint>

#include "kernels/cpu/elementwise_body.h"
#include "kernels/op.h"

namespace packhorse {
namespace {

/// A vector of codes of one byte or more.
template <class S, KvDType Type>
typename S::F load_codes(const uint8_t* base, int64_t element) {
  switch (Type) {
    case KvDType::f16:
      return S::load_f16(base + 2 * element);
    case KvDType::bf16:
      return S::load_bf16(base + 2 * element);
    case KvDType::fp8_e4m3: {
      // What is no number reads as 480; a scale per token shows it by itself.
      const typename S::F v = S::load_e4m3(base + element);
      return S::add(v, S::keep_ge(S::set1(__builtin_nanf("")), S::abs(v), S::set1(480)));
    }
    case KvDType::fp8_token:
      return S::load_e4m3(base + element);
    case KvDType::fp8_e5m2:
      return S::load_e5m2(base + element);
    case KvDType::int8_token:
      return S::load_i8(base + element);
    default:
      return S::load(reinterpret_cast<const float*>(base) + element);
  }
}

/// Dimension d + Odd, d even, of a block's keys from `lane` on.
template <class S, KvDType Type, int Odd>
typename S::F load_key(const uint8_t* keys, int64_t d, int lane) {
  if constexpr (Type == KvDType::int4_token) {
    const uint8_t* pairs = keys + d / 2 * kKvBlockTokens + lane;
    return Odd ? S::load_high_nibble(pairs) : S::load_low_nibble(pairs);
  } else {
    return load_codes<S, Type>(keys, (d + Odd) * kKvBlockTokens + lane);
  }
}

/// Elements of a block's values from `element`, a multiple of the lanes, on.
template <class S, KvDType Type>
typename S::F load_value(const uint8_t* values, int64_t element) {
  if constexpr (Type == KvDType::int4_token)
    return S::load_nibbles(values + element / 2);
  else
    return load_codes<S, Type>(values, element);
}

/// Scales and zero points of the tokens of a block, for one head.
struct TokenScales {
  float scale[kKvBlockTokens], zero[kKvBlockTokens];
};

/// `half` is a block's keys or values.
template <KvDType Type>
void read_token_scales(const AttentionArgs& a, const uint8_t* half, int64_t kv_head, TokenScales& out) {
  const uint8_t* stored = half + kv_code_bytes(Type, a.n_kv_heads * a.head_dim * kKvBlockTokens) +
                          kv_head * kKvBlockTokens * static_cast<int64_t>(sizeof(float));
  for (int64_t i = 0; i < kKvBlockTokens; ++i) {
    float value;
    __builtin_memcpy(&value, stored + i * 4, 4);
    const KvScale scale = unpack_kv_scale(Type, value);
    out.scale[i] = scale.scale, out.zero[i] = scale.zero;
  }
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
void score_block(const AttentionArgs& a, const QueryRow* rows, const uint8_t* keys, const TokenScales& tokens,
                 float scale, float* scores) {
  for (int lane = 0; lane < kKvBlockTokens; lane += S::kLanes) {
    typename S::F acc[R];
    for (int r = 0; r < R; ++r) acc[r] = S::zero();
    [[maybe_unused]] const typename S::F zero = Type == KvDType::int4_token ? S::load(tokens.zero + lane) : S::zero();
    const auto add = [&]<int Odd>(int64_t d) {
      typename S::F k = load_key<S, Type, Odd>(keys, d, lane);
      if constexpr (Type == KvDType::int4_token) k = S::sub(k, zero);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r] = S::fma(k, S::set1(rows[r].q[d + Odd]), acc[r]);
    };
    for (int64_t d = 0; d < a.head_dim; d += 2) {
      add.template operator()<0>(d);
      add.template operator()<1>(d);
    }
    for (int r = 0; r < R; ++r) {
      typename S::F score = S::mul(acc[r], S::set1(scale));
      if constexpr (kv_has_token_scales(Type)) score = S::mul(score, S::load(tokens.scale + lane));
      S::store(scores + r * kAttentionChunk + lane, score);
    }
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
void add_values(const AttentionArgs& a, const uint8_t* values, const TokenScales& tokens, int64_t n_keys,
                const float* p, float* out, int64_t d) {
  typename S::F acc[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) acc[r][v] = S::load(out + r * a.head_dim + d + v * S::kLanes);
  }
  for (int64_t key = 0; key < n_keys; ++key) {
    typename S::F value[V];
    for (int v = 0; v < V; ++v) {
      value[v] = load_value<S, Type>(values, key * a.head_dim + d + v * S::kLanes);
      if constexpr (Type == KvDType::int4_token) value[v] = S::sub(value[v], S::set1(tokens.zero[key]));
    }
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

/// The same of all dimensions. The scales of tokens go into p.
template <class S, KvDType Type, int R>
void add_values(const AttentionArgs& a, const uint8_t* values, const TokenScales& tokens, int64_t n_keys, float* p,
                float* out) {
  if constexpr (kv_has_token_scales(Type)) {
    for (int r = 0; r < R; ++r) {
      float* row = p + r * kAttentionChunk;
      for (int lane = 0; lane < kKvBlockTokens; lane += S::kLanes)
        S::store(row + lane, S::mul(S::load(row + lane), S::load(tokens.scale + lane)));
    }
  }
  constexpr int kVectors = S::kLanes == 16 ? 4 : 2;
  int64_t d = 0;
  for (; d + kVectors * S::kLanes <= a.head_dim; d += kVectors * S::kLanes) {
    add_values<S, Type, R, kVectors>(a, values, tokens, n_keys, p, out, d);
  }
  for (; d < a.head_dim; d += S::kLanes) add_values<S, Type, R, 1>(a, values, tokens, n_keys, p, out, d);
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
  const int64_t head_bytes = kv_code_bytes(Type, a.head_dim * kKvBlockTokens) * kv_head;
  TokenScales tokens;
  for (int64_t chunk = oldest / kAttentionChunk * kAttentionChunk; chunk <= last; chunk += kAttentionChunk) {
    const int64_t end = last + 1 < chunk + kAttentionChunk ? last + 1 : chunk + kAttentionChunk;
    for (int64_t key = chunk; key < end; key += kKvBlockTokens) {
      const uint8_t* block = a.keys + a.block_table[key / kKvBlockTokens] * a.block_stride;
      if constexpr (kv_has_token_scales(Type)) read_token_scales<Type>(a, block, kv_head, tokens);
      for_rows<8>(n_rows, [&]<int R>(int64_t r) {
        score_block<S, Type, R>(a, rows + r, block + head_bytes, tokens, scale,
                                state.scores + r * kAttentionChunk + (key - chunk));
      });
    }
    for (int64_t r = 0; r < n_rows; ++r) softmax_chunk<S>(a, rows[r], state, r, chunk);
    for (int64_t key = chunk; key < end; key += kKvBlockTokens) {
      const uint8_t* block = a.values + a.block_table[key / kKvBlockTokens] * a.block_stride;
      const int64_t n_keys = end - key < kKvBlockTokens ? end - key : kKvBlockTokens;
      if constexpr (kv_has_token_scales(Type)) read_token_scales<Type>(a, block, kv_head, tokens);
      for_rows<4>(n_rows, [&]<int R>(int64_t r) {
        add_values<S, Type, R>(a, block + head_bytes, tokens, n_keys,
                               state.scores + r * kAttentionChunk + (key - chunk), state.out + r * a.head_dim);
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
      case KvDType::fp8_e5m2:
        attend<S, KvDType::fp8_e5m2>(a, rows, n_rows, kv_head, state);
        break;
      case KvDType::fp8_token:
        attend<S, KvDType::fp8_token>(a, rows, n_rows, kv_head, state);
        break;
      case KvDType::int8_token:
        attend<S, KvDType::int8_token>(a, rows, n_rows, kv_head, state);
        break;
      case KvDType::int4_token:
        attend<S, KvDType::int4_token>(a, rows, n_rows, kv_head, state);
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
