#pragma once
// Self-attention of a layer: stores keys and values of the batch in the paged cache, then attends.

#include "formats/kv_scales.h"
#include "kernels/select.h"
#include "nn/model.h"

namespace packhorse {

struct AttentionShape {
  int64_t n_heads = 0, n_kv_heads = 0, head_dim = 0;
  float scale = 0;     // of the scores
  int64_t window = 0;  // 0 = all earlier positions
  int64_t qkv_width() const { return (n_heads + 2 * n_kv_heads) * head_dim; }
};

class Attention {
 public:
  Attention() = default;
  /// Error{model} when no kernel takes the head size.
  Attention(const AttentionShape& shape, int64_t layer, const KernelSelector& selector, KvScales scales = {});
  /// qkv[m, qkv_width] holds queries and keys that know their positions, then values, and is scratch afterwards;
  /// returns [m, n_heads * head_dim]. A 4-bit cache holds Hadamard transforms of keys and values, whose numbers are
  /// more alike: queries are transformed as well, and the output back.
  float* operator()(float* qkv, const Batch& batch, ForwardCtx& ctx) const;
  /// Of an FP8 cache; before the first use.
  void set_scales(KvScales scales) { scales_ = std::move(scales); }

 private:
  void store(const float* qkv, const Batch& batch, ForwardCtx& ctx) const;
  AttentionShape shape_;
  int64_t layer_ = 0;
  Choice kernel_;
  KvScales scales_;  // of an FP8 cache; empty = 1
};

}  // namespace packhorse
