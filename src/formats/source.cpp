#include "formats/source.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/half.h"
#include "codec/widen.h"

namespace packhorse {
namespace {

template <class Range>
std::string dims_text(const Range& dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

}  // namespace

std::string shape_text(const TensorInfo& tensor) { return dims_text(tensor.shape); }

std::string weight_name(const Module& module) { return module.source + ".weight"; }

std::string tensor_name(const Module& module, std::string_view part) {
  return fmt::format("{}.{}", module.source, part);
}

bool has_shape(const TensorInfo& tensor, std::initializer_list<int64_t> shape) {
  return std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end(),
                    [](int64_t want, uint64_t have) { return static_cast<uint64_t>(want) == have; });
}

uint64_t source_bytes(const TensorInfo& tensor, const Module& module) {
  return module.n_experts ? tensor.n_bytes / static_cast<uint64_t>(module.n_experts) : tensor.n_bytes;
}

const TensorInfo& tensor_of_shape(const CheckpointView& view, std::string_view name,
                                  std::initializer_list<int64_t> shape) {
  const TensorInfo& tensor = view.at(name);
  if (!has_shape(tensor, shape)) {
    fail_model("{}: shape does not fit the model (got {}, expected {})", view.describe(name), shape_text(tensor),
               dims_text(shape));
  }
  return tensor;
}

void require_dtype(const CheckpointView& view, std::string_view name, DType dtype) {
  const DType got = view.at(name).dtype;
  if (got != dtype)
    fail_model("{}: wrong dtype (got {}, expected {})", view.describe(name), info(got).name, info(dtype).name);
}

void check_stated_shape(const CheckpointView& view, const Module& module, std::string_view part) {
  const std::string name = tensor_name(module, part);
  if (!view.find(name)) return;
  int64_t shape[2] = {};
  view.read(tensor_of_size(view, name, DType::i64, 2), 0, std::as_writable_bytes(std::span(shape)));
  if (shape[0] == module.n && shape[1] == module.k) return;
  fail_model("{}: does not fit the model (got [{}, {}], expected [{}, {}])", view.describe(name), shape[0], shape[1],
             module.n, module.k);
}

Encoding float_encoding(DType dtype) {
  if (dtype == DType::f32) return {.element = Element::f32, .bits = 32};
  return {.element = dtype == DType::f16 ? Element::f16 : Element::bf16, .bits = 16};
}

const TensorInfo& tensor_of_size(const CheckpointView& view, std::string_view name, DType dtype, uint64_t n_elements) {
  require_dtype(view, name, dtype);
  const TensorInfo& tensor = view.at(name);
  if (tensor.n_elements() != n_elements) {
    fail_model("{}: wrong number of elements (got {} in {}, expected {})", view.describe(name), tensor.n_elements(),
               shape_text(tensor), n_elements);
  }
  return tensor;
}

int read_i8(const CheckpointView& view, std::string_view name) {
  const std::vector<std::byte> bytes = view.read_all(tensor_of_size(view, name, DType::i8, 1));
  return (std::to_integer<int>(bytes.front()) ^ 0x80) - 0x80;
}

std::vector<float> read_floats(const CheckpointView& view, const TensorInfo& tensor) {
  std::vector<float> out(tensor.n_elements());
  view.read(tensor, 0, std::as_writable_bytes(std::span(out)));
  return out;
}

RowSource::RowSource(const CheckpointView& view, const Module& module, std::string_view name)
    : RowSource(view, module,
                module.n_experts ? tensor_of_shape(view, name, {module.n_experts, module.n, module.k})
                                 : tensor_of_shape(view, name, {module.n, module.k})) {}

RowSource::RowSource(const CheckpointView& view, const Module& module, std::string_view name, int64_t row_lines)
    : RowSource(view, module,
                module.n_experts
                    ? tensor_of_shape(view, name, {module.n_experts, module.n, row_lines, module.k / row_lines})
                    : tensor_of_shape(view, name, {module.n, row_lines, module.k / row_lines})) {}

RowSource::RowSource(const CheckpointView& view, const Module& module, const TensorInfo& tensor)
    : view_(&view),
      tensor_(&tensor),
      n_(module.n),
      k_(module.k),
      row_bytes_(n_ ? source_bytes(*tensor_, module) / static_cast<uint64_t>(n_) : 0),
      offset_(source_bytes(*tensor_, module) * static_cast<uint64_t>(module.expert)),
      source_row_(module.source_row) {}

void RowSource::read_span(int64_t first, int64_t count, uint8_t* out) const {
  const std::span bytes(out, static_cast<size_t>(count) * row_bytes_);
  view_->read(*tensor_, offset_ + static_cast<uint64_t>(first) * row_bytes_, std::as_writable_bytes(bytes));
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

WholeTensor::WholeTensor(const CheckpointView& view, const TensorInfo& tensor)
    : view_(&view), tensor_(&tensor), state_(std::make_shared<State>()) {}

const uint8_t* WholeTensor::bytes() const {
  std::call_once(state_->once, [this] { state_->bytes = view_->read_all(*tensor_); });
  return reinterpret_cast<const uint8_t*>(state_->bytes.data());
}

namespace {

std::optional<ScaleType> find_scale_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ScaleType::f32;
    case DType::f16:
      return ScaleType::f16;
    case DType::bf16:
      return ScaleType::bf16;
    case DType::f8_e4m3:
      return ScaleType::e4m3;
    case DType::f8_e8m0:
    case DType::u8:
      return ScaleType::e8m0;
    default:
      return std::nullopt;
  }
}

/// Element i of a tensor of numbers.
float number_at(ScaleType type, const uint8_t* bytes, uint64_t i) {
  float value = 0;
  switch (type) {
    case ScaleType::f32:
      std::memcpy(&value, bytes + 4 * i, 4);
      return value;
    case ScaleType::f16:
      widen(Element::f16, bytes + 2 * i, 1, &value);
      return value;
    case ScaleType::bf16:
      widen(Element::bf16, bytes + 2 * i, 1, &value);
      return value;
    case ScaleType::e4m3:
      return e4m3_to_f32(bytes[i]);
    default:
      return e8m0_to_f32(bytes[i]);
  }
}

}  // namespace

