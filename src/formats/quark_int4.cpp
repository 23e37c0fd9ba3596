// For a Linear P of N x K weights of 4 bits in G groups along the columns:
//
//   P.weight             I32 [K, ceil(N / 8)]  transposed: a word holds eight neighbouring rows of one column
//   P.weight_scale       float [G, N]
//   P.weight_zero_point  I32 [G, ceil(N / 8)]  packed as the codes are; not read when the settings say symmetric
//
//   pack_method "order"    nibble i from the low bits up holds row i
//   pack_method "reorder"  nibble i holds row (0, 2, 4, 6, 1, 3, 5, 7)[i]
//
// int4 codes and zero points are in two's complement, uint4 ones are not.

#include "formats/quark_int4.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "formats/coded_rows.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr int64_t kPerWord = 8;
constexpr int kInOrder[] = {0, 1, 2, 3, 4, 5, 6, 7};
constexpr int kReordered[] = {0, 4, 1, 5, 2, 6, 3, 7};  // nibble that holds row i

/// Words [lines, ceil(n / 8)] of one module.
struct Words {
  WholeTensor tensor;
  uint64_t first;  // byte where the module's part of a stacked tensor begins
  int64_t per_line;
  const int* nibble;
  int flip;  // 8 turns two's complement into the number plus 8

  uint8_t code(int64_t line, int64_t row) const {
    uint32_t word;
    std::memcpy(&word, tensor.bytes() + first + (line * per_line + row / kPerWord) * 4, 4);
    return static_cast<uint8_t>((word >> (4 * nibble[row % kPerWord]) & 15) ^ static_cast<uint32_t>(flip));
  }
};

struct Int4 {
  Encoding encoding;
  int64_t k, n_groups;
  Words codes;
  std::unique_ptr<const Words> zero;
  GroupValues scale;
  std::function<int64_t(int64_t)> source_row;

  void read(int64_t begin, int64_t count, RowBlock& rows) const {
    rows.resize(encoding, begin, count, k);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t row = source_row ? source_row(begin + r) : begin + r;
      for (int64_t i = 0; i < k; ++i) rows.codes[static_cast<size_t>(r * k + i)] = codes.code(i, row);
      for (int64_t g = 0; zero && g < n_groups; ++g)
        rows.zero[static_cast<size_t>(r * n_groups + g)] = zero->code(g, row);
    }
    scale.read(begin, count, rows.scale.data());
  }
};

Words words_of(const CheckpointView& view, const Module& module, std::string_view part, int64_t lines,
               const QuarkSpec& spec, const int* nibble) {
  const std::string name = tensor_name(module, part);
  const int64_t per_line = (module.n + kPerWord - 1) / kPerWord;
  const TensorInfo& tensor = module.n_experts ? tensor_of_shape(view, name, {module.n_experts, lines, per_line})
                                              : tensor_of_shape(view, name, {lines, per_line});
  require_dtype(view, name, DType::i32);
  return {.tensor = WholeTensor(view, tensor),
          .first = source_bytes(tensor, module) * static_cast<uint64_t>(module.expert),
          .per_line = per_line,
          .nibble = nibble,
          .flip = spec.dtype == "int4" ? 8 : 0};
}

const int* nibbles_of(const CheckpointView& view) {
  const Json* exported = find_member(view.quantization_config, "export");
  const std::string where = settings_name(view) + ".export";
  const std::string method = exported ? text(*exported, "pack_method", "reorder", where) : "reorder";
  if (method != "order" && method != "reorder")
    fail_model("{}.pack_method: not order or reorder (got '{}')", where, printable(method));
  return method == "order" ? kInOrder : kReordered;
}

/// Columns per scale, of which the settings must not say otherwise.
int64_t group_size(const CheckpointView& view, const Module& module, const QuarkSpec& spec, int64_t n_groups) {
  const int64_t size = spec.qscheme == "per_group" && spec.group ? spec.group : module.k;
  if (n_groups == (module.k + size - 1) / size) return size;
  const std::string name = tensor_name(module, "weight_scale");
  fail_model("{}: {} groups do not fit {} columns in groups of {} (got {}; settings: {})", view.describe(name),
             n_groups, module.k, size, shape_text(view.at(name)), spec.where);
}

}  // namespace

WeightPlan plan_quark_int4(const CheckpointView& view, const Module& module, const QuarkSpec& spec) {
  const std::string name = weight_name(module), scale_name = tensor_name(module, "weight_scale");
  const TensorInfo& scale = view.at(scale_name);
  const auto n_groups = static_cast<int64_t>(n_elements_of(scale, module) / static_cast<uint64_t>(module.n));
  const int64_t size = group_size(view, module, spec, n_groups);
  const bool has_zero = !spec.symmetric;
  const int* nibble = nibbles_of(view);
  const Encoding encoding{.element = Element::integer,
                          .bits = 4,
                          .offset = static_cast<int16_t>(has_zero ? 0 : 8),
                          .grouping = {n_groups == 1 ? GroupKind::row : GroupKind::along_k,
                                       static_cast<uint32_t>(n_groups == 1 ? 0 : size)},
                          .scale = scale_type(view, scale_name),
                          .zero = has_zero ? ScaleType::u8 : ScaleType::none};
  auto zero = has_zero
                  ? std::make_unique<const Words>(words_of(view, module, "weight_zero_point", n_groups, spec, nibble))
                  : nullptr;
  const uint64_t zero_bytes = zero ? source_bytes(zero->tensor.tensor(), module) : 0;
  const auto weight = std::make_shared<const Int4>(
      Int4{.encoding = encoding,
           .k = module.k,
           .n_groups = n_groups,
           .codes = words_of(view, module, "weight", module.k, spec, nibble),
           .zero = std::move(zero),
           .scale = GroupValues(view, module, scale_name, GroupValues::Order::columns, n_groups),
           .source_row = module.source_row});
  return {.name = view.describe(name),
          .encoding = encoding,
          .n = module.n,
          .k = module.k,
          .source_bytes = source_bytes(view.at(name), module) + source_bytes(scale, module) + zero_bytes,
          .read = [weight](int64_t begin, int64_t count, RowBlock& rows) { weight->read(begin, count, rows); }};
}

}  // namespace packhorse
