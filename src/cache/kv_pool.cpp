#include "cache/kv_pool.h"

#include <sys/mman.h>

#include "base/checked_size.h"
#include "base/error.h"

namespace packhorse {

int64_t KvPool::bytes_per_block(const std::vector<CacheSpec>& layers) {
  int64_t bytes = 0;
  for (const CacheSpec& spec : layers) bytes += spec.bytes_per_block();
  return bytes;
}

KvPool::KvPool(std::vector<CacheSpec> layers, int64_t n_blocks) : layers_(std::move(layers)), n_blocks_(n_blocks) {
  CheckedSize total = 0;
  for (const CacheSpec& spec : layers_) {
    layer_offset_.push_back(static_cast<int64_t>(total.get().value_or(0)));
    total = total + CheckedSize(static_cast<uint64_t>(spec.bytes_per_block())) * static_cast<uint64_t>(n_blocks);
  }
  if (!total.fits(INT64_MAX))
    fail(ErrorKind::resource, "KV cache of {} blocks does not fit the address space", n_blocks);
  n_bytes_ = *total.get();
  if (n_bytes_ == 0) return;
  void* memory = mmap(nullptr, n_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    fail(ErrorKind::resource, "KV cache: cannot reserve {} bytes (a smaller --max-model-len or --max-num-seqs helps)",
         n_bytes_);
  }
  base_ = static_cast<std::byte*>(memory);
}

KvPool::~KvPool() {
  if (base_) munmap(base_, n_bytes_);
}

KvLayerView KvPool::layer(int64_t index) const {
  const CacheSpec& spec = layers_[static_cast<size_t>(index)];
  std::byte* keys = base_ + layer_offset_[static_cast<size_t>(index)];
  return {
      .keys = keys, .values = keys + spec.bytes_per_block() / 2, .block_stride = spec.bytes_per_block(), .spec = spec};
}

}  // namespace packhorse
