#include "formats/gptq_words.h"

#include <algorithm>

#include "base/error.h"
#include "formats/affine_words.h"
#include "formats/packing.h"

namespace packhorse {
namespace {

using Unpack = void (*)(const uint8_t*, int, int64_t, uint8_t*);

/// How the words of a checked module are to be read.
struct Layout {
  int bits = 0;
  int64_t n = 0, k = 0, n_groups = 0;
  Unpack unpack = nullptr;
  bool zeros_less_one = false;
  bool symmetric = false;
};

Layout check_layout(const CheckpointView& view, const Module& module, const GptqWords& words) {
  for (const char* part : {"qweight", "qzeros"}) require_dtype(view, tensor_name(module, part), DType::i32);
  const TensorInfo& qweight = view.at(tensor_name(module, "qweight"));
  const TensorInfo& scales = view.at(tensor_name(module, "scales"));
  const int64_t n = module.n, k = module.k;
  WordSettings settings = words.settings;
  if (!settings.bits && qweight.shape.size() == 2 && qweight.shape[0] <= static_cast<uint64_t>(k))
    settings.bits = static_cast<int64_t>(qweight.shape[0]) * 32 / k;
  const int64_t bits = settings.bits;
  if (bits < 2 || bits > 8) reject_words(view, module, settings);
  const int64_t n_groups = scales.shape.size() == 2 && scales.shape[0] <= static_cast<uint64_t>(k)
                               ? static_cast<int64_t>(scales.shape[0])
                               : 0;
  const bool fits = k * bits % 32 == 0 && n * bits % 32 == 0 && has_shape(qweight, {k * bits / 32, n}) &&
                    has_shape(scales, {n_groups, n}) &&
                    has_shape(view.at(tensor_name(module, "qzeros")), {n_groups, n * bits / 32});
  if (!fits) reject_words(view, module, settings);
  const bool only_planes = bits == 5 || bits == 6 || bits == 7;
  const bool in_planes = only_planes || words.in_planes;
  if (in_planes && (k % 32 != 0 || n % 32 != 0)) reject_words(view, module, settings);
  return {.bits = static_cast<int>(bits),
          .n = n,
          .k = k,
          .n_groups = n_groups,
          .unpack = in_planes ? unpack_planes : unpack_stream,
          .zeros_less_one = words.zeros_less_one && !only_planes,
          .symmetric = words.symmetric};
}

/// Zero points [n, n_groups].
std::vector<uint8_t> read_zeros(const CheckpointView& view, const Module& module, const Layout& layout) {
  std::vector<std::byte> raw = view.read_all(view.at(tensor_name(module, "qzeros")));
  auto* words = reinterpret_cast<uint8_t*>(raw.data());
  const int64_t row_words = layout.n * layout.bits / 32;
  std::vector<uint8_t> row(static_cast<size_t>(layout.n)), zeros(row.size() * static_cast<size_t>(layout.n_groups));
  for (int64_t g = 0; g < layout.n_groups; ++g, words += 4 * row_words) {
    if (layout.zeros_less_one) increment_stream(words, layout.bits, row_words);
    layout.unpack(words, layout.bits, layout.n, row.data());
    for (int64_t c = 0; c < layout.n; ++c)
      zeros[static_cast<size_t>(c * layout.n_groups + g)] = row[static_cast<size_t>(c)];
  }
  // Some files of symmetric weights store the middle in the other manner than their settings say: a zero point that is
  // everywhere beside the middle is the middle.
  const int middle = 1 << (layout.bits - 1), beside = layout.zeros_less_one ? middle + 1 : middle - 1;
  if (layout.symmetric && std::ranges::all_of(zeros, [=](uint8_t zero) { return zero == beside; }))
    std::ranges::fill(zeros, static_cast<uint8_t>(middle));
  return zeros;
}

/// Group of each column. Empty without g_idx, and where tools that quantized columns in order left it empty or all
/// zero.
std::vector<int32_t> find_group_of_column(const CheckpointView& view, const Module& module, int64_t n_groups) {
  const TensorInfo* g_idx = view.find(tensor_name(module, "g_idx"));
  if (!g_idx || g_idx->n_elements() == 0 || n_groups < 1) return {};
  std::vector<int32_t> groups = read_group_of_column(view, module, "g_idx", n_groups);
  if (n_groups > 1 && std::ranges::all_of(groups, [](int32_t group) { return group == 0; })) return {};
  return groups;
}

ColumnGroups find_groups(const CheckpointView& view, const Module& module, const GptqWords& words, int64_t n_groups) {
  const std::string g_idx = tensor_name(module, "g_idx");
  const std::vector<int32_t> groups = find_group_of_column(view, module, n_groups);
  // Settings that are silent leave uneven groups to g_idx.
  const bool only_g_idx = !groups.empty() && words.settings.group_size == 0;
  const int64_t size = only_g_idx ? 0 : columns_per_scale(view, module, words.settings, n_groups);
  if (!groups.empty()) return sort_groups(groups);
  if (words.needs_g_idx && n_groups > 1) {
    const std::string what = view.find(g_idx) ? "no groups in tensor" : "missing tensor";
    fail_model("{}: {} '{}' (desc_act: columns are not in order; settings: {})", printable(view.path), what,
               printable(g_idx), words.settings.where);
  }
  return even_groups(size, module.k);
}

}  // namespace

WeightPlan plan_gptq_words(const CheckpointView& view, const Module& module, const GptqWords& words) {
  const Layout layout = check_layout(view, module, words);
  const std::string qweight = tensor_name(module, "qweight"), scales = tensor_name(module, "scales");
  const auto read_codes = [layout, source = WholeTensor(view, view.at(qweight))](std::span<const int64_t> rows,
                                                                                 uint8_t* codes) {
    const int64_t n_words = layout.k * layout.bits / 32;
    std::vector<uint8_t> gathered(rows.size() * static_cast<size_t>(4 * n_words));
    gather_columns(source.bytes(), n_words, layout.n, rows, gathered.data());
    for (size_t r = 0; r < rows.size(); ++r)
      layout.unpack(gathered.data() + r * static_cast<size_t>(4 * n_words), layout.bits, layout.k,
                    codes + static_cast<int64_t>(r) * layout.k);
  };
  return plan_affine_words(module,
                           {.codes_name = view.describe(qweight),
                            .scale_name = view.describe(scales),
                            .bits = layout.bits,
                            .groups = find_groups(view, module, words, layout.n_groups),
                            .n_groups = layout.n_groups,
                            .scale_type = float_scale_type(view, scales),
                            .scale = GroupValues(view, module, scales, GroupValues::Order::columns, layout.n_groups),
                            .zeros = read_zeros(view, module, layout),
                            .source_bytes = bytes_of(view, module, {"qweight", "qzeros", "scales", "g_idx"}),
                            .read_codes = read_codes});
}

}  // namespace packhorse
