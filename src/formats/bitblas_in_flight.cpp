// Plain weights that become BitBLAS's while they load, as quantization_config says:
//
//   W_dtype     a type of bitblas.h, or fp4 and fp8 for fp4_e2m1 and e4m3_float8    int4, or by "bits" and "sym"
//   A_dtype     a type of bitblas.h that goes with it                               float16
//   group_size  columns per scale; -1: rows                                         128
//   zeros_mode  original, rescale, quantized; of unsigned integers                  quantized
//   bits, sym   the same as W_dtype for integers; may repeat what it says           4, true
//   desc_act    only false
//
// Scales are float16, as in the files, and codes are the nearest to w / scale with the scale so rounded. With
// m = max |w| of a group, b bits:
//
//   int2, int4, int8     scale = 2 m / (2^b - 1)                           GPTQ's symmetric grid: 2^(b-1) is the middle
//   int1                 scale = mean |w|, the code is the sign            least squares
//   uint                 scale = (max(w, 0) - min(w, 0)) / (2^b - 1), zero = round(-min(w, 0) / scale),
//                        code = round(w / scale) + zero
//   nf4, fp4_e2m1        scale = m                                         the tables reach from -1 to 1
//   e4m3, e5m2_float8    scale = m / 448, m / 57344, but at least 2^-14    smaller float16 numbers lose digits
//
// Halves go to the even number, in tables to the smaller value. Zero points are whole numbers in every zeros_mode, as
// BitBLAS's own conversion of GPTQ weights leaves them; rescale holds float16(zero * scale).

#include <cmath>
#include <memory>
#include <optional>

#include "base/half.h"
#include "codec/nearest.h"
#include "codec/round_codes.h"
#include "formats/bitblas.h"
#include "formats/in_flight.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

struct Settings {
  const BitblasWeightType* type = nullptr;
  const BitblasActType* act = nullptr;
  int64_t group_size = 0;  // 0: rows
  std::string zeros_mode;  // of unsigned integers
};

/// W_dtype, or what bits and sym say in its place.
const BitblasWeightType& weight_type(const Json& config, const std::string& where) {
  const bool has_sym = find_member(config, "sym"), has_bits = find_member(config, "bits");
  const int64_t bits = whole_number(config, "bits", 1, 8, 4, where);
  const bool symmetric = flag(config, "sym", true, where);
  std::string name = lower(text(config, "W_dtype", "", where));
  if (name.empty()) {
    name = fmt::format("{}int{}", symmetric ? "" : "u", bits);
    if (std::ranges::find(kBitblasWeightTypes, name, &BitblasWeightType::name) == std::end(kBitblasWeightTypes))
      fail_model("{}.bits: BitBLAS packs 1, 2, 4 or 8 (got {})", where, bits);
  }
  if (name == "fp4") name = "fp4_e2m1";
  if (name == "fp8") name = "e4m3_float8";
  const BitblasWeightType& type = bitblas_type(kBitblasWeightTypes, name, where + ".W_dtype");
  if (has_bits && bits != type.encoding.bits)
    fail_model("{}.bits: W_dtype {} has {} (got {})", where, type.name, type.encoding.bits, bits);
  if (has_sym && symmetric == type.is_unsigned)
    fail_model("{}.sym: W_dtype {} means {} (got {})", where, type.name, !type.is_unsigned, symmetric);
  return type;
}

Settings parse_settings(const Json& config) {
  const std::string where = "quantization_config";
  require_known_keys(config, "bitblas", kBitblasSettings);
  if (const Json* method = find_member(config, "quant_method"); method && *method == "gptq_bitblas")
    fail(ErrorKind::usage, "quantization 'gptq_bitblas' needs a GPTQ checkpoint; plain weights take 'bitblas'");
  if (flag(config, "desc_act", false, where))
    fail(ErrorKind::usage, "{}.desc_act: plain weights are rounded in the order of their columns (got true)", where);
  Settings settings;
  settings.type = &weight_type(config, where);
  settings.act = &bitblas_act_type(lower(text(config, "A_dtype", "", where)), *settings.type, where);
  const Json* group = find_member(config, "group_size");
  settings.group_size = group && *group == -1 ? 0 : whole_number(config, "group_size", 1, kBitblasMaxGroup, 128, where);
  settings.zeros_mode = bitblas_zeros_mode(config, where);
  if (!settings.zeros_mode.empty() && !settings.type->is_unsigned) {
    fail(ErrorKind::usage, "{}.zeros_mode: W_dtype {} has no zero points, only uint1, uint2, uint4 and uint8 do", where,
         settings.type->name);
  }
  if (settings.type->is_unsigned && settings.zeros_mode.empty()) settings.zeros_mode = "quantized";
  return settings;
}

