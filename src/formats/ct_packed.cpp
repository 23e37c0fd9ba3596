// Integers of b bits packed in words, format "pack-quantized". For a Linear P of N x K weights:
//
//   P.weight_packed  I32 [N, W]   a row is a stream of bits: code k at bits [k b, (k + 1) b), W = ceil(K b / 32);
//                                 until 0.16 no code crossed words: W = ceil(K / floor(32 / b))
//   P.weight_shape   I64 [2] = N, K
//   P.weight_g_idx   I32 [K], group of each column: only of weights quantized in order of activation
//
// A code stands there plus 2^(b-1). The scales are in ct_groups.cpp.

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "formats/ct_act.h"
#include "formats/ct_weights.h"
#include "formats/packing.h"

namespace packhorse::ct {
namespace {

/// A weight in its file.
struct Packed {
  IntGroups groups;
  int64_t k;
  bool is_stream;  // codes may cross words
  RowSource codes;
  std::vector<int32_t> order;  // column of the file that is column i; empty = i

  void read(int64_t begin, int64_t count, RowBlock& rows) const;
};

void Packed::read(int64_t begin, int64_t count, RowBlock& rows) const {
  rows.resize(groups.encoding(), begin, count, k);
  const RowSource::Rows raw = codes.read(begin, count);
  std::vector<uint8_t> in_file(order.size());
  for (int64_t r = 0; r < count; ++r) {
    uint8_t* out = rows.codes.data() + r * k;
    (is_stream ? unpack_stream : unpack_words)(raw.row(r), groups.encoding().bits, k,
                                               order.empty() ? out : in_file.data());
    for (size_t i = 0; i < order.size(); ++i) out[i] = in_file[static_cast<size_t>(order[i])];
  }
  groups.read(rows);
}

/// Columns by their groups, which weight_g_idx gives; empty when they stand so in the file. -1 in all of it says so
/// too.
std::vector<int32_t> column_order(const CheckpointView& view, const Module& module, int64_t group_size) {
  const std::string name = tensor_name(module, "weight_g_idx");
  if (!view.find(name)) return {};
  const TensorInfo& tensor = tensor_of_size(view, name, DType::i32, static_cast<uint64_t>(module.k));
  std::vector<int32_t> group(tensor.n_elements());
  view.read(tensor, 0, std::as_writable_bytes(std::span(group)));
  if (std::ranges::all_of(group, [](int32_t g) { return g == -1; })) return {};
  if (!group_size) group_size = module.k;
  const int64_t n_groups = (module.k + group_size - 1) / group_size;
  const auto bad = std::ranges::find_if(group, [&](int32_t g) { return g < 0 || g >= n_groups; });
  if (bad != group.end()) {
    fail_model("{}: column {}: no such group (got {}, there are {})", view.describe(name), bad - group.begin(), *bad,
               n_groups);
  }
  std::vector<int32_t> order(group.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](int32_t column) { return group[static_cast<size_t>(column)]; });
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t g = group[static_cast<size_t>(order[i])], want = static_cast<int64_t>(i) / group_size;
    if (g != want) {
      fail_model("{}: group {} has not {} columns", view.describe(name), std::min(g, want),
                 std::min(group_size, module.k - std::min(g, want) * group_size));
    }
  }
  if (std::ranges::is_sorted(order)) order.clear();
  return order;
}

/// Whether codes cross words, which the width of a row tells but where it would be the same both ways: words whose
/// codes do not cross have no bits above the last whole code.
bool crosses_words(const CheckpointView& view, const Module& module, const TensorInfo& packed, int bits) {
  const int64_t n_words = words_of(module.k, bits, true);
  if (!has_shape(packed, {module.n, n_words})) return false;
  if (32 % bits == 0 || n_words != words_of(module.k, bits, false)) return true;
  const int used = 32 / bits * bits;
  const std::vector<std::byte> bytes = view.read_all(packed);
  for (size_t at = 0; at + 4 <= bytes.size(); at += 4) {
    uint32_t word;
    std::memcpy(&word, bytes.data() + at, 4);
    if (word >> used) return true;
  }
  return false;
}

}  // namespace

WeightPlan plan_packed(const CheckpointView& view, const Module& module) {
  const Scheme scheme = scheme_of(view, module);
  const std::string name = tensor_name(module, "weight_packed");
  const TensorInfo& packed = view.at(name);
  check_stated_shape(view, module, "weight_shape");
  const bool is_stream = crosses_words(view, module, packed, scheme.bits);
  const IntGroups groups(view, module, scheme, "weight_packed", is_stream);
  const int64_t n_words = words_of(module.k, scheme.bits, is_stream);
  if (!has_shape(packed, {module.n, n_words})) groups.reject_shapes();

  Module words = module;
  words.k = n_words;
  const auto weight = std::make_shared<const Packed>(Packed{.groups = groups,
                                                            .k = module.k,
                                                            .is_stream = is_stream,
                                                            .codes = RowSource(view, words, name),
                                                            .order = column_order(view, module, groups.group_size())});
  WeightInput input = read_input(view, module, scheme.act);
  input.order = weight->order;
  return {.name = view.describe(name),
          .encoding = groups.encoding(),
          .n = module.n,
          .k = module.k,
          .input = std::move(input),
          .source_bytes = packed.n_bytes + groups.source_bytes(),
          .read = [weight](int64_t begin, int64_t count, RowBlock& rows) { weight->read(begin, count, rows); }};
}

}  // namespace packhorse::ct