ScaleType scale_type(const CheckpointView& view, std::string_view name) {
  const TensorInfo& tensor = view.at(name);
  const std::optional<ScaleType> type = find_scale_type(tensor.dtype);
  if (!type) {
    fail_model("{}: wrong dtype (got {}, expected F32, F16, BF16, F8_E4M3, F8_E8M0 or U8)", view.describe(name),
               info(tensor.dtype).name);
  }
  return *type;
}

GroupValues::GroupValues(const CheckpointView& view, const Module& module, std::string_view name, Order order,
                         int64_t n_groups, int64_t block_rows)
    : whole_(view, view.at(name)),
      type_(scale_type(view, name)),
      order_(order),
      n_(module.n),
      n_groups_(n_groups),
      block_rows_(block_rows),
      source_row_(module.source_row) {
  const int64_t n_rows = order == Order::one      ? 1
                         : order == Order::blocks ? (module.n + block_rows - 1) / block_rows
                                                  : module.n;
  std::vector<uint64_t> want;  // without dimensions of 1
  const auto add = [&](int64_t dim) {
    if (dim != 1) want.push_back(static_cast<uint64_t>(dim));
  };
  if (module.n_experts) add(module.n_experts);
  if (order == Order::columns) add(n_groups), add(n_rows);
  if (order == Order::rows || order == Order::blocks) add(n_rows), add(n_groups);
  std::vector<uint64_t> have = tensor().shape;
  std::erase(have, 1u);
  if (have != want) {
    fail_model("{}: shape does not fit the model (got {}, expected {} or the same with dimensions of 1)",
               view.describe(name), shape_text(tensor()), dims_text(want));
  }
  first_ = static_cast<uint64_t>(module.expert) *
           (tensor().n_elements() / static_cast<uint64_t>(std::max<int64_t>(1, module.n_experts)));
}

void GroupValues::read(int64_t begin, int64_t count, float* out) const {
  const uint8_t* bytes = whole_.bytes();
  for (int64_t r = 0; r < count; ++r) {
    const int64_t row = source_row_ ? source_row_(begin + r) : begin + r;
    for (int64_t g = 0; g < n_groups_; ++g) {
      const int64_t at = order_ == Order::one       ? 0
                         : order_ == Order::columns ? g * n_ + row
                                                    : row / block_rows_ * n_groups_ + g;
      *out++ = number_at(type_, bytes, first_ + static_cast<uint64_t>(at));
    }
  }
}

}  // namespace packhorse