Encoding encoding_of(const Settings& settings, int64_t k) {
  Encoding encoding = settings.type->encoding;
  const bool by_row = settings.group_size == 0 || settings.group_size >= k;
  encoding.grouping =
      by_row ? Grouping{GroupKind::row, 0} : Grouping{GroupKind::along_k, static_cast<uint32_t>(settings.group_size)};
  encoding.scale = ScaleType::f16;
  encoding.act = settings.act->act;
  if (settings.zeros_mode == "rescale")
    encoding.min = ScaleType::f16;
  else if (settings.type->is_unsigned)
    encoding.zero = ScaleType::u8;
  return encoding;
}

/// Encodes one group at a time.
class Encoder {
 public:
  Encoder(const Encoding& encoding, bool is_unsigned, std::string name)
      : encoding_(encoding), is_unsigned_(is_unsigned), name_(std::move(name)) {
    if (encoding.element == Element::table) nearest_.emplace(*encoding.table, encoding.bits);
  }

  void encode_row(std::span<const float> values, int64_t n, RowBlock& rows, int64_t r) const {
    require_finite(values, name_, n);
    for (int64_t g = 0; g < rows.n_groups; ++g) {
      const int64_t begin = g * rows.group_k, count = std::min(rows.group_k, rows.k - begin);
      const std::span group = values.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
      const auto at = static_cast<size_t>(r * rows.n_groups + g);
      const ValueRange range = range_with_zero(group);
      const float scale = rows.scale[at] = half(scale_of(group, range), n, g);
      const int zero = is_unsigned_ && scale > 0 ? nearest_whole(-range.low / scale, 0, largest_code()) : 0;
      if (encoding_.zero != ScaleType::none) rows.zero[at] = static_cast<float>(zero);
      if (encoding_.min != ScaleType::none) rows.min[at] = -half(static_cast<float>(zero) * scale, n, g);
      round_group(group, scale, zero, rows.codes.data() + r * rows.k + begin);
    }
  }

 private:
  int largest_code() const { return (1 << encoding_.bits) - 1; }

  float scale_of(std::span<const float> group, ValueRange range) const {
    const float largest = std::max(-range.low, range.high);
    if (encoding_.element == Element::integer)
      return (is_unsigned_ ? range.high - range.low : 2 * largest) / static_cast<float>(largest_code());
    if (encoding_.element == Element::minifloat) return std::max(largest / largest_float8(encoding_), 0x1p-14f);
    if (encoding_.bits > 1) return largest;
    double sum = 0;
    for (const float value : group) sum += std::fabs(static_cast<double>(value));
    return static_cast<float>(sum / static_cast<double>(group.size()));
  }

  float half(float value, int64_t n, int64_t g) const {
    const float rounded = f16_to_f32(f32_to_f16(value));
    if (!std::isfinite(rounded))
      fail_model("{}: row {}, group {}: the scale does not fit float16 (got {})", name_, n, g, value);
    return rounded;
  }

  void round_group(std::span<const float> group, float scale, int zero, uint8_t* out) const {
    if (encoding_.element == Element::integer) {
      const int middle = encoding_.offset + zero;
      return round_to_whole(group, scale, -middle, largest_code() - middle, middle, out);
    }
    if (encoding_.element == Element::minifloat) return round_to_float8(encoding_, group, scale, out);
    for (const float value : group) *out++ = (*nearest_)(scale > 0 ? value / scale : 0);
  }

  Encoding encoding_;
  bool is_unsigned_;
  std::string name_;
  std::optional<NearestEntry> nearest_;
};

}  // namespace

std::string check_bitblas_in_flight(const Json& config) {
  const Settings settings = parse_settings(config);
  return fmt::format("W_dtype {}, A_dtype {}, group_size {}{}", settings.type->name, settings.act->name,
                     settings.group_size ? settings.group_size : -1,
                     settings.type->is_unsigned ? ", zeros_mode " + settings.zeros_mode : "");
}

WeightPlan bitblas_in_flight(WeightPlan plan, const Module&, const Json& config) {
  const Settings settings = parse_settings(config);
  const Encoding encoding = encoding_of(settings, plan.k);
  const auto encoder = std::make_shared<const Encoder>(encoding, settings.type->is_unsigned, plan.name);
  return encode_rows(std::move(plan), encoding,
                     [encoder](std::span<const float> values, int64_t n, RowBlock& rows, int64_t r) {
                       encoder->encode_row(values, n, rows, r);
                     });
}

}  // namespace packhorse
