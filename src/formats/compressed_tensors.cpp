// Checkpoints of compressed-tensors (llm-compressor) with packed integers, its format "pack-quantized". For a Linear P
// of N x K weights of b bits:
//
//   P.weight_packed      I32 [N, W]   a row is a stream of bits: code k at bits [k b, (k + 1) b), W = ceil(K b / 32);
//                                     until 0.16 no code crossed words: W = ceil(K / floor(32 / b))
//   P.weight_scale       float [N, G], or [1] for the whole matrix
//   P.weight_zero_point  I32 [ceil(N b / 32), G]: down the columns, packed as the codes are along the rows;
//                        I8 [N, G] of early writers; absent when symmetric
//   P.weight_shape       I64 [2] = N, K
//   P.weight_g_idx       I32 [K], group of each column: only of weights quantized in order of activation
//
// Codes and packed zero points stand there plus 2^(b-1): value = (code - zero point) * scale. b and the size of a group
// are settings, config_groups.<any name> = {targets: [module, "re:expression", class], weights: {...}}. Which modules
// are quantized is left to their tensors, so "ignore" needs no reading.

#include <algorithm>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/regex.h"
#include "codec/widen.h"
#include "formats/packing.h"
#include "formats/source.h"

namespace packhorse {
namespace {

constexpr int kMaxBits = 8;
constexpr uint64_t kMaxGroupSize = 1 << 30;

std::string tensor_name(const Module& module, std::string_view part) {
  return fmt::format("{}.{}", module.source, part);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// --- settings ---

/// Settings of the group that a module belongs to.
struct Scheme {
  int bits = 0;
  int64_t group_size = 0;  // columns per scale; 0 = whole rows, kAnySize = whatever the tensors have
  std::string where;       // of the group, for messages
};
constexpr int64_t kAnySize = -1;

std::string settings_name(const CheckpointView& view) {
  return fmt::format("{}: quantization_config", printable(view.path));
}

/// By name, or by an expression that matches its beginning.
bool targets_name(const std::string& target, const Module& module, const std::string& where) {
  if (!target.starts_with("re:")) return target == module.name;
  return Regex(std::string_view(target).substr(3), where).matches_start_of(module.name);
}

/// By a part of its class's name: "Linear" stands for every linear layer.
bool targets_class(const std::string& target, const Module& module) {
  const std::string_view leaf = std::string_view(module.name).substr(module.name.rfind('.') + 1);
  const std::string_view kind = leaf.find("emb") == leaf.npos ? "linear" : "embedding";
  return !target.empty() && kind.find(lower(target)) != kind.npos;
}

/// Targets of a group: its own list, or all that there is of a group which is named after a preset.
std::vector<std::string> targets_of(const Json& group, const std::string& where) {
  const Json* targets = group.is_array() ? &group : find_member(group, "targets");
  const bool is_list = targets && targets->is_array();
  if (!is_list || !std::ranges::all_of(*targets, [](const Json& t) { return t.is_string(); }))
    fail_model("{}.targets: expected a list of names (got {})", where, targets ? preview(*targets) : "nothing");
  return targets->get<std::vector<std::string>>();
}

/// The first group with a target that names the module, else the first with one that names its class.
std::pair<std::string, const Json*> find_group(const CheckpointView& view, const Module& module) {
  const std::string settings = settings_name(view);
  const Json* groups = find_member(view.quantization_config, "config_groups");
  if (!groups || !groups->is_object())
    fail_model("{}: config_groups: expected an object (got {})", settings, groups ? preview(*groups) : "nothing");
  std::pair<std::string, const Json*> by_class;
  for (const auto& [name, group] : groups->items()) {
    const std::string where = fmt::format("{}: config_groups.{}", settings, printable(name));
    for (const std::string& target : targets_of(group, where)) {
      if (targets_name(target, module, where + ".targets")) return {name, &group};
      if (!by_class.second && targets_class(target, module)) by_class = {name, &group};
    }
  }
  if (!by_class.second) {
    fail_model("{}: config_groups: no target fits '{}', which has packed weights", settings, printable(module.name));
  }
  return by_class;
}

/// A whole number in [low, high] under `key`; `missing` when there is none.
int64_t whole_number(const Json& object, std::string_view key, int64_t low, uint64_t high, int64_t missing,
                     const std::string& where) {
  const Json* value = find_member(object, key);
  if (!value) return missing;
  const auto number = as_unsigned(*value);
  if (!number || *number < static_cast<uint64_t>(low) || *number > high)
    fail_model("{}.{}: not a whole number in {}..{} (got {})", where, key, low, high, preview(*value));
  return static_cast<int64_t>(*number);
}

/// Throws Error{model} when a setting that this build does not know is on.
void require_off(const Json& object, std::string_view key, const std::string& where) {
  const Json* value = find_member(object, key);
  if (value && !value->empty()) fail_model("{}.{}: not supported yet (got {})", where, key, preview(*value));
}

/// "W4A16" and "W4A16_ASYM": a group's name may stand for its settings.
Scheme preset_of(const std::string& name, std::string where) {
  const bool known = name.size() >= 5 && (name[0] == 'W' || name[0] == 'w') && name[1] >= '1' && name[1] <= '8' &&
                     (lower(name).substr(2) == "a16" || lower(name).substr(2) == "a16_asym");
  if (!known) fail_model("{}: not the name of a preset for packed integers (W1A16 to W8A16, W4A16_ASYM)", where);
  return {name[1] - '0', kAnySize, std::move(where)};
}

Scheme scheme_of(const CheckpointView& view, const Module& module) {
  const auto [name, group] = find_group(view, module);
  const std::string settings = settings_name(view);
  std::string where = fmt::format("{}: config_groups.{}", settings, printable(name));
  for (const char* key : {"kv_cache_scheme", "transform_config"})
    require_off(view.quantization_config, key, settings + ":");
  if (group->is_array()) return preset_of(name, std::move(where));
  for (const char* key : {"input_activations", "output_activations"}) require_off(*group, key, where);
  where += ".weights";
  const Json* weights = find_member(*group, "weights");
  if (!weights || !weights->is_object())
    fail_model("{}: expected an object (got {})", where, weights ? preview(*weights) : "nothing");
  const Json* type = find_member(*weights, "type");
  if (type && *type != "int") fail_model("{}.type: packed weights are int (got {})", where, preview(*type));
  const auto bits = static_cast<int>(whole_number(*weights, "num_bits", 1, kMaxBits, 8, where));
  const Json* size = find_member(*weights, "group_size");
  const bool whole_rows = size && *size == -1;
  return {bits, whole_rows ? 0 : whole_number(*weights, "group_size", 1, kMaxGroupSize, 0, where), where};
}

// --- tensors ---

/// A weight in its file.
struct Packed {
  Encoding encoding;
  int64_t k, n_groups;
  bool is_stream;  // codes may cross words
  RowSource codes;
  std::optional<RowSource> scale;  // none: one for the whole matrix
  float matrix_scale;
  std::vector<uint8_t> zero;  // [n, n_groups] when encoding.zero
  std::function<int64_t(int64_t)> source_row;

  void read(int64_t begin, int64_t count, RowBlock& rows) const;
};

Element element_of(DType dtype) {
  return dtype == DType::f32 ? Element::f32 : dtype == DType::f16 ? Element::f16 : Element::bf16;
}

void Packed::read(int64_t begin, int64_t count, RowBlock& rows) const {
  rows.resize(encoding, begin, count, k);
  const RowSource::Rows raw = codes.read(begin, count);
  for (int64_t r = 0; r < count; ++r) {
    (is_stream ? unpack_stream : unpack_words)(raw.row(r), encoding.bits, k, rows.codes.data() + r * k);
  }
  if (!scale) {
    std::ranges::fill(rows.scale, matrix_scale);
  } else {
    const RowSource::Rows raw_scales = scale->read(begin, count);
    const Element element = element_of(scale->tensor().dtype);
    for (int64_t r = 0; r < count; ++r) widen(element, raw_scales.row(r), n_groups, rows.scale.data() + r * n_groups);
  }
  if (zero.empty()) return;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t row = source_row ? source_row(begin + r) : begin + r;
    std::copy_n(zero.begin() + row * n_groups, n_groups, rows.zero.begin() + r * n_groups);
  }
}

/// 32-bit words that n codes take.
int64_t words_of(int64_t n, int bits, bool is_stream) {
  const int64_t per_word = 32 / bits;
  return is_stream ? (n * bits + 31) / 32 : (n + per_word - 1) / per_word;
}

bool has_shape(const TensorInfo& tensor, int64_t rows, int64_t columns) {
  return tensor.shape == std::vector<uint64_t>{static_cast<uint64_t>(rows), static_cast<uint64_t>(columns)};
}

/// The tensors of a module, and the one message for shapes of theirs that do not fit.
struct Tensors {
  const CheckpointView& view;
  const Module& module;
  const Scheme& scheme;
  const TensorInfo& packed;
  const TensorInfo& scale;
  const TensorInfo* zero;

