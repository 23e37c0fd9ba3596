#pragma once
// Scratch memory of a forward pass: bump allocation that keeps its pages between steps.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace packhorse {

/// 64-byte aligned scratch. Memory given out stays valid until reset(); nothing is freed one by one.
class Workspace {
 public:
  /// Starts a new pass: all earlier allocations are void. Chunks of the last pass are merged, so a steady state
  /// allocates nothing.
  void reset();
  template <class T>
  T* allocate(int64_t count) {
    return static_cast<T*>(take(static_cast<size_t>(count) * sizeof(T)));
  }

  /// Position to return to: frees what was allocated after mark() within one pass.
  struct Mark {
    size_t chunk, used;
  };
  Mark mark() const { return {current_, current_ < chunks_.size() ? chunks_[current_].used : 0}; }
  void release(Mark mark);

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  struct Chunk {
    std::unique_ptr<std::byte, Free> memory;
    size_t size = 0, used = 0;
  };
  void* take(size_t bytes);
  std::vector<Chunk> chunks_;
  size_t current_ = 0;
};

}  // namespace packhorse
