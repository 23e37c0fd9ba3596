// Scales and zero points of integers. For a Linear P of N x K weights of b bits in G groups:
//
//   P.weight_scale       float [N, G], [N] or [1]; [ceil(N / n), G] of blocks of n rows
//   P.weight_zero_point  I32 [ceil(N b / 32), G]: down the columns, packed as codes are along the rows; I8 [N, G] of
//                        early writers and of weights that are not packed; absent when symmetric
//
// Packed zero points stand there plus 2^(b-1), as codes do: value = (code - zero point) * scale.

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "formats/ct_weights.h"
#include "formats/packing.h"

namespace packhorse::ct {
namespace {

constexpr const char* kZero = "weight_zero_point";

}  // namespace

int64_t words_of(int64_t n, int bits, bool is_stream) {
  const int64_t per_word = 32 / bits;
  return is_stream ? (n * bits + 31) / 32 : (n + per_word - 1) / per_word;
}

IntGroups::IntGroups(const CheckpointView& view, const Module& module, const Scheme& scheme, std::string_view codes,
                     bool is_stream)
    : view_(&view),
      module_(module),
      codes_(tensor_name(module, codes)),
      where_(scheme.where),
      scale_(&view.at(tensor_name(module, "weight_scale"))),
      zero_(scheme.symmetric ? view.find(tensor_name(module, kZero)) : &view.at(tensor_name(module, kZero))),
      bits_(scheme.bits),
      wanted_size_(scheme.group_size),
      block_rows_(scheme.block_rows),
      source_bytes_(scale_->n_bytes + (zero_ ? zero_->n_bytes : 0)) {
  if (scheme.is_float) fail_model("{}.type: weights in integers are int (got \"float\")", where_);
  n_groups_ = count_groups();
  const int64_t size = n_groups_ == 1 ? 0 : wanted_size_ == kAnySize ? module.k / n_groups_ : wanted_size_;
  const bool of_matrix = scale_->n_elements() == 1;
  const std::string scale_name = tensor_name(module, "weight_scale");
  const auto order = of_matrix          ? GroupValues::Order::one
                     : block_rows_ != 1 ? GroupValues::Order::blocks
                                        : GroupValues::Order::rows;
  values_.emplace(view, module, scale_name, order, n_groups_, block_rows_);
  if (zero_) zeros_ = read_zeros(is_stream);
  encoding_ = {.element = Element::integer,
               .bits = static_cast<uint8_t>(bits_),
               .offset = static_cast<int16_t>(zero_ ? 0 : 1 << (bits_ - 1)),
               .grouping = {size ? GroupKind::along_k : GroupKind::row, static_cast<uint32_t>(size)},
               .scale = scale_type(view, scale_name),
               .zero = zero_ ? ScaleType::u8 : ScaleType::none,
               .act = scheme.act};
}

void IntGroups::reject_shapes() const {
  const std::string groups = wanted_size_ > 0 ? fmt::format(" in groups of {}", wanted_size_) : "";
  fail_model(
      "{}: shapes do not fit a matrix [{}, {}] of {} bits{} (got {} {}, weight_scale {}, weight_zero_point {}; "
      "settings: "
      "{})",
      view_->describe(codes_), module_.n, module_.k, bits_, groups, codes_.substr(module_.source.size() + 1),
      shape_text(view_->at(codes_)), shape_text(*scale_), zero_ ? shape_text(*zero_) : "none", where_);
}

int64_t IntGroups::count_groups() const {
  const int64_t k = module_.k, size = wanted_size_;
  int64_t n = size > 0 ? (k + size - 1) / size : 1;
  if (size == kAnySize && scale_->shape.size() == 2 && scale_->n_elements() > 1)
    n = static_cast<int64_t>(std::clamp<uint64_t>(scale_->shape[1], 1, INT64_MAX));
  if (k % n != 0 && size == kAnySize) reject_shapes();
  const bool fits = has_shape(*scale_, {(module_.n + block_rows_ - 1) / block_rows_, n}) ||
                    (n == 1 && (scale_->n_elements() == 1 || has_shape(*scale_, {module_.n})));
  if (!fits) reject_shapes();
  return n;
}

std::vector<uint8_t> IntGroups::read_zeros(bool is_stream) const {
  const int64_t n = module_.n, n_words = words_of(n, bits_, is_stream);
  const std::string name = view_->describe(tensor_name(module_, kZero));
  const bool is_packed = zero_->dtype == DType::i32;
  if (!is_packed && zero_->dtype != DType::i8)
    fail_model("{}: wrong dtype (got {}, expected I32 or I8)", name, info(zero_->dtype).name);
  const bool of_matrix = !is_packed && zero_->n_elements() == 1 && n_groups_ == 1;
  const int64_t n_lines = is_packed ? n_words : n;
  const bool is_flat = n_groups_ == 1 && has_shape(*zero_, {n_lines});
  if (!of_matrix && !is_flat && !has_shape(*zero_, {n_lines, n_groups_})) reject_shapes();

  const std::vector<std::byte> raw = view_->read_all(*zero_);
  const auto* bytes = reinterpret_cast<const uint8_t*>(raw.data());
  std::vector<uint8_t> zeros(static_cast<size_t>(n * n_groups_));
  if (!is_packed) {
    const int middle = 1 << (bits_ - 1);
    for (size_t i = 0; i < zeros.size(); ++i) {
      const int value = (bytes[of_matrix ? 0 : i] ^ 0x80) - 0x80;  // sign extended
      if (value < -middle || value >= middle) fail_model("{}: not a value of {} bits (got {})", name, bits_, value);
      zeros[i] = static_cast<uint8_t>(value + middle);
    }
    return zeros;
  }
  std::vector<uint8_t> column(static_cast<size_t>(n_words * 4)), codes(static_cast<size_t>(n));
  for (int64_t g = 0; g < n_groups_; ++g) {
    for (int64_t w = 0; w < n_words; ++w) std::copy_n(bytes + (w * n_groups_ + g) * 4, 4, column.begin() + w * 4);
    (is_stream ? unpack_stream : unpack_words)(column.data(), bits_, n, codes.data());
    for (int64_t r = 0; r < n; ++r) zeros[static_cast<size_t>(r * n_groups_ + g)] = codes[static_cast<size_t>(r)];
  }
  return zeros;
}

void IntGroups::read(RowBlock& rows) const {
  values_->read(rows.row_begin, rows.n_rows, rows.scale.data());
  const auto bad = std::ranges::find_if_not(rows.scale, [](float s) { return std::isfinite(s); });
  if (bad != rows.scale.end()) {
    const int64_t at = bad - rows.scale.begin();
    fail_model("{}: scale of row {}, group {}: not a number (got {})",
               view_->describe(tensor_name(module_, "weight_scale")), rows.row_begin + at / n_groups_, at % n_groups_,
               *bad);
  }
  if (zeros_.empty()) return;
  for (int64_t r = 0; r < rows.n_rows; ++r) {
    const int64_t row = module_.source_row ? module_.source_row(rows.row_begin + r) : rows.row_begin + r;
    std::copy_n(zeros_.begin() + row * n_groups_, n_groups_, rows.zero.begin() + r * n_groups_);
  }
}

}  // namespace packhorse::ct
