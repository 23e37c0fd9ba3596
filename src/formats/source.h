#pragma once
// What every dialect needs from the checkpoint: checked tensors and raw rows in the order that the model wants.

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "formats/format.h"

namespace packhorse {

/// Tensor `name`, which must have this shape. Throws Error{model} naming both shapes, or the missing tensor.
const TensorInfo& tensor_of_shape(const CheckpointView& view, std::string_view name,
                                  std::initializer_list<int64_t> shape);
/// Tensor `name`, which must have this dtype and number of elements, whatever its shape.
const TensorInfo& tensor_of_size(const CheckpointView& view, std::string_view name, DType dtype, uint64_t n_elements);
/// Throws Error{model} when tensor `name` has another dtype.
void require_dtype(const CheckpointView& view, std::string_view name, DType dtype);
/// Throws Error{model} when a tensor that repeats N and K of a module (I64 [2]) is there and says otherwise.
void check_stated_shape(const CheckpointView& view, const Module& module, std::string_view part);
/// Of plain float elements: F32, F16 or BF16.
Encoding float_encoding(DType dtype);
/// "<module.source>.weight".
std::string weight_name(const Module& module);
/// "[2, 3]".
std::string shape_text(const TensorInfo& tensor);

/// "<module.source>.<part>".
std::string tensor_name(const Module& module, std::string_view part);
bool has_shape(const TensorInfo& tensor, std::initializer_list<int64_t> shape);
/// Bytes of a tensor that belong to this module: all, or an expert's share of a stacked tensor.
uint64_t source_bytes(const TensorInfo& tensor, const Module& module);

/// The one I8 of a tensor. Throws Error{model} when it holds anything else.
int read_i8(const CheckpointView& view, std::string_view name);
/// All elements of a small float32 tensor.
std::vector<float> read_floats(const CheckpointView& view, const TensorInfo& tensor);

/// Rows of a matrix whose rows lie one after another in a file. Keeps pointers into the view, which must outlive it.
class RowSource {
 public:
  /// The [module.n, module.k] tensor of this name, or the module's part of an [n_experts, n, k] one. Throws
  /// Error{model} as tensor_of_shape does.
  RowSource(const CheckpointView& view, const Module& module, std::string_view name);
  /// The same where a row is itself a matrix of so many lines: [n, row_lines, k / row_lines].
  RowSource(const CheckpointView& view, const Module& module, std::string_view name, int64_t row_lines);

  const TensorInfo& tensor() const { return *tensor_; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  uint64_t row_bytes() const { return row_bytes_; }

  /// Raw rows [begin, begin + count) of the module. Row i starts at row(i).
  class Rows {
   public:
    const uint8_t* row(int64_t i) const {
      return bytes_.get() + (place_.empty() ? i : place_[static_cast<size_t>(i)]) * row_bytes_;
    }

   private:
    friend class RowSource;
    std::unique_ptr<uint8_t[]> bytes_;
    std::vector<int64_t> place_;  // row of bytes_ that holds row i; empty = i
    int64_t row_bytes_ = 0;
  };
  /// One large read when the rows lie close to each other in the file, else a read per row.
  Rows read(int64_t begin, int64_t count) const;
  /// The same into out[count * row_bytes], without a detour where the file has the rows in this order.
  void read_into(int64_t begin, int64_t count, uint8_t* out) const;

 private:
  RowSource(const CheckpointView& view, const Module& module, const TensorInfo& tensor);
  void read_span(int64_t first, int64_t count, uint8_t* out) const;
  std::vector<int64_t> file_rows(int64_t begin, int64_t count) const;

  const CheckpointView* view_;
  const TensorInfo* tensor_;
  int64_t n_, k_;
  uint64_t row_bytes_, offset_;
  std::function<int64_t(int64_t)> source_row_;
};

/// A whole tensor, read when first asked for: for layouts that spread a row over all of it. Copies share the bytes,
/// which live as long as one of them. Thread-safe.
class WholeTensor {
 public:
  WholeTensor(const CheckpointView& view, const TensorInfo& tensor);
  const TensorInfo& tensor() const { return *tensor_; }
  const uint8_t* bytes() const;

 private:
  struct State {
    std::once_flag once;
    std::vector<std::byte> bytes;
  };
  const CheckpointView* view_;
  const TensorInfo* tensor_;
  std::shared_ptr<State> state_;
};

/// Storage type of scales in a tensor: floats, F8_E4M3, or E8M0 (also as U8). Throws Error{model} for any other.
ScaleType scale_type(const CheckpointView& view, std::string_view name);

/// One number per row and group of a module, from a tensor of floats, F8_E4M3 or E8M0 in any of these orders. Copies
/// share what was read.
class GroupValues {
 public:
  enum class Order : uint8_t {
    rows,     // [n, n_groups], or [n] of one group
    columns,  // [n_groups, n]
    blocks,   // [ceil(n / block_rows), n_groups], dimensions of 1 anywhere
    one,      // a single number
  };
  /// Throws Error{model} when the tensor does not fit.
  GroupValues(const CheckpointView& view, const Module& module, std::string_view name, Order order, int64_t n_groups,
              int64_t block_rows = 1);

  const TensorInfo& tensor() const { return whole_.tensor(); }
  /// Rows [begin, begin + count) of the module as out[count, n_groups].
  void read(int64_t begin, int64_t count, float* out) const;

 private:
  WholeTensor whole_;
  ScaleType type_;
  Order order_;
  int64_t n_, n_groups_, block_rows_;
  uint64_t first_;  // element where the module's part of a stacked tensor begins
  std::function<int64_t(int64_t)> source_row_;
};

}  // namespace packhorse
