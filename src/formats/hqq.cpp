// Checkpoints of HQQ. The N x K weights of a Linear P are flattened and cut into R groups of g, so groups may cross
// rows: w = (q - zero) * scale with one float zero point and one scale per group.
//
//   P.W_q    the groups as a matrix [R, g], split into f blocks of R / f groups; an element holds one code of each
//            block, the first block in the high bits
//              8, 6, 5 bits   U8, f = 1
//              4 bits         U8, f = 2    0000 1111
//              2 bits         U8, f = 4    00 11 22 33
//              1 bit          U8, f = 8    0 1 2 3 4 5 6 7
//              3 bits         I32, f = 10  .. 000 111 222 ... 999, R filled up to a multiple of 10
//            "view_as_float": the same bytes under a float dtype
//   P.scale, P.zero        float [R, 1]
//   P.nbits, P.axis, P.group_size, P.shape [2], P.packing, P.quant_scale, ...   settings as tiny tensors: whole numbers
//            and truths as integers, 1.58 (2 bits) as F32, texts as bytes; without them, those of the config
//
// With axis 0 the groups are the columns of a matrix [g, R].

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "base/error.h"
#include "formats/settings.h"
#include "formats/source.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxGroupSize = 1 << 30;

/// How codes of some width share an element.
struct Packing {
  int bits;
  std::string_view name;
  int n_blocks;       // codes per element
  int code_bits;      // that each of them takes
  int element_bytes;  // of W_q
};
constexpr Packing kPackings[] = {
    {1, "1bit_u8", 8, 1, 1}, {2, "2bit_u8", 4, 2, 1}, {3, "3bit_32", 10, 3, 4}, {4, "4bit_u8", 2, 4, 1},
    {5, "8bit_u8", 1, 8, 1}, {6, "8bit_u8", 1, 8, 1}, {8, "8bit_u8", 1, 8, 1},
};

// --- settings ---

/// The settings of a module: of its own tensors, or of the checkpoint.
class Settings {
 public:
  Settings(const CheckpointView& view, const Module& module) : view_(view), module_(module) {
    const Json* config = find_member(view.quantization_config, "quant_config");
    const Json* shared = config ? find_member(*config, "weight_quant_params") : nullptr;
    if (shared) shared_ = *shared;
  }

  /// Number or truth under `key`; `missing` when neither has it.
  double number(const char* key, double missing) const {
    const TensorInfo* tensor = view_.find(tensor_name(module_, key));
    if (tensor) return tensor_number(key, *tensor);
    const Json* value = find_member(shared_, key);
    if (!value) return missing;
    if (value->is_boolean()) return value->get<bool>();
    if (!value->is_number()) fail_model("{}: expected a number (got {})", describe(key), preview(*value));
    return value->get<double>();
  }

  std::string text(const char* key) const {
    const TensorInfo* tensor = view_.find(tensor_name(module_, key));
    if (!tensor || tensor->dtype != DType::u8 || tensor->n_bytes > 64) return "";
    const std::vector<std::byte> raw = view_.read_all(*tensor);
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }

  /// Where a setting stands, for messages.
  std::string describe(const char* key) const {
    const std::string name = tensor_name(module_, key);
    if (view_.find(name)) return view_.describe(name);
    return fmt::format("{}.quant_config.weight_quant_params.{}", settings_name(view_), key);
  }

 private:
  double tensor_number(const char* key, const TensorInfo& tensor) const {
    if (tensor.n_elements() != 1 || tensor.n_bytes > 8)
      fail_model("{}: expected one number (got {})", describe(key), shape_text(tensor));
    const std::vector<std::byte> raw = view_.read_all(tensor);
    const auto as = [&](auto value) {
      std::copy(raw.begin(), raw.end(), std::as_writable_bytes(std::span(&value, 1)).begin());
      return static_cast<double>(value);
    };
    switch (tensor.dtype) {
      case DType::boolean:
      case DType::u8:
        return as(uint8_t{});
      case DType::i32:
        return as(int32_t{});
      case DType::i64:
        return as(int64_t{});
      case DType::f32:
        return as(float{});
      default:
        fail_model("{}: wrong dtype (got {}, expected U8, I32, I64 or F32)", describe(key), info(tensor.dtype).name);
    }
  }

