#pragma once
// The layouts of compressed-tensors. Each plan throws Error{model} when the module's tensors or settings do not fit.

#include "formats/ct_settings.h"
#include "formats/source.h"

namespace packhorse::ct {

/// Raw rows [begin, begin + count) of a matrix [n, k] of one dtype, without gaps.
using ReadRows = std::function<void(int64_t begin, int64_t count, uint8_t* out)>;

/// A matrix of one number per element, as it stands in a tensor or comes out of a compressed one.
struct Dense {
  std::string part;  // of the module's name, which has the numbers
  DType dtype = DType::f32;
  uint64_t n_bytes = 0;  // in the file
  ReadRows read = {};    // null: straight from the tensor
};

/// weight_packed I32: integers of 1 to 8 bits.
WeightPlan plan_packed(const CheckpointView& view, const Module& module);
/// weight_packed U8: floats of 4 or 6 bits.
WeightPlan plan_packed_floats(const CheckpointView& view, const Module& module);
/// A byte per code, I8 or F8_E4M3, with its scales; or plain floats without.
WeightPlan plan_dense(const CheckpointView& view, const Module& module, const Dense& dense);

/// Whether the weight stands as the values that are not zero and a mask; then what it is.
bool is_masked(const CheckpointView& view, const Module& module);
Dense masked(const CheckpointView& view, const Module& module);

/// Scales, and zero points if there are any, of signed integers of `bits`: one for each row and group, for whole rows
/// or for the whole matrix.
class IntGroups {
 public:
  /// `codes` is the part that has the codes, for messages; `is_stream`: packed zero points may cross words.
  IntGroups(const CheckpointView& view, const Module& module, const Scheme& scheme, std::string_view codes,
            bool is_stream);

  const Encoding& encoding() const { return encoding_; }
  int64_t group_size() const { return encoding_.grouping.size; }  // 0 = whole rows
  uint64_t source_bytes() const { return source_bytes_; }
  /// Fills scales and zero points of rows that were given their size.
  void read(RowBlock& rows) const;
  /// The one message for shapes of codes, scales and zero points that do not fit.
  [[noreturn]] void reject_shapes() const;

 private:
  int64_t count_groups() const;
  std::vector<uint8_t> read_zeros(bool is_stream) const;

  const CheckpointView* view_;
  Module module_;
  std::string codes_, where_;
  const TensorInfo* scale_;
  const TensorInfo* zero_;
  int bits_;
  int64_t wanted_size_, block_rows_, n_groups_ = 1;
  Encoding encoding_;
  std::optional<GroupValues> values_;
  std::vector<uint8_t> zeros_;  // [n, n_groups], plus 2^(bits-1) as the codes are
  uint64_t source_bytes_;
};

/// 32-bit words that n codes take, when codes may cross words and when not.
int64_t words_of(int64_t n, int bits, bool is_stream);

}  // namespace packhorse::ct
