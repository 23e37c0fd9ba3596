#pragma once
// Every encoding that a kernel row takes, for the tests and bench/kernels.cpp: the weights of GGUF's types,
// bitsandbytes, packed integers with and without zero points.

#include <cstdint>
#include <vector>

#include "codec/encoding.h"
#include "codec/tables.h"

namespace packhorse::testing {

struct NamedEncoding {
  const char* name;
  Encoding encoding;
};

inline Encoding grouped(uint8_t bits, int16_t offset, ScaleType min = ScaleType::none) {
  return {.element = Element::integer,
          .bits = bits,
          .offset = offset,
          .grouping = {GroupKind::along_k, 32},
          .scale = ScaleType::f16,
          .min = min};
}
inline Encoding two_level(uint8_t bits, int16_t offset, uint32_t group, ScaleType scale, ScaleType min) {
  return {.element = Element::integer,
          .bits = bits,
          .offset = offset,
          .grouping = {GroupKind::along_k, group},
          .scale = scale,
          .min = min,
          .super_size = 256};
}
inline Encoding table(const CodeTable& codes, Grouping grouping) {
  return {.element = Element::table, .bits = 4, .table = &codes, .grouping = grouping, .scale = ScaleType::f32};
}
/// One level of scales of any kind, over groups of `size` columns, with zero points if `zero`.
inline Encoding affine(uint8_t bits, ScaleType scale, bool zero, uint32_t size) {
  return {.element = Element::integer,
          .bits = bits,
          .offset = static_cast<int16_t>(zero ? bits % 2 : 1 << (bits - 1)),
          .grouping = {size ? GroupKind::along_k : GroupKind::row, size},
          .scale = scale,
          .zero = zero ? ScaleType::u8 : ScaleType::none};
}
inline Encoding row8(float threshold) {
  return {.element = Element::integer,
          .bits = 8,
          .offset = 128,
          .factor = 1.0f / 127,
          .grouping = {GroupKind::row, 0},
          .scale = ScaleType::f32,
          .act = {.code = ActScheme::Code::int8, .product = 6e-5f, .outlier_threshold = threshold}};
}

inline const std::vector<NamedEncoding>& encodings() {
  static const std::vector<NamedEncoding> all = {
      {"f32", {}},
      {"f16", {.element = Element::f16, .bits = 16}},
      {"bf16", {.element = Element::bf16, .bits = 16}},
      {"u4_f16", grouped(4, 8)},
      {"u4_f16_min", grouped(4, 0, ScaleType::f16)},
      {"u5_f16", grouped(5, 16)},
      {"u5_f16_min", grouped(5, 0, ScaleType::f16)},
      {"u8_f16", grouped(8, 128)},
      {"u2_super", two_level(2, 0, 16, ScaleType::u4, ScaleType::u4)},
      {"u3_super", two_level(3, 4, 16, ScaleType::i8, ScaleType::none)},
      {"u4_super", two_level(4, 0, 32, ScaleType::u8, ScaleType::u8)},
      {"u5_super", two_level(5, 0, 32, ScaleType::u8, ScaleType::u8)},
      {"u6_super", two_level(6, 32, 16, ScaleType::i8, ScaleType::none)},
      {"nf4", table(kNf4, {GroupKind::flat, 64})},
      {"fp4_g32", table(kFp4, {GroupKind::along_k, 32})},
      {"nf4_g4096", table(kNf4, {GroupKind::flat, 4096})},
      {"u1_f32", affine(1, ScaleType::f32, false, 64)},
      {"u2_f16_zero", affine(2, ScaleType::f16, true, 32)},
      {"u3_bf16", affine(3, ScaleType::bf16, false, 128)},
      {"u4_bf16", affine(4, ScaleType::bf16, false, 128)},
      {"u4_bf16_zero", affine(4, ScaleType::bf16, true, 64)},
      {"u4_f16_zero", affine(4, ScaleType::f16, true, 128)},
      {"u4_f32_zero_row", affine(4, ScaleType::f32, true, 0)},
      {"u5_bf16_zero", affine(5, ScaleType::bf16, true, 64)},
      {"u6_f32_zero", affine(6, ScaleType::f32, true, 96)},
      {"u7_f16", affine(7, ScaleType::f16, false, 0)},
      {"u8_bf16", affine(8, ScaleType::bf16, false, 128)},
      {"u8_bf16_row", affine(8, ScaleType::bf16, false, 0)},
      {"u8_bf16_zero", affine(8, ScaleType::bf16, true, 128)},
      {"u8_f32_row", affine(8, ScaleType::f32, false, 0)},
      {"int8_row", row8(0)},
      {"int8_row_outliers", row8(2.5f)},
  };
  return all;
}

}  // namespace packhorse::testing
