#pragma once
// Memory of the paged KV cache, and the view that attention kernels read. codec/kv_dtype.h says how a block is laid
// out.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/kv_dtype.h"

namespace packhorse {

/// What one layer keeps per position. Layers of other kinds (latent, window, recurrent) join here.
struct CacheSpec {
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  KvDType dtype = KvDType::f32;
  int64_t bytes_per_block() const { return 2 * kv_half_block_bytes(dtype, n_kv_heads, head_dim); }
};

/// All blocks of one layer. Block b starts at `keys + b * block_stride` and `values + b * block_stride` bytes.
struct KvLayerView {
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  int64_t block_stride = 0;
  CacheSpec spec;
};

/// Owns the memory: reserved at once, touched on use.
class KvPool {
 public:
  /// Throws Error{resource} when the address space cannot be reserved.
  KvPool(std::vector<CacheSpec> layers, int64_t n_blocks);
  ~KvPool();
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  KvLayerView layer(int64_t index) const;
  int64_t n_blocks() const { return n_blocks_; }
  /// Bytes of one block over all layers.
  static int64_t bytes_per_block(const std::vector<CacheSpec>& layers);

 private:
  std::vector<CacheSpec> layers_;
  std::vector<int64_t> layer_offset_;  // bytes from base_
  int64_t n_blocks_;
  std::byte* base_ = nullptr;
  size_t n_bytes_ = 0;
};

}  // namespace packhorse
