// Sparse weights: the values that are kept, and a mask of their places. For a Linear P of N x K weights, `.` being
// "P." or "P.weight.":
//
//   .bitmask      U8 [N, ceil(K / 8)]  column k is kept: bit k % 8 of byte k / 8
//   .shape        I64 = N, K
//   .compressed   [N, K / 2]           "sparse-24-bitmask": two of each four columns
//                 [number of values]   "sparse-bitmask": rows one after another, from .row_offsets I64 [N] on
//
// Kept values are floats, or codes of a byte, whose scales are those of a dense weight.

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "formats/coded_rows.h"
#include "formats/ct_weights.h"

namespace packhorse::ct {
namespace {

/// Puts the next value where a bit is set, zeros elsewhere.
template <class T>
void scatter(const uint8_t* mask, int64_t k, const uint8_t* values, uint8_t* out) {
  for (int64_t i = 0; i < k; ++i) {
    T value{};
    if (mask[i / 8] >> (i % 8) & 1) {
      std::memcpy(&value, values, sizeof value);
      values += sizeof value;
    }
    std::memcpy(out + i * static_cast<int64_t>(sizeof value), &value, sizeof value);
  }
}

struct Masked {
  const CheckpointView* view;
  std::string name;  // of the mask
  int64_t k, width;  // bytes of a value
  RowSource mask;
  std::optional<RowSource> halves;  // values of 2:4 weights
  const TensorInfo* values;         // of others
  std::vector<int64_t> first;       // [n + 1]: of the values of a row
  std::function<int64_t(int64_t)> source_row;

  void read(int64_t begin, int64_t count, uint8_t* out) const;
  int64_t count_kept(const uint8_t* bits, int64_t row) const;
  void expand(const uint8_t* bits, const uint8_t* kept, uint8_t* out) const;
};

/// Bits of a row of the mask, which has none past the last column.
int64_t Masked::count_kept(const uint8_t* bits, int64_t row) const {
  int64_t n = 0;
  for (int64_t i = 0; i < (k + 7) / 8; ++i) n += std::popcount(bits[i]);
  if (k % 8 != 0 && bits[k / 8] >> (k % 8) != 0) fail_model("{}: row {}: bits after column {}", name, row, k - 1);
  return n;
}

void Masked::expand(const uint8_t* bits, const uint8_t* kept, uint8_t* out) const {
  (width == 1 ? scatter<uint8_t> : width == 2 ? scatter<uint16_t> : scatter<uint32_t>)(bits, k, kept, out);
}

void Masked::read(int64_t begin, int64_t count, uint8_t* out) const {
  const RowSource::Rows bits = mask.read(begin, count);
  std::optional<RowSource::Rows> kept;
  if (halves) kept = halves->read(begin, count);
  std::vector<uint8_t> buffer;
  for (int64_t r = 0; r < count; ++r, out += k * width) {
    const int64_t row = source_row ? source_row(begin + r) : begin + r;
    const int64_t want = halves ? k / 2 : first[static_cast<size_t>(row + 1)] - first[static_cast<size_t>(row)];
    if (const int64_t have = count_kept(bits.row(r), row); have != want)
      fail_model("{}: row {}: wrong number of values (got {}, the row has {})", name, row, have, want);
    if (halves) {
      expand(bits.row(r), kept->row(r), out);
      continue;
    }
    buffer.resize(static_cast<size_t>(want * width));
    view->read(*values, static_cast<uint64_t>(first[static_cast<size_t>(row)] * width),
               std::as_writable_bytes(std::span(buffer)));
    expand(bits.row(r), buffer.data(), out);
  }
}

/// Where the values of each row begin, and the end of the last.
std::vector<int64_t> read_offsets(const CheckpointView& view, const Module& module, const std::string& name,
                                  uint64_t n_values) {
  const TensorInfo& tensor = tensor_of_size(view, name, DType::i64, static_cast<uint64_t>(module.n));
  std::vector<int64_t> first(static_cast<size_t>(module.n));
  view.read(tensor, 0, std::as_writable_bytes(std::span(first)));
  first.push_back(static_cast<int64_t>(n_values));
  for (size_t r = 0; r + 1 < first.size(); ++r) {
    if (first[r] >= 0 && first[r] <= first[r + 1]) continue;
    fail_model("{}: row {}: not in 0..{} (got {})", view.describe(name), r, first[r + 1], first[r]);
  }
  return first;
}

void check_shape(const CheckpointView& view, const Module& module, const std::string& name) {
  int64_t shape[2] = {};
  view.read(tensor_of_size(view, name, DType::i64, 2), 0, std::as_writable_bytes(std::span(shape)));
  if (shape[0] == module.n && shape[1] == module.k) return;
  fail_model("{}: does not fit the model (got [{}, {}], expected [{}, {}])", view.describe(name), shape[0], shape[1],
             module.n, module.k);
}

/// "" or "weight.", between the module's name and the parts.
std::string prefix_of(const CheckpointView& view, const Module& module) {
  return has_part(view, module, "bitmask") ? "" : "weight.";
}

}  // namespace

bool is_masked(const CheckpointView& view, const Module& module) {
  const std::string prefix = prefix_of(view, module);
  return has_part(view, module, prefix + "bitmask") && has_part(view, module, prefix + "compressed");
}

Dense masked(const CheckpointView& view, const Module& module) {
  const std::string prefix = prefix_of(view, module), part = prefix + "compressed";
  const TensorInfo& values = view.at(tensor_name(module, part));
  const auto name_of = [&](std::string_view leaf) { return tensor_name(module, prefix + std::string(leaf)); };
  check_shape(view, module, name_of("shape"));
  if (const TensorInfo& mask = view.at(name_of("bitmask")); mask.dtype != DType::u8)
    fail_model("{}: wrong dtype (got {}, expected U8)", view.describe(name_of("bitmask")), info(mask.dtype).name);

  const auto width = static_cast<int64_t>(values.n_elements() ? values.n_bytes / values.n_elements() : 1);
  Module mask = module, half = module;
  mask.k = (module.k + 7) / 8;
  half.k = module.k / 2;
  const bool is_24 = values.shape.size() != 1;
  auto weight = std::make_shared<Masked>(Masked{.view = &view,
                                                .name = view.describe(name_of("bitmask")),
                                                .k = module.k,
                                                .width = width,
                                                .mask = RowSource(view, mask, name_of("bitmask")),
                                                .halves = std::nullopt,
                                                .values = &values,
                                                .first = {},
                                                .source_row = module.source_row});
  if (is_24)
    weight->halves.emplace(view, half, tensor_name(module, part));
  else
    weight->first = read_offsets(view, module, name_of("row_offsets"), values.n_elements());
  return {.part = part,
          .dtype = values.dtype,
          .n_bytes = values.n_bytes + weight->mask.tensor().n_bytes,
          .read = [weight = std::shared_ptr<const Masked>(std::move(weight))](
                      int64_t begin, int64_t count, uint8_t* out) { weight->read(begin, count, out); }};
}

}  // namespace packhorse::ct
