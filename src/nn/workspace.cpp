#include "nn/workspace.h"

#include <algorithm>
#include <new>

namespace packhorse {

void* Workspace::take(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  while (current_ < chunks_.size() && chunks_[current_].size - chunks_[current_].used < bytes) ++current_;
  if (current_ == chunks_.size()) {
    const size_t size = std::max<size_t>(bytes, size_t{1} << 20);
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(64, size));
    if (!memory) throw std::bad_alloc();
    chunks_.push_back({std::unique_ptr<std::byte, Free>(memory), size, 0});
  }
  Chunk& chunk = chunks_[current_];
  void* out = chunk.memory.get() + chunk.used;
  chunk.used += bytes;
  return out;
}

void Workspace::reset() {
  if (chunks_.size() > 1) {
    size_t total = 0;
    for (const Chunk& chunk : chunks_) total += chunk.size;
    chunks_.clear();
    current_ = 0;
    take(total);
  }
  current_ = 0;
  for (Chunk& chunk : chunks_) chunk.used = 0;
}

void Workspace::release(Mark mark) {
  for (size_t i = mark.chunk + 1; i < chunks_.size(); ++i) chunks_[i].used = 0;
  if (mark.chunk < chunks_.size()) chunks_[mark.chunk].used = mark.used;
  current_ = mark.chunk;
}

}  // namespace packhorse
