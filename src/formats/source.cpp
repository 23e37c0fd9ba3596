#include "formats/source.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace packhorse {
namespace {

template <class Range>
std::string dims_text(const Range& dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

}  // namespace

std::string shape_text(const TensorInfo& tensor) { return dims_text(tensor.shape); }

std::string weight_name(const Module& module) { return module.source + ".weight"; }

const TensorInfo& tensor_of_shape(const CheckpointView& view, std::string_view name,
                                  std::initializer_list<int64_t> shape) {
  const TensorInfo& tensor = view.at(name);
  const bool same = std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end(),
                               [](int64_t want, uint64_t have) { return static_cast<uint64_t>(want) == have; });
  if (!same) {
    fail_model("{}: shape does not fit the model (got {}, expected {})", view.describe(name), shape_text(tensor),
               dims_text(shape));
  }
  return tensor;
}

const TensorInfo& tensor_of_size(const CheckpointView& view, std::string_view name, DType dtype, uint64_t n_elements) {
  const TensorInfo& tensor = view.at(name);
  if (tensor.dtype != dtype) {
    fail_model("{}: wrong dtype (got {}, expected {})", view.describe(name), info(tensor.dtype).name, info(dtype).name);
  }
  if (tensor.n_elements() != n_elements) {
    fail_model("{}: wrong number of elements (got {} in {}, expected {})", view.describe(name), tensor.n_elements(),
               shape_text(tensor), n_elements);
  }
  return tensor;
}

std::vector<float> read_floats(const CheckpointView& view, const TensorInfo& tensor) {
  std::vector<float> out(tensor.n_elements());
  view.read(tensor, 0, std::as_writable_bytes(std::span(out)));
  return out;
}

RowSource::RowSource(const CheckpointView& view, const Module& module, std::string_view name)
    : view_(&view),
      tensor_(&tensor_of_shape(view, name, {module.n, module.k})),
      n_(module.n),
      k_(module.k),
      row_bytes_(n_ ? tensor_->n_bytes / static_cast<uint64_t>(n_) : 0),
      source_row_(module.source_row) {}

void RowSource::read_span(int64_t first, int64_t count, uint8_t* out) const {
  const std::span bytes(out, static_cast<size_t>(count) * row_bytes_);
  view_->read(*tensor_, static_cast<uint64_t>(first) * row_bytes_, std::as_writable_bytes(bytes));
}

std::vector<int64_t> RowSource::file_rows(int64_t begin, int64_t count) const {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = rows[static_cast<size_t>(i)] = source_row_(begin + i);
    if (row < 0 || row >= n_) fail(ErrorKind::internal, "source row {} of {} rows", row, n_);
  }
  return rows;
}

RowSource::Rows RowSource::read(int64_t begin, int64_t count) const {
  Rows out;
  out.row_bytes_ = static_cast<int64_t>(row_bytes_);
  const auto make_room = [&](int64_t n) { out.bytes_.reset(new uint8_t[static_cast<size_t>(n) * row_bytes_]); };
  if (!source_row_ || count == 0) {
    make_room(count);
    read_span(begin, count, out.bytes_.get());
    return out;
  }
  out.place_ = file_rows(begin, count);
  const auto [low, high] = std::minmax_element(out.place_.begin(), out.place_.end());
  const int64_t first = *low, span = *high - *low + 1;
  if (span <= 2 * count) {  // half of a rotated head is every other row of it
    make_room(span);
    read_span(first, span, out.bytes_.get());
    for (int64_t& place : out.place_) place -= first;
    return out;
  }
  make_room(count);
  for (int64_t i = 0; i < count; ++i)
    read_span(out.place_[static_cast<size_t>(i)], 1, out.bytes_.get() + i * out.row_bytes_);
  out.place_.clear();
  return out;
}

void RowSource::read_into(int64_t begin, int64_t count, uint8_t* out) const {
  if (!source_row_) return read_span(begin, count, out);
  const Rows rows = read(begin, count);
  for (int64_t i = 0; i < count; ++i) std::memcpy(out + static_cast<uint64_t>(i) * row_bytes_, rows.row(i), row_bytes_);
}

}  // namespace packhorse
