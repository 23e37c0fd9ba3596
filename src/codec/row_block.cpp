#include "codec/row_block.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "codec/widen.h"

namespace packhorse {

int64_t code_bytes(const Encoding& encoding, int64_t k) {
  if (encoding.element == Element::grid) return k / encoding.grid->width * kGridEntryBytes;
  if (encoding.element == Element::minifloat) return encoding.bits > 8 ? 2 * k : k;
  return k * element_bytes(encoding.element);
}

void RowBlock::resize(const Encoding& encoding, int64_t begin, int64_t rows, int64_t columns) {
  row_begin = begin;
  n_rows = rows;
  k = columns;
  group_k = group_along_row(encoding.grouping, k);
  n_groups = group_k ? (k + group_k - 1) / group_k : 0;
  n_supers = encoding.super_size ? k / encoding.super_size : 0;
  codes.resize(static_cast<size_t>(n_rows * code_bytes(encoding, k)));
  scale.resize(static_cast<size_t>(n_rows * n_groups));
  min.resize(encoding.min == ScaleType::none ? 0 : scale.size());
  zero.resize(encoding.zero == ScaleType::none ? 0 : scale.size());
  super_scale.resize(static_cast<size_t>(n_rows * n_supers));
  super_min.resize(encoding.min == ScaleType::none ? 0 : super_scale.size());
  outer.resize(encoding.outer == Outer::none ? 0 : static_cast<size_t>(n_rows));
}

namespace {

float two_level(const Encoding& encoding, const RowBlock& rows, const std::vector<float>& sub,
                const std::vector<float>& super, int64_t r, int64_t g) {
  const float value = sub[static_cast<size_t>(r * rows.n_groups + g)];
  if (encoding.super_size == 0) return value;
  return super[static_cast<size_t>(r * rows.n_supers + g * rows.group_k / encoding.super_size)] * value;
}

const char* type_name(ScaleType type) {
  switch (type) {
    case ScaleType::none:
      break;
    case ScaleType::f32:
      return "f32";
    case ScaleType::f16:
      return "f16";
    case ScaleType::bf16:
      return "bf16";
    case ScaleType::u8:
      return "u8";
    case ScaleType::i8:
      return "i8";
    case ScaleType::u4:
      return "u4";
    case ScaleType::e8m0:
      return "e8m0";
    case ScaleType::e4m3:
      return "e4m3";
  }
  return "none";
}

int type_bits(ScaleType type) { return type == ScaleType::u4 ? 4 : 8 * scale_bytes(type); }

}  // namespace

float group_scale(const Encoding& encoding, const RowBlock& rows, int64_t r, int64_t g) {
  return two_level(encoding, rows, rows.scale, rows.super_scale, r, g);
}

float group_min(const Encoding& encoding, const RowBlock& rows, int64_t r, int64_t g) {
  return encoding.min == ScaleType::none ? 0.0f : two_level(encoding, rows, rows.min, rows.super_min, r, g);
}

float group_zero(const Encoding& encoding, const RowBlock& rows, int64_t r, int64_t g) {
  return encoding.zero == ScaleType::none ? 0.0f : rows.zero[static_cast<size_t>(r * rows.n_groups + g)];
}

float minifloat_value(const Encoding& encoding, int code) {
  const int exponent_bits = encoding.bits - 1 - encoding.mantissa, steps = 1 << encoding.mantissa;
  const int exponent = code >> encoding.mantissa & ((1 << exponent_bits) - 1), mantissa = code & (steps - 1);
  const float magnitude =
      exponent == 0 ? std::ldexp(static_cast<float>(mantissa), 1 - encoding.bias - encoding.mantissa)
                    : std::ldexp(static_cast<float>(steps + mantissa), exponent - encoding.bias - encoding.mantissa);
  return code >> (encoding.bits - 1) & 1 ? -magnitude : magnitude;
}

namespace {

void widen_codes(const Encoding& encoding, const uint8_t* codes, int64_t k, float* out) {
  switch (encoding.element) {
    case Element::integer:
      for (int64_t i = 0; i < k; ++i) out[i] = static_cast<float>(codes[i] - encoding.offset);
      return;
    case Element::table:
      for (int64_t i = 0; i < k; ++i) out[i] = encoding.table->values[codes[i] & 15];
      return;
    case Element::minifloat:
      for (int64_t i = 0; i < k; ++i) out[i] = minifloat_value(encoding, wide_code(encoding, codes, i));
      return;
    case Element::grid:
      for (int64_t i = 0; i < k; ++i) out[i] = static_cast<float>(grid_value(*encoding.grid, codes, i));
      return;
    default:
      widen(encoding.element, codes, k, out);
  }
}

}  // namespace

int wide_code(const Encoding& encoding, const uint8_t* codes, int64_t i) {
  return encoding.bits > 8 ? codes[2 * i] | codes[2 * i + 1] << 8 : codes[i];
}

int grid_value(const CodeGrid& grid, const uint8_t* codes, int64_t i) {
  const uint8_t* entry = codes + i / grid.width * kGridEntryBytes;
  const int64_t at = i % grid.width, index = entry[0] | entry[1] << 8;
  const int value = grid.values[index * grid.width + at];
  return entry[2] >> at & 1 ? -value : value;
}

void decode_row(const Encoding& encoding, const RowBlock& rows, int64_t r, float* out) {
  const int64_t k = rows.k;
  widen_codes(encoding, rows.codes.data() + r * code_bytes(encoding, k), k, out);
  for (int64_t g = 0; g < rows.n_groups; ++g) {
    const float scale = group_scale(encoding, rows, r, g);
    const float min = group_min(encoding, rows, r, g), zero = group_zero(encoding, rows, r, g);
    const int64_t end = std::min(k, (g + 1) * rows.group_k);
    for (int64_t i = g * rows.group_k; i < end; ++i) {
      out[i] =
          encoding.min == ScaleType::none ? (out[i] - zero) * scale * encoding.factor : std::fma(out[i], scale, min);
    }
  }
  if (encoding.outer == Outer::none) return;
  const float outer = rows.outer[static_cast<size_t>(r)];
  for (int64_t i = 0; i < k; ++i) out[i] = encoding.outer == Outer::multiply ? out[i] * outer : out[i] / outer;
}

namespace {

std::string element_name(const Encoding& encoding) {
  switch (encoding.element) {
    case Element::table:
      return encoding.table->name;
    case Element::grid:
      return encoding.grid->name;
    case Element::minifloat:
      return fmt::format("e{}m{}", encoding.bits - 1 - encoding.mantissa, encoding.mantissa);
    default:
      return fmt::format("int{}", encoding.bits);
  }
}

std::string act_name(const ActScheme& act) {
  static constexpr const char* kNames[] = {"float", "int8", "int8", "fp8", "e2m1", "int4", "e5m2"};  // by Code
  const char* code = kNames[static_cast<size_t>(act.code)];
  if (act.scale == ActScheme::Scale::fixed) return fmt::format("static {}", code);
  return act.group ? fmt::format("{} in groups of {}", code, act.group) : fmt::format("{} per token", code);
}

}  // namespace

std::string describe(const Encoding& encoding) {
  if (encoding.element == Element::f32) return "f32";
  if (encoding.element == Element::f16) return "f16";
  if (encoding.element == Element::bf16) return "bf16";
  std::string out = element_name(encoding);
  switch (encoding.grouping.kind) {
    case GroupKind::none:
      break;
    case GroupKind::row:
      out += ", per row";
      break;
    case GroupKind::along_k:
      out += fmt::format(", groups of {}", encoding.grouping.size);
      break;
    case GroupKind::flat:
      out += fmt::format(", flat groups of {}", encoding.grouping.size);
      break;
  }
  out += fmt::format(", {} scale", type_name(encoding.scale));
  if (encoding.min != ScaleType::none) out += fmt::format(" and {} min", type_name(encoding.min));
  if (encoding.zero != ScaleType::none) out += fmt::format(" and {} zero point", type_name(encoding.zero));
  if (encoding.super_size) out += fmt::format(" times f16 per {}", encoding.super_size);
  if (encoding.outer != Outer::none) out += " times f32 per row";
  if (encoding.act.code != ActScheme::Code::none) out += fmt::format(", {} activations", act_name(encoding.act));
  return out;
}

double bits_per_weight(const Encoding& encoding, int64_t k) {
  double bits = encoding.bits;
  if (encoding.element == Element::grid) {
    const CodeGrid& grid = *encoding.grid;
    bits = static_cast<double>(grid.index_bits + (grid.has_signs ? grid.width : 0)) / grid.width;
  }
  const int64_t group = group_along_row(encoding.grouping, k);
  const int group_bits = type_bits(encoding.scale) + type_bits(encoding.min) + type_bits(encoding.zero);
  if (group) bits += static_cast<double>(group_bits * ((k + group - 1) / group)) / static_cast<double>(k);
  if (encoding.outer != Outer::none) bits += 32.0 / static_cast<double>(k);
  if (encoding.super_size) bits += (encoding.min == ScaleType::none ? 16.0 : 32.0) / encoding.super_size;
  return bits;
}

}  // namespace packhorse
