#pragma once
// What every dialect needs from the checkpoint: checked tensors and raw rows in the order that the model wants.

#include <cstdint>
#include <initializer_list>
#include <memory>
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
/// "<module.source>.weight".
std::string weight_name(const Module& module);
/// "[2, 3]".
std::string shape_text(const TensorInfo& tensor);

/// All elements of a small float32 tensor.
std::vector<float> read_floats(const CheckpointView& view, const TensorInfo& tensor);

/// Rows of a matrix whose rows lie one after another in a file. Keeps pointers into the view, which must outlive it.
class RowSource {
 public:
  /// The [module.n, module.k] tensor of this name. Throws Error{model} as tensor_of_shape does.
  RowSource(const CheckpointView& view, const Module& module, std::string_view name);

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
  void read_span(int64_t first, int64_t count, uint8_t* out) const;
  std::vector<int64_t> file_rows(int64_t begin, int64_t count) const;

  const CheckpointView* view_;
  const TensorInfo* tensor_;
  int64_t n_, k_;
  uint64_t row_bytes_;
  std::function<int64_t(int64_t)> source_row_;
};

}  // namespace packhorse
