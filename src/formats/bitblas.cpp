// Checkpoints of BitBLAS, as GPTQModel and vLLM write them. For a Linear P of N x K weights of b = 1, 2, 4 or 8 bits:
//
//   P.qweight            I8 [N, K b / 8]   a row is a stream of bits, lowest first; codes in the order of the kernels
//   P.scales             F16 or BF16 [N, G]
//   P.qzeros or P.zeros  I8 [G, N b / 8]   "quantized": along N, lowest bits first, never reordered; w = (q - zero) s
//                        float [N, G]      "original": w = (q - zero) s, "rescale": w = q s - zero
//                        empty or absent when symmetric
//
// Order of the codes. With F16 scales, which mean float16 activations, code k of every 8 stands in field
//
//   k      0 1 2 3 4 5 6 7
//   field  0 4 1 5 2 6 3 7       (b = 1, 2, 4; the same numbers as in a word of AWQ)
//
// with int8 activations those of 1 and 2 bits are spread over 32-bit words in fields 0 8 4 12 1 9 5 13 ... 15, and
// 0 4 8 12 1 5 9 13 ... 15, of every 16. With BF16 scales, 8 bits, or any other activations, field = k.
//
// What a code means is W_dtype, or else the bits and "sym": a symmetric code is the value plus 2^(b-1).

#include "formats/bitblas.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>

#include "base/error.h"
#include "formats/packing.h"
#include "formats/settings.h"
#include "formats/source.h"

namespace packhorse {

const BitblasActType& bitblas_act_type(const std::string& name, const BitblasWeightType& weights,
                                       const std::string& where) {
  const BitblasActType& type = bitblas_type(kBitblasActTypes, name.empty() ? "float16" : name, where + ".A_dtype");
  if (type.weights[0].empty() || std::ranges::find(type.weights, weights.name) != type.weights.end()) return type;
  std::string allowed;
  for (const std::string_view other : type.weights) {
    if (!other.empty()) allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", other);
  }
  fail_model("{}.A_dtype: BitBLAS has no {} activations for W_dtype {} (those go with {})", where, type.name,
             weights.name, allowed);
}

std::string bitblas_zeros_mode(const Json& config, const std::string& where) {
  const std::string mode = text(config, "zeros_mode", "", where);
  if (!mode.empty() && mode != "original" && mode != "rescale" && mode != "quantized")
    fail_model("{}.zeros_mode: expected original, rescale or quantized (got '{}')", where, printable(mode));
  return mode;
}

namespace {

constexpr uint64_t kSampleBytes = 1 << 16;

// --- one weight ---

constexpr uint8_t kHalfOrder[] = {0, 4, 1, 5, 2, 6, 3, 7};
constexpr uint8_t kByteOrder2[] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
constexpr uint8_t kByteOrder1[] = {0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15};

/// Field of each code; empty = as they come.
std::span<const uint8_t> order_of(int bits, bool half_scales, std::string_view act) {
  if (bits == 8) return {};
  if (act == "int8")
    return bits == 1 ? std::span(kByteOrder1) : bits == 2 ? std::span(kByteOrder2) : std::span<const uint8_t>{};
  const bool is_half = act.empty() || act == "float16" || act == "bfloat16";
  return is_half && half_scales ? std::span(kHalfOrder) : std::span<const uint8_t>{};
}

/// Zero points [G, N b / 8], packed along N.
struct PackedZeros {
  WholeTensor tensor;
  int64_t first;  // byte where the module's part begins
  int64_t row_bytes;
  int bits;

  int at(int64_t group, int64_t row) const {
    const uint8_t byte = tensor.bytes()[first + group * row_bytes + row * bits / 8];
    return byte >> (row * bits % 8) & ((1 << bits) - 1);
  }
};

struct Weight {
  Encoding encoding;
  int64_t k, n_groups;
  RowSource codes;
  std::span<const uint8_t> order;
  uint8_t flip;  // 0x80: bytes are two's complement
  GroupValues scales;
  std::optional<GroupValues> zeros;  // whole numbers, floats, or products with the scale
  std::optional<PackedZeros> packed_zeros;
  std::function<int64_t(int64_t)> source_row;

