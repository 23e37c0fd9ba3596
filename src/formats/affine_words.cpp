#include "formats/affine_words.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "base/error.h"

namespace packhorse {

namespace {

bool is_identity(const std::vector<int32_t>& list) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] != static_cast<int32_t>(i)) return false;
  }
  return true;
}

}  // namespace

ColumnGroups even_groups(int64_t size, int64_t k) {
  return {.size = size < k ? size : 0, .order = {}, .file_group = {}};
}

ColumnGroups sort_groups(std::span<const int32_t> group_of_column) {
  const auto group = [&](int32_t column) { return group_of_column[static_cast<size_t>(column)]; };
  ColumnGroups out;
  out.order.resize(group_of_column.size());
  std::iota(out.order.begin(), out.order.end(), 0);
  std::ranges::stable_sort(out.order, {}, group);
  int64_t size = 0;  // divides every place where a group begins
  for (size_t i = 1; i < out.order.size(); ++i) {
    if (group(out.order[i]) != group(out.order[i - 1])) size = std::gcd(size, static_cast<int64_t>(i));
  }
  out.size = size;
  const size_t step = size ? static_cast<size_t>(size) : out.order.size();
  for (size_t i = 0; i < out.order.size(); i += step) out.file_group.push_back(group(out.order[i]));
  if (is_identity(out.order)) out.order.clear();
  if (is_identity(out.file_group)) out.file_group.clear();
  return out;
}

std::vector<int32_t> read_group_of_column(const CheckpointView& view, const Module& module, std::string_view part,
                                          int64_t n_groups) {
  const std::string name = tensor_name(module, part);
  const TensorInfo& tensor = tensor_of_size(view, name, DType::i32, static_cast<uint64_t>(module.k));
  std::vector<int32_t> groups(tensor.n_elements());
  view.read(tensor, 0, std::as_writable_bytes(std::span(groups)));
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] < 0 || groups[i] >= n_groups)
      fail_model("{}: entry {}: not a group in 0..{} (got {})", view.describe(name), i, n_groups - 1, groups[i]);
  }
  return groups;
}

namespace {

/// What reading needs, shared by copies of a plan.
struct Reader {
  AffineWords words;
  Encoding encoding;
  int64_t k;
  std::function<int64_t(int64_t)> source_row;

  void read(int64_t begin, int64_t count, RowBlock& rows) const;

 private:
  void read_codes(std::span<const int64_t> file_rows, uint8_t* codes) const;
  void read_scales(RowBlock& rows) const;
  int64_t file_group(int64_t g) const {
    const auto& groups = words.groups.file_group;
    return groups.empty() ? g : groups[static_cast<size_t>(g)];
  }
};

void Reader::read_codes(std::span<const int64_t> file_rows, uint8_t* codes) const {
  words.read_codes(file_rows, codes);
  const std::vector<int32_t>& order = words.groups.order;
  if (order.empty()) return;
  std::vector<uint8_t> row(order.size());
  for (size_t r = 0; r < file_rows.size(); ++r, codes += k) {
    std::copy_n(codes, k, row.begin());
    for (size_t i = 0; i < row.size(); ++i) codes[i] = row[static_cast<size_t>(order[i])];
  }
}

void Reader::read_scales(RowBlock& rows) const {
  std::vector<float> scales(static_cast<size_t>(rows.n_rows * words.n_groups));
  words.scale.read(rows.row_begin, rows.n_rows, scales.data());
  for (int64_t r = 0; r < rows.n_rows; ++r) {
    for (int64_t g = 0; g < rows.n_groups; ++g) {
      const float scale = scales[static_cast<size_t>(r * words.n_groups + file_group(g))];
      if (!std::isfinite(scale)) {
        fail_model("{}: scale of row {}, group {}: not a finite number (got {})", words.scale_name, rows.row_begin + r,
                   file_group(g), scale);
      }
      rows.scale[static_cast<size_t>(r * rows.n_groups + g)] = scale;
    }
  }
}

void Reader::read(int64_t begin, int64_t count, RowBlock& rows) const {
  rows.resize(encoding, begin, count, k);
  std::vector<int64_t> file_rows(static_cast<size_t>(count));
  for (int64_t r = 0; r < count; ++r)
    file_rows[static_cast<size_t>(r)] = source_row ? source_row(begin + r) : begin + r;
  read_codes(file_rows, rows.codes.data());
  read_scales(rows);
  if (encoding.zero == ScaleType::none) return;
  for (int64_t r = 0; r < count; ++r) {
    const uint8_t* zeros = words.zeros.data() + file_rows[static_cast<size_t>(r)] * words.n_groups;
    for (int64_t g = 0; g < rows.n_groups; ++g)
      rows.zero[static_cast<size_t>(r * rows.n_groups + g)] = zeros[file_group(g)];
  }
}

}  // namespace

WeightPlan plan_affine_words(const Module& module, AffineWords words) {
  // Symmetric weights need no zero points in memory, whoever wrote them into the file.
  const int middle = 1 << (words.bits - 1);
  const bool symmetric = std::ranges::all_of(words.zeros, [=](uint8_t zero) { return zero == middle; });
  if (symmetric) words.zeros = {};
  const int64_t size = words.groups.size;
  const Encoding encoding{.element = Element::integer,
                          .bits = static_cast<uint8_t>(words.bits),
                          .offset = static_cast<int16_t>(symmetric ? middle : 0),
                          .grouping = {size ? GroupKind::along_k : GroupKind::row, static_cast<uint32_t>(size)},
                          .scale = words.scale_type,
                          .zero = symmetric ? ScaleType::none : ScaleType::u8};
  WeightPlan plan{.name = words.codes_name, .encoding = encoding, .n = module.n, .k = module.k, .read = {}};
  plan.input.order = words.groups.order;
  plan.source_bytes = words.source_bytes;
  const auto reader = std::make_shared<const Reader>(Reader{std::move(words), encoding, module.k, module.source_row});
  plan.read = [reader](int64_t begin, int64_t count, RowBlock& rows) { reader->read(begin, count, rows); };
  return plan;
}

}  // namespace packhorse
