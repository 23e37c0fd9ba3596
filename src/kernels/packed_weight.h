#pragma once
// A weight in the layout of the kernel that serves it. Reading the plan, threads and memory are handled here, once.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "base/thread_pool.h"
#include "codec/weight_plan.h"
#include "kernels/select.h"

namespace packhorse {

/// Page-aligned anonymous memory in huge pages where the system has them; zero until written.
class PageBuffer {
 public:
  PageBuffer() = default;
  /// Error{resource} when there is not enough memory.
  explicit PageBuffer(uint64_t n_bytes);
  ~PageBuffer();
  PageBuffer(PageBuffer&& other) noexcept;
  PageBuffer& operator=(PageBuffer&& other) noexcept;
  uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

/// Owns the packed copy. Immutable after construction.
class PackedWeight {
 public:
  struct Options {
    bool fast = false;                            // activations may be quantized
    std::function<void(uint64_t bytes)> on_read;  // called from any thread with source bytes just read; may be empty
  };
  /// Chooses the kernel, then reads the plan in blocks of rows and packs them, in parallel. Throws Error{model,
  /// resource, io}.
  PackedWeight(const WeightPlan& plan, const KernelSelector& selector, ThreadPool& pool, const Options& options);

  int64_t n() const { return view_.n; }
  int64_t k() const { return view_.k; }
  const WeightView& view() const { return view_; }
  /// What x must go through before multiply().
  const WeightInput& input() const { return input_; }
  const Choice& kernel() const { return kernel_; }
  const std::string& why_not() const { return why_not_; }
  uint64_t packed_bytes() const { return codes_.size() + scales_.size(); }
  uint64_t source_bytes() const { return source_bytes_; }

  /// y[m, n] = x W^T + bias; x must hold the form that kernel().kernel->act asks for.
  void multiply(const ActView& x, int64_t m, float* y, int64_t y_stride, const float* bias, ThreadPool& pool) const;
  /// Dequantized row in the order of x; out[k()].
  void decode_row(int64_t row, float* out) const;

 private:
  WeightView view_;
  WeightInput input_;
  Choice kernel_, decoder_;
  UnitLayout layout_;
  PageBuffer codes_, scales_;
  std::string why_not_;
  uint64_t source_bytes_ = 0;
};

/// k rounded up to whole blocks.
constexpr int64_t padded_k(int64_t k) { return (k + kBlockK - 1) / kBlockK * kBlockK; }

}  // namespace packhorse