  void read(int64_t begin, int64_t count, RowBlock& rows) const;
};

void Weight::read(int64_t begin, int64_t count, RowBlock& rows) const {
  rows.resize(encoding, begin, count, k);
  const RowSource::Rows raw = codes.read(begin, count);
  for (int64_t r = 0; r < count; ++r) {
    uint8_t* row = rows.codes.data() + r * k;
    unpack_stream(raw.row(r), encoding.bits, k, row);
    if (!order.empty()) reorder(order, k, row);
    if (flip) std::for_each_n(row, k, [&](uint8_t& code) { code ^= flip; });
  }
  scales.read(begin, count, rows.scale.data());
  if (encoding.min != ScaleType::none) {
    zeros->read(begin, count, rows.min.data());
    for (float& min : rows.min) min = -min;
  } else if (zeros) {
    zeros->read(begin, count, rows.zero.data());
  } else if (packed_zeros) {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t row = source_row ? source_row(begin + r) : begin + r;
      for (int64_t g = 0; g < n_groups; ++g)
        rows.zero[static_cast<size_t>(r * n_groups + g)] = static_cast<float>(packed_zeros->at(g, row));
    }
  }
}

// --- planning ---

/// The tensors of a module, and the one message for shapes of theirs that do not fit.
struct Tensors {
  const CheckpointView& view;
  const Module& module;
  std::string settings = settings_name(view);
  std::string zeros_name = tensor_name(module, view.find(tensor_name(module, "qzeros")) ? "qzeros" : "zeros");
  const TensorInfo& codes = view.at(tensor_name(module, "qweight"));
  const TensorInfo& scales = view.at(tensor_name(module, "scales"));
  const TensorInfo* zeros = view.find(zeros_name);