  const CheckpointView& view_;
  const Module& module_;
  Json shared_;
};

const Packing& packing_of(const Settings& settings) {
  const double bits = settings.number("nbits", 0);
  const double stored = std::abs(bits - 1.58) < 1e-3 ? 2 : bits;  // ternary codes take two bits
  const auto found = std::ranges::find_if(kPackings, [&](const Packing& p) { return p.bits == stored; });
  if (found == std::end(kPackings))
    fail_model("{}: HQQ packs 1, 1.58, 2, 3, 4, 5, 6 or 8 bits (got {})", settings.describe("nbits"), bits);
  const std::string name = settings.text("packing");
  if (!name.empty() && name != found->name) {
    fail_model("{}: does not fit {} bits (got '{}', expected '{}')", settings.describe("packing"), found->bits,
               printable(name), found->name);
  }
  return *found;
}

void check_settings(const Settings& settings) {
  if (const double axis = settings.number("axis", 1); axis != 1) {
    fail_model(
        "{}: groups along other axes than 1 give neighbours in a row scales of their own, which cannot be held (got "
        "{})",
        settings.describe("axis"), axis);
  }
  for (const char* key : {"quant_scale", "quant_zero"}) {
    if (settings.number(key, 0) != 0)
      fail_model("{}: scales and zero points that are quantized themselves are not supported", settings.describe(key));
  }
}

// --- one weight ---

struct Weight {
  const CheckpointView* view;
  const TensorInfo* tensor;
  std::string name;
  Encoding encoding;
  int64_t n, k, group;
  const Packing* packing;
  int64_t block;  // codes of a block
  GroupValues scales, zeros;
  std::function<int64_t(int64_t)> source_row;

  void read(int64_t begin, int64_t count, RowBlock& rows) const;
  void read_codes(int64_t first, int64_t count, uint8_t* out) const;
  void read_groups(int64_t row, const GroupValues& from, int64_t n_groups, int64_t group_k, float* out) const;
};

/// Codes [first, first + count) of the flattened matrix.
void Weight::read_codes(int64_t first, int64_t count, uint8_t* out) const {
  std::vector<std::byte> raw;
  const int mask = (1 << packing->code_bits) - 1, width = packing->element_bytes;
  while (count > 0) {
    const int64_t in_block = first % block, length = std::min(count, block - in_block);
    const int shift = (packing->n_blocks - 1 - static_cast<int>(first / block)) * packing->code_bits;
    raw.resize(static_cast<size_t>(length * width));
    view->read(*tensor, static_cast<uint64_t>(in_block * width), raw);
    for (int64_t i = 0; i < length; ++i) {
      uint32_t element = 0;
      for (int byte = width; byte-- > 0;)
        element = element << 8 | std::to_integer<uint32_t>(raw[static_cast<size_t>(i * width + byte)]);
      out[i] = static_cast<uint8_t>(element >> shift & static_cast<uint32_t>(mask));
    }
    if (const uint8_t largest = *std::max_element(out, out + length); largest >> encoding.bits)
      fail_model("{}: not a code of {} bits (got {})", name, encoding.bits, largest);
    first += length, count -= length, out += length;
  }
}

/// One value for each part of a row that has a group of its own.
void Weight::read_groups(int64_t row, const GroupValues& from, int64_t n_parts, int64_t part, float* out) const {
  const int64_t first = row * k / group, last = ((row + 1) * k - 1) / group;
  std::vector<float> values(static_cast<size_t>(last - first + 1));
  from.read(first, last - first + 1, values.data());
  for (int64_t i = 0; i < n_parts; ++i) out[i] = values[static_cast<size_t>((row * k + i * part) / group - first)];
}

void Weight::read(int64_t begin, int64_t count, RowBlock& rows) const {
  rows.resize(encoding, begin, count, k);
  if (!source_row && count) read_codes(begin * k, count * k, rows.codes.data());
  for (int64_t r = 0; r < count; ++r) {
    const int64_t row = source_row ? source_row(begin + r) : begin + r;
    if (source_row) read_codes(row * k, k, rows.codes.data() + r * k);
    read_groups(row, scales, rows.n_groups, rows.group_k, rows.scale.data() + r * rows.n_groups);
    read_groups(row, zeros, rows.n_groups, rows.group_k, rows.zero.data() + r * rows.n_groups);
  }
}