  [[noreturn]] void reject_shapes() const {
    const std::string groups = scheme.group_size > 0 ? fmt::format(" in groups of {}", scheme.group_size) : "";
    fail_model(
        "{}: shapes do not fit a matrix [{}, {}] of {} bits{} (got weight_packed {}, weight_scale {}, "
        "weight_zero_point "
        "{}; settings: {})",
        view.describe(tensor_name(module, "weight_packed")), module.n, module.k, scheme.bits, groups,
        shape_text(packed), shape_text(scale), zero ? shape_text(*zero) : "none", scheme.where);
  }
};

/// Columns per scale of a weight with this many scales per row; 0 = all.
int64_t group_size_of(const Tensors& t, int64_t n_groups) {
  const int64_t k = t.module.k, size = t.scheme.group_size;
  if (size == kAnySize) {
    if (k % n_groups != 0) t.reject_shapes();
    return n_groups == 1 ? 0 : k / n_groups;
  }
  if (n_groups != (size ? (k + size - 1) / size : 1)) t.reject_shapes();
  return n_groups == 1 ? 0 : size;
}

/// Zero points [n, n_groups] plus 2^(b-1), as the codes are.
std::vector<uint8_t> read_zeros(const Tensors& t, int64_t n_groups, bool is_stream) {
  const int64_t n = t.module.n, n_words = words_of(n, t.scheme.bits, is_stream);
  const std::vector<std::byte> raw = t.view.read_all(*t.zero);
  const auto* bytes = reinterpret_cast<const uint8_t*>(raw.data());
  std::vector<uint8_t> zeros(static_cast<size_t>(n * n_groups));
  const std::string name = t.view.describe(tensor_name(t.module, "weight_zero_point"));
  if (t.zero->dtype == DType::i8) {
    if (!has_shape(*t.zero, n, n_groups)) t.reject_shapes();
    const int middle = 1 << (t.scheme.bits - 1);
    for (size_t i = 0; i < zeros.size(); ++i) {
      const int value = (bytes[i] ^ 0x80) - 0x80;  // sign extended
      if (value < -middle || value >= middle)
        fail_model("{}: not a value of {} bits (got {})", name, t.scheme.bits, value);
      zeros[i] = static_cast<uint8_t>(value + middle);
    }
    return zeros;
  }
  if (t.zero->dtype != DType::i32)
    fail_model("{}: wrong dtype (got {}, expected I32 or I8)", name, info(t.zero->dtype).name);
  if (!has_shape(*t.zero, n_words, n_groups)) t.reject_shapes();
  std::vector<uint8_t> column(static_cast<size_t>(n_words * 4)), codes(static_cast<size_t>(n));
  for (int64_t g = 0; g < n_groups; ++g) {
    for (int64_t w = 0; w < n_words; ++w) std::copy_n(bytes + (w * n_groups + g) * 4, 4, column.begin() + w * 4);
    (is_stream ? unpack_stream : unpack_words)(column.data(), t.scheme.bits, n, codes.data());
    for (int64_t r = 0; r < n; ++r) zeros[static_cast<size_t>(r * n_groups + g)] = codes[static_cast<size_t>(r)];
  }
  return zeros;
}

/// weight_shape, where it is there, repeats what the model's config says.
void check_shape(const CheckpointView& view, const Module& module) {
  const std::string name = tensor_name(module, "weight_shape");
  if (!view.find(name)) return;
  int64_t shape[2] = {};
  view.read(tensor_of_size(view, name, DType::i64, 2), 0, std::as_writable_bytes(std::span(shape)));
  if (shape[0] == module.n && shape[1] == module.k) return;
  fail_model("{}: does not fit the model (got [{}, {}], expected [{}, {}])", view.describe(name), shape[0], shape[1],
             module.n, module.k);
}

/// Columns must be in groups one after another; -1 in all of weight_g_idx says so too.
void check_column_order(const CheckpointView& view, const Module& module, const Scheme& scheme, int64_t group_size) {
  const std::string name = tensor_name(module, "weight_g_idx");
  if (!view.find(name)) return;
  const TensorInfo& tensor = tensor_of_size(view, name, DType::i32, static_cast<uint64_t>(module.k));
  std::vector<int32_t> group(tensor.n_elements());
  view.read(tensor, 0, std::as_writable_bytes(std::span(group)));
  const bool none = std::ranges::all_of(group, [](int32_t g) { return g == -1; });
  for (size_t k = 0; k < group.size() && !none; ++k) {
    if (group[k] == (group_size ? static_cast<int64_t>(k) / group_size : 0)) continue;
    fail_model("{}.actorder: \"group\" is not supported yet ({}: column {} is in group {})", scheme.where,
               view.describe(name), k, group[k]);
  }
}

ScaleType scale_type(const Tensors& t) {
  if (!is_plain_float(t.scale.dtype)) {
    fail_model("{}: wrong dtype (got {}, expected F32, F16 or BF16)",
               t.view.describe(tensor_name(t.module, "weight_scale")), info(t.scale.dtype).name);
  }
  return t.scale.dtype == DType::f32 ? ScaleType::f32 : t.scale.dtype == DType::f16 ? ScaleType::f16 : ScaleType::bf16;
}

float read_matrix_scale(const Tensors& t) {
  const std::vector<std::byte> raw = t.view.read_all(t.scale);
  float out = 0;
  widen(element_of(t.scale.dtype), reinterpret_cast<const uint8_t*>(raw.data()), 1, &out);
  return out;
}

RowSource rows_of(const Tensors& t, std::string_view part, int64_t columns) {
  Module matrix = t.module;
  matrix.k = columns;
  return {t.view, matrix, tensor_name(t.module, part)};
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const Scheme scheme = scheme_of(view, module);
  const std::string name = tensor_name(module, "weight_packed");
  const Tensors t{view,
                  module,
                  scheme,
                  view.at(name),
                  view.at(tensor_name(module, "weight_scale")),
                  view.find(tensor_name(module, "weight_zero_point"))};
  check_shape(view, module);
  const bool is_stream = has_shape(t.packed, module.n, words_of(module.k, scheme.bits, true));
  if (!is_stream && !has_shape(t.packed, module.n, words_of(module.k, scheme.bits, false))) t.reject_shapes();
  const bool per_row = t.scale.shape.size() == 2 && t.scale.shape[1] > 0;
  const int64_t n_groups = per_row ? static_cast<int64_t>(std::min<uint64_t>(t.scale.shape[1], INT64_MAX)) : 1;
  const bool of_matrix = t.scale.n_elements() == 1;
  if (!of_matrix && !has_shape(t.scale, module.n, n_groups)) t.reject_shapes();
  const int64_t group_size = group_size_of(t, n_groups);
  check_column_order(view, module, scheme, group_size);

  const Encoding encoding{
      .element = Element::integer,
      .bits = static_cast<uint8_t>(scheme.bits),
      .offset = static_cast<int16_t>(t.zero ? 0 : 1 << (scheme.bits - 1)),
      .grouping = {group_size ? GroupKind::along_k : GroupKind::row, static_cast<uint32_t>(group_size)},
      .scale = scale_type(t),
      .zero = t.zero ? ScaleType::u8 : ScaleType::none};
  const auto weight = std::make_shared<const Packed>(
      Packed{.encoding = encoding,
             .k = module.k,
             .n_groups = n_groups,
             .is_stream = is_stream,
             .codes = rows_of(t, "weight_packed", words_of(module.k, scheme.bits, is_stream)),
             .scale = of_matrix ? std::nullopt : std::optional(rows_of(t, "weight_scale", n_groups)),
             .matrix_scale = of_matrix ? read_matrix_scale(t) : 0,
             .zero = t.zero ? read_zeros(t, n_groups, is_stream) : std::vector<uint8_t>{},
             .source_row = module.source_row});
  return {.name = view.describe(name),
          .encoding = encoding,
          .n = module.n,
          .k = module.k,
          .source_bytes = t.packed.n_bytes + t.scale.n_bytes + (t.zero ? t.zero->n_bytes : 0),
          .read = [weight](int64_t begin, int64_t count, RowBlock& rows) { weight->read(begin, count, rows); }};
}

bool claims(const CheckpointView& view, const Module& module) {
  const TensorInfo* packed = view.find(tensor_name(module, "weight_packed"));
  // 2:4 sparse weights in Marlin's tiles have that tensor too.
  return packed && packed->dtype == DType::i32 && !view.find(tensor_name(module, "scale_packed"));
}

Origin origin(const CheckpointView& view) {
  const Json* method = find_member(view.quantization_config, "quant_method");
  return method && *method == "compressed-tensors" ? Origin::quantized : Origin::other;
}

}  // namespace

extern constexpr Format kCompressedTensors{
    .name = "compressed-tensors", .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