  const Json& config() const { return view.quantization_config; }
  [[noreturn]] void reject_shapes(std::string_view what) const {
    fail_model("{}: shapes do not fit a matrix [{}, {}] of {} (got qweight {}, scales {}, zeros {}; settings: {})",
               view.describe(tensor_name(module, "qweight")), module.n, module.k, what, shape_text(codes),
               shape_text(scales), zeros ? shape_text(*zeros) : "none", settings);
  }
};

int64_t last_dim(const TensorInfo& tensor) {
  return tensor.shape.empty() ? 1 : static_cast<int64_t>(std::min<uint64_t>(tensor.shape.back(), INT32_MAX));
}

void check_layout(const Tensors& t) {
  const size_t rank = t.module.n_experts ? 3 : 2;
  if (t.codes.shape.size() != rank && t.codes.shape.size() == 4) {
    fail_model("{}: weights in the tiles of BitBLAS's propagated layout cannot be read, only rows (got {})",
               t.view.describe(tensor_name(t.module, "qweight")), shape_text(t.codes));
  }
  if (t.codes.shape.size() != rank) t.reject_shapes("rows of codes");
}

/// Without W_dtype: of this many bits, symmetric or not.
std::string default_type(const Tensors& t, bool symmetric) {
  if (t.codes.dtype == DType::f8_e4m3) return "e4m3_float8";
  if (t.codes.dtype == DType::f8_e5m2) return "e5m2_float8";
  // "dynamic" gives modules bits of their own, so there the tensors tell.
  const bool any_bits = find_member(t.config(), "dynamic") || !find_member(t.config(), "bits");
  const int64_t in_tensor = t.module.k ? last_dim(t.codes) * 8 / t.module.k : 0;
  const int64_t bits = whole_number(t.config(), "bits", 1, 8, 0, t.settings);
  const std::string name = fmt::format("{}int{}", symmetric ? "" : "u", any_bits ? in_tensor : bits);
  if (std::ranges::find(kBitblasWeightTypes, name, &BitblasWeightType::name) != std::end(kBitblasWeightTypes))
    return name;
  if (any_bits) t.reject_shapes("1, 2, 4 or 8 bits");
  fail_model("{}.bits: BitBLAS packs 1, 2, 4 or 8 (got {})", t.settings, bits);
}

/// Groups of a row, checked against the settings.
Grouping grouping_of(const Tensors& t) {
  const int64_t n_groups = last_dim(t.scales), k = t.module.k;
  const Json* key = find_member(t.config(), "group_size");
  const bool whole_rows = key && *key == -1;
  const int64_t size = whole_rows ? k : whole_number(t.config(), "group_size", 1, kBitblasMaxGroup, 0, t.settings);
  const bool fits = size ? n_groups == (k + size - 1) / size : n_groups > 0 && k % n_groups == 0;
  if (!fits) t.reject_shapes(size ? fmt::format("groups of {}", size) : "equal groups");
  if (n_groups == 1) return {GroupKind::row, 0};
  return {GroupKind::along_k, static_cast<uint32_t>(size ? size : k / n_groups)};
}

bool are_whole(const GroupValues& values, int64_t n, int64_t n_groups, float largest) {
  std::vector<float> all(static_cast<size_t>(n * n_groups));
  values.read(0, n, all.data());
  return std::ranges::all_of(all, [&](float z) { return z >= 0 && z <= largest && z == std::floor(z); });
}

/// Adds the zero points in the manner of zeros_mode, or, where it is missing, of what the tensor holds.
void plan_zeros(const Tensors& t, Weight& weight) {
  const std::string& where = t.settings;
  const std::string mode = bitblas_zeros_mode(t.config(), where);
  const bool packed = t.zeros->dtype == DType::i8 || t.zeros->dtype == DType::u8;
  Encoding& encoding = weight.encoding;
  const std::string name = t.view.describe(t.zeros_name);
  if (encoding.element != Element::integer)
    fail_model("{}: zero points of codes that are no integers ({}.W_dtype)", name, where);
  if ((!packed && !is_plain_float(t.zeros->dtype)) || (!mode.empty() && packed != (mode == "quantized"))) {
    fail_model("{}: wrong dtype for zeros_mode '{}' (got {}, expected {})", name, mode.empty() ? "quantized" : mode,
               info(t.zeros->dtype).name, mode == "quantized" || mode.empty() ? "I8" : "F16 or BF16");
  }
  const int64_t n = t.module.n;
  if (packed) {
    const int64_t row_bytes = (n * encoding.bits + 7) / 8, n_groups = weight.n_groups;
    const bool fits = t.module.n_experts ? has_shape(*t.zeros, {t.module.n_experts, n_groups, row_bytes})
                                         : has_shape(*t.zeros, {n_groups, row_bytes});
    if (!fits) t.reject_shapes(fmt::format("{} bits in {} groups", encoding.bits, n_groups));
    encoding.offset = 0;  // zero points say where the middle is
    weight.flip = 0;
    encoding.zero = ScaleType::u8;
    weight.packed_zeros = {WholeTensor(t.view, *t.zeros), t.module.expert * n_groups * row_bytes, row_bytes,
                           encoding.bits};
    return;
  }
  weight.zeros.emplace(t.view, t.module, t.zeros_name, GroupValues::Order::rows, weight.n_groups);
  const ScaleType type = scale_type(t.view, t.zeros_name);
  const auto largest = static_cast<float>((1 << encoding.bits) - 1);
  const bool whole = mode != "rescale" && are_whole(*weight.zeros, n, weight.n_groups, largest);
  if (mode == "rescale" || (mode.empty() && !whole))
    encoding.min = type;
  else
    encoding.zero = whole ? ScaleType::u8 : type;
}

/// Bytes of symmetric 8-bit codes are two's complement or have 128 added, and nothing says which: those of a weight are
/// mostly near zero.
bool are_twos_complement(const Tensors& t) {
  const uint64_t whole = source_bytes(t.codes, t.module);
  std::vector<uint8_t> sample(std::min(whole, kSampleBytes));
  t.view.read(t.codes, static_cast<uint64_t>(t.module.expert) * whole, std::as_writable_bytes(std::span(sample)));
  int64_t as_signed = 0, as_offset = 0;
  for (const uint8_t byte : sample) {
    as_signed += std::abs(static_cast<int>(static_cast<int8_t>(byte)));
    as_offset += std::abs(byte - 128);
  }
  return as_signed < as_offset;
}

Module of_bytes(const Module& module, int64_t row_bytes) {
  Module out = module;
  out.k = row_bytes;
  return out;
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const Tensors t{view, module};
  check_layout(t);
  const std::string& where = t.settings;
  const std::string named = lower(text(t.config(), "W_dtype", "", where)),
                    act = lower(text(t.config(), "A_dtype", "", where));
  const bool has_zeros = !flag(t.config(), "sym", false, where) && t.zeros && t.zeros->n_elements() > 0;
  const BitblasWeightType& type =
      bitblas_type(kBitblasWeightTypes, named.empty() ? default_type(t, !has_zeros) : named, where + ".W_dtype");
  const BitblasActType& act_type = bitblas_act_type(act, type, where);
  if (t.scales.dtype != DType::f16 && t.scales.dtype != DType::bf16) {
    fail_model("{}: wrong dtype (got {}, expected F16 or BF16)", view.describe(tensor_name(module, "scales")),
               info(t.scales.dtype).name);
  }
  Encoding encoding = type.encoding;
  const int64_t n_bits = module.k * encoding.bits;
  if (n_bits % 8 || last_dim(t.codes) != n_bits / 8) t.reject_shapes(fmt::format("{} bits", encoding.bits));
  const auto order = order_of(encoding.bits, t.scales.dtype == DType::f16, act);
  if (!order.empty() && module.k % static_cast<int64_t>(order.size()))
    t.reject_shapes(fmt::format("codes in tuples of {}", order.size()));
  encoding.grouping = grouping_of(t);
  encoding.scale = scale_type(view, tensor_name(module, "scales"));
  encoding.act = act_type.act;
  const int64_t n_groups = last_dim(t.scales);
  const bool signed_bytes = encoding.element == Element::integer && encoding.bits == 8 && !type.is_unsigned &&
                            (!named.empty() || are_twos_complement(t));
  Weight weight{.encoding = encoding,
                .k = module.k,
                .n_groups = n_groups,
                .codes = RowSource(view, of_bytes(module, n_bits / 8), tensor_name(module, "qweight")),
                .order = order,
                .flip = static_cast<uint8_t>(signed_bytes ? 0x80 : 0),
                .scales = GroupValues(view, module, tensor_name(module, "scales"), GroupValues::Order::rows, n_groups),
                .zeros = std::nullopt,
                .packed_zeros = std::nullopt,
                .source_row = module.source_row};
  if (has_zeros) plan_zeros(t, weight);
  const auto shared = std::make_shared<const Weight>(std::move(weight));
  return {.name = view.describe(tensor_name(module, "qweight")),
          .encoding = shared->encoding,
          .n = module.n,
          .k = module.k,
          .source_bytes = source_bytes(t.codes, module) + source_bytes(t.scales, module) +
                          (has_zeros ? source_bytes(*t.zeros, module) : 0),
          .read = [shared](int64_t begin, int64_t count, RowBlock& rows) { shared->read(begin, count, rows); }};
}

bool claims(const CheckpointView& view, const Module& module) {
  const TensorInfo* codes = view.find(tensor_name(module, "qweight"));
  const TensorInfo* scales = view.find(tensor_name(module, "scales"));
  return codes && scales && info(codes->dtype).block_bytes == 1 && is_plain_float(scales->dtype);
}

/// GPTQ's settings, with a mark.
Origin origin(const CheckpointView& view) {
  const Json& config = view.quantization_config;
  if (!config.is_object()) return Origin::other;
  const std::string method = quant_method(view);
  const auto says = [&](const char* key) {
    const Json* value = find_member(config, key);
    return value && (*value == "bitblas" || *value == true);
  };
  const bool marked = says("checkpoint_format") || says("is_bitblas_format") || says("format");
  const bool ours = method == "bitblas" || method == "gptq_bitblas" || (marked && (method.empty() || method == "gptq"));
  return ours ? Origin::quantized : Origin::other;
}

constexpr std::string_view kAliases[] = {"gptq_bitblas"};
constexpr std::string_view kAlso[] = {"gptq"};

}  // namespace

extern constexpr Format kBitblas{.name = "bitblas",
                                 .aliases = kAliases,
                                 .also = kAlso,
                                 .origin = origin,
                                 .claims = claims,
                                 .plan = plan,
                                 .check_in_flight = check_bitblas_in_flight,
                                 .in_flight = bitblas_in_flight,
                                 .settings = kBitblasSettings};

}  // namespace packhorse