// --- planning ---

/// Elements per group, from the number of scales; the settings must agree.
int64_t group_of(const CheckpointView& view, const Module& module, const Settings& settings) {
  const TensorInfo& scale = view.at(tensor_name(module, "scale"));
  const auto n_groups = static_cast<int64_t>(std::min<uint64_t>(scale.n_elements(), INT32_MAX));
  const int64_t size = module.n * module.k, group = n_groups ? size / n_groups : 0;
  const double said = settings.number("group_size", 0);
  if (group == 0 || size % n_groups || group > kMaxGroupSize || (said != 0 && said != static_cast<double>(group))) {
    fail_model("{}: does not fit a matrix [{}, {}] in groups of {} (got {})",
               view.describe(tensor_name(module, "scale")), module.n, module.k, said, shape_text(scale));
  }
  return group;
}

const TensorInfo& packed_tensor(const CheckpointView& view, const Module& module, const Packing& packing,
                                int64_t n_elements, bool as_float) {
  const std::string name = tensor_name(module, "W_q");
  const TensorInfo& tensor = view.at(name);
  const DType dtype = packing.element_bytes == 4 ? DType::i32 : DType::u8;
  if (tensor.dtype != dtype && !(as_float && is_plain_float(tensor.dtype))) {
    fail_model("{}: wrong dtype (got {}, expected {})", view.describe(name), info(tensor.dtype).name, info(dtype).name);
  }
  const auto n_bytes = static_cast<uint64_t>(n_elements * packing.element_bytes);
  if (tensor.n_bytes != n_bytes) {
    fail_model("{}: does not fit a matrix [{}, {}] of {} bits (got {} bytes in {}, expected {})", view.describe(name),
               module.n, module.k, packing.bits, tensor.n_bytes, shape_text(tensor), n_bytes);
  }
  return tensor;
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const Settings settings(view, module);
  const Packing& packing = packing_of(settings);
  check_settings(settings);
  check_stated_shape(view, module, "shape");
  const int64_t group = group_of(view, module, settings), n_groups = module.n * module.k / group;
  if (packing.element_bytes == 1 && n_groups % packing.n_blocks) {
    fail_model("{}: {} groups do not split into {} blocks", view.describe(tensor_name(module, "W_q")), n_groups,
               packing.n_blocks);
  }
  const int64_t block = (n_groups + packing.n_blocks - 1) / packing.n_blocks * group;
  const TensorInfo& tensor = packed_tensor(view, module, packing, block, settings.number("view_as_float", 0) != 0);
  Module groups = module;  // a row of one group each
  groups.n = n_groups;
  groups.source_row = {};
  const auto values = [&](const char* part) {
    return GroupValues(view, groups, tensor_name(module, part), GroupValues::Order::rows, 1);
  };
  const auto weight =
      std::make_shared<const Weight>(Weight{.view = &view,
                                            .tensor = &tensor,
                                            .name = view.describe(tensor_name(module, "W_q")),
                                            .encoding = {.element = Element::integer,
                                                         .bits = static_cast<uint8_t>(packing.bits),
                                                         .grouping = {GroupKind::flat, static_cast<uint32_t>(group)},
                                                         .scale = scale_type(view, tensor_name(module, "scale")),
                                                         .zero = scale_type(view, tensor_name(module, "zero"))},
                                            .n = module.n,
                                            .k = module.k,
                                            .group = group,
                                            .packing = &packing,
                                            .block = block,
                                            .scales = values("scale"),
                                            .zeros = values("zero"),
                                            .source_row = module.source_row});
  return {.name = weight->name,
          .encoding = weight->encoding,
          .n = module.n,
          .k = module.k,
          .source_bytes = tensor.n_bytes + weight->scales.tensor().n_bytes + weight->zeros.tensor().n_bytes,
          .read = [weight](int64_t begin, int64_t count, RowBlock& rows) { weight->read(begin, count, rows); }};
}

bool claims(const CheckpointView& view, const Module& module) { return view.find(tensor_name(module, "W_q")); }

Origin origin(const CheckpointView& view) { return quant_method(view) == "hqq" ? Origin::quantized : Origin::other; }

}  // namespace

extern constexpr Format kHqq{.name = "hqq", .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
