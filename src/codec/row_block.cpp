#include "codec/row_block.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "base/half.h"

namespace packhorse {

int64_t group_along_row(const Grouping& grouping, int64_t k) {
  switch (grouping.kind) {
    case GroupKind::none:
      return 0;
    case GroupKind::row:
      return k;
    case GroupKind::along_k:
      return grouping.size;
    case GroupKind::flat:
      return std::gcd(k, static_cast<int64_t>(grouping.size));
  }
  return 0;
}

void RowBlock::resize(const Encoding& encoding, int64_t begin, int64_t rows, int64_t columns) {
  row_begin = begin;
  n_rows = rows;
  k = columns;
  group_k = group_along_row(encoding.grouping, k);
  n_groups = group_k ? (k + group_k - 1) / group_k : 0;
  n_supers = encoding.super_size ? k / encoding.super_size : 0;
  codes.resize(static_cast<size_t>(n_rows * k * element_bytes(encoding.element)));
  scale.resize(static_cast<size_t>(n_rows * n_groups));
  min.resize(encoding.min == ScaleType::none ? 0 : scale.size());
  zero.resize(encoding.zero == ScaleType::none ? 0 : scale.size());
  super_scale.resize(static_cast<size_t>(n_rows * n_supers));
  super_min.resize(encoding.min == ScaleType::none ? 0 : super_scale.size());
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
  }
  return "none";
}

int type_bits(ScaleType type) {
  switch (type) {
    case ScaleType::none:
      break;
    case ScaleType::f32:
      return 32;
    case ScaleType::f16:
    case ScaleType::bf16:
      return 16;
    case ScaleType::u8:
    case ScaleType::i8:
      return 8;
    case ScaleType::u4:
      return 4;
  }
  return 0;
}

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

void decode_row(const Encoding& encoding, const RowBlock& rows, int64_t r, float* out) {
  const int64_t k = rows.k;
  const uint8_t* codes = rows.codes.data() + r * k * element_bytes(encoding.element);
  if (is_float(encoding.element)) {
    if (encoding.element == Element::f32) {
      std::memcpy(out, codes, static_cast<size_t>(k) * 4);
      return;
    }
    const bool f16 = encoding.element == Element::f16;
    for (int64_t i = 0; i < k; ++i) {
      uint16_t bits;
      std::memcpy(&bits, codes + 2 * i, 2);
      out[i] = f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
    }
    return;
  }
  for (int64_t g = 0; g < rows.n_groups; ++g) {
    const float scale = group_scale(encoding, rows, r, g);
    const float min = group_min(encoding, rows, r, g), zero = group_zero(encoding, rows, r, g);
    const int64_t end = std::min(k, (g + 1) * rows.group_k);
    for (int64_t i = g * rows.group_k; i < end; ++i) {
      if (encoding.element == Element::table)
        out[i] = encoding.table->values[codes[i] & 15] * scale;
      else if (encoding.min == ScaleType::none)
        out[i] = (static_cast<float>(codes[i] - encoding.offset) - zero) * scale * encoding.factor;
      else
        out[i] = std::fma(static_cast<float>(codes[i] - encoding.offset), scale, min);
    }
  }
}

std::string describe(const Encoding& encoding) {
  if (encoding.element == Element::f32) return "f32";
  if (encoding.element == Element::f16) return "f16";
  if (encoding.element == Element::bf16) return "bf16";
  std::string out =
      encoding.element == Element::table ? std::string(encoding.table->name) : fmt::format("int{}", encoding.bits);
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
  if (encoding.act.code == ActScheme::Code::int8) out += ", int8 activations per token";
  return out;
}

double bits_per_weight(const Encoding& encoding, int64_t k) {
  double bits = encoding.bits;
  const int64_t group = group_along_row(encoding.grouping, k);
  const int group_bits = type_bits(encoding.scale) + type_bits(encoding.min) + type_bits(encoding.zero);
  if (group) bits += static_cast<double>(group_bits) / static_cast<double>(group);
  if (encoding.super_size) bits += (encoding.min == ScaleType::none ? 16.0 : 32.0) / encoding.super_size;
  return bits;
}

}  // namespace packhorse
