#include "kernels/packed_weight.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/checked_size.h"
#include "base/error.h"

namespace packhorse {

PageBuffer::PageBuffer(uint64_t n_bytes) : size_(n_bytes) {
  if (n_bytes == 0) return;
  void* memory = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail(ErrorKind::resource, "cannot allocate {} bytes for packed weights", n_bytes);
  constexpr uint64_t kHugePage = 2 << 20;
  if (n_bytes >= 8 * kHugePage) madvise(memory, n_bytes, MADV_HUGEPAGE);  // advice: a refusal costs only speed
  data_ = static_cast<uint8_t*>(memory);
}

PageBuffer::~PageBuffer() {
  if (data_) munmap(data_, size_);
}

PageBuffer::PageBuffer(PageBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

PageBuffer& PageBuffer::operator=(PageBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

namespace {

/// Share of the source in rows [0, row): rounded, but all of it in the end.
uint64_t source_bytes_before(const WeightPlan& plan, int64_t row) {
  if (row == plan.n) return plan.source_bytes;
  return static_cast<uint64_t>(static_cast<double>(plan.source_bytes) / static_cast<double>(plan.n) *
                               static_cast<double>(row));
}

}  // namespace

PackedWeight::PackedWeight(const WeightPlan& plan, const KernelSelector& selector, ThreadPool& pool,
                           const Options& options) {
  Problem problem{.op = Op::matmul, .weight = plan.encoding, .fast = options.fast, .n = plan.n, .k = plan.k};
  kernel_ = selector.choose(problem, plan.name, &why_not_);
  problem.fast = false;
  decoder_ = kernel_.kernel->decode_row ? kernel_ : selector.choose(problem, plan.name);
  if (decoder_.kernel->pack != kernel_.kernel->pack)
    fail(ErrorKind::internal, "{}: {} and {} differ in layout", plan.name, kernel_.name(), decoder_.name());

  layout_ = kernel_.kernel->layout(plan.encoding, plan.k);
  const int64_t unit = layout_.rows_per_unit, n_units = (plan.n + unit - 1) / unit;
  const CheckedSize code_bytes =
      CheckedSize(static_cast<uint64_t>(n_units)) * static_cast<uint64_t>(layout_.code_bytes);
  const CheckedSize scale_bytes =
      CheckedSize(static_cast<uint64_t>(n_units)) * static_cast<uint64_t>(layout_.scale_bytes);
  if (!code_bytes.fits(INT64_MAX) || !scale_bytes.fits(INT64_MAX))
    fail_model("{}: [{}, {}] is too large", plan.name, plan.n, plan.k);
  codes_ = PageBuffer(*code_bytes.get());
  scales_ = PageBuffer(*scale_bytes.get());
  source_bytes_ = plan.source_bytes;
  input_ = plan.input;
  view_ = {.encoding = plan.encoding,
           .n = plan.n,
           .k = plan.k,
           .k_padded = padded_k(plan.k),
           .group_k = group_along_row(plan.encoding.grouping, plan.k),
           .codes = codes_.data(),
           .scales = scales_.data(),
           .code_stride = layout_.code_bytes,
           .scale_stride = layout_.scale_bytes};

  // Blocks of about a quarter million elements: large enough for few reads, small enough to stay in the cache and in
  // memory.
  const int64_t rows_per_block = std::max<int64_t>(16, (int64_t{1} << 18) / plan.k / 16 * 16);
  pool.run((plan.n + rows_per_block - 1) / rows_per_block, [&](int64_t block) {
    const int64_t begin = block * rows_per_block, count = std::min(rows_per_block, plan.n - begin);
    RowBlock rows;
    plan.read(begin, count, rows);
    for (int64_t r = 0; r < count; r += unit) {
      const int64_t u = (begin + r) / unit;
      kernel_.kernel->pack(plan.encoding, rows, r, codes_.data() + u * layout_.code_bytes,
                           scales_.data() + u * layout_.scale_bytes);
    }
    if (options.on_read) options.on_read(source_bytes_before(plan, begin + count) - source_bytes_before(plan, begin));
  });
}

void PackedWeight::multiply(const ActView& x, int64_t m, float* y, int64_t y_stride, const float* bias,
                            ThreadPool& pool) const {
  const MatmulArgs args{.weight = view_, .x = x, .m = m, .y = y, .y_stride = y_stride, .bias = bias};
  const int64_t n_units = (view_.n + layout_.rows_per_unit - 1) / layout_.rows_per_unit;
  const int64_t n_tasks = std::min<int64_t>(n_units, pool.size() == 1 ? 1 : pool.size() * 4);
  pool.run(n_tasks, [&](int64_t task) {
    kernel_.kernel->run.matmul(args, n_units * task / n_tasks, n_units * (task + 1) / n_tasks);
  });
}

void PackedWeight::decode_row(int64_t row, float* out) const {
  if (view_.k == view_.k_padded && input_.order.empty()) {
    decoder_.kernel->decode_row(view_, row, out);
    return;
  }
  std::vector<float> padded(static_cast<size_t>(view_.k_padded));
  decoder_.kernel->decode_row(view_, row, padded.data());
  for (int64_t i = 0; i < view_.k; ++i)
    out[input_.order.empty() ? i : input_.order[static_cast<size_t>(i)]] = padded[static_cast<size_t>(i)];
}

}  // namespace packhorse
