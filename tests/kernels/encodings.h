#pragma once
// Every encoding that a kernel row takes, for the tests and bench/kernels.cpp: the weights of GGUF's types,
// bitsandbytes, packed integers with and without zero points.

#include <cstdint>
#include <vector>

#include "codec/encoding.h"
#include "codec/grids.h"
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
inline Encoding with_zero(Encoding e, ScaleType zero) {
  e.zero = zero;
  return e;
}
inline Encoding with_min(Encoding e, ScaleType min) {
  e.min = min;
  return e;
}
inline Encoding with_outer(Encoding e, Outer outer) {
  e.outer = outer;
  return e;
}
inline Encoding with_factor(Encoding e, float factor) {
  e.factor = factor;
  return e;
}
/// A minifloat or a table with scales of any type over groups of `size` columns, 0 = rows.
inline Encoding scaled(Encoding e, ScaleType scale, uint32_t size) {
  e.grouping = {size ? GroupKind::along_k : GroupKind::row, size};
  e.scale = scale;
  return e;
}
inline Encoding grid(const CodeGrid& codes, uint32_t group, float factor) {
  return {.element = Element::grid,
          .bits = 16,
          .grid = &codes,
          .factor = factor,
          .grouping = {GroupKind::along_k, group},
          .scale = ScaleType::u8,
          .super_size = 256};
}
inline Encoding row8(float threshold) {
  return {.element = Element::integer,
          .bits = 8,
          .offset = 128,
          .factor = 1.0f / 127,
          .grouping = {GroupKind::row, 0},
          .scale = ScaleType::f32,
          .act = {.code = ActScheme::Code::llm_int8, .product = 6e-5f, .outlier_threshold = threshold}};
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
      {"u4_f16_g16_zero", affine(4, ScaleType::f16, true, 16)},
      {"u4_f32_g48", affine(4, ScaleType::f32, false, 48)},
      {"u4_f16_float_zero", with_zero(affine(4, ScaleType::f16, true, 64), ScaleType::f16)},
      {"u3_bf16_float_zero_row", with_zero(affine(3, ScaleType::bf16, true, 0), ScaleType::f32)},
      {"u4_bf16_min", with_min(affine(4, ScaleType::bf16, false, 64), ScaleType::bf16)},
      {"u8_f32_outer", with_outer(affine(8, ScaleType::f32, false, 64), Outer::multiply)},
      {"u8_f32_factor", with_factor(affine(8, ScaleType::f32, false, 0), 1.0f / 127)},
      {"e4m3_row", scaled(kE4M3, ScaleType::f32, 0)},
      {"e4m3_g128", scaled(kE4M3, ScaleType::f32, 128)},
      {"e4m3_e8m0", scaled(kE4M3, ScaleType::e8m0, 32)},
      {"e5m2_row", scaled(kE5M2, ScaleType::bf16, 0)},
      {"e2m3_e8m0", scaled(kE2M3, ScaleType::e8m0, 32)},
      {"e3m2_flat",
       {.element = Element::minifloat,
        .bits = 6,
        .mantissa = 2,
        .bias = 3,
        .grouping = {GroupKind::flat, 128},
        .scale = ScaleType::f32}},
      {"e7m4_flat",
       {.element = Element::minifloat,
        .bits = 12,
        .mantissa = 4,
        .bias = 63,
        .grouping = {GroupKind::flat, 128},
        .scale = ScaleType::f32}},
      {"e2m1_minifloat",
       {.element = Element::minifloat,
        .bits = 4,
        .mantissa = 1,
        .bias = 1,
        .grouping = {GroupKind::flat, 128},
        .scale = ScaleType::f32}},
      {"e2m1_e8m0", scaled(table(kE2M1, {}), ScaleType::e8m0, 32)},
      {"e2m1_e4m3_times", with_outer(scaled(table(kE2M1, {}), ScaleType::e4m3, 16), Outer::multiply)},
      {"e2m1_e4m3_over", with_outer(scaled(table(kE2M1, {}), ScaleType::e4m3, 16), Outer::divide)},
      {"iq4_nl", scaled(table(kIq4Nl, {}), ScaleType::f16, 32)},
      {"iq4_xs",
       {.element = Element::table,
        .bits = 4,
        .table = &kIq4Nl,
        .grouping = {GroupKind::along_k, 32},
        .scale = ScaleType::i8,
        .super_size = 256}},
      {"sign",
       {.element = Element::table,
        .bits = 1,
        .table = &kSign,
        .grouping = {GroupKind::along_k, 128},
        .scale = ScaleType::f16}},
      {"iq2_xxs", grid(kIq2Xxs, 32, 0.125f)},
      {"iq2_xs", grid(kIq2Xs, 16, 0.125f)},
      {"iq2_s", grid(kIq2S, 16, 0.125f)},
      {"iq3_xxs", grid(kIq3Xxs, 32, 0.25f)},
      {"iq3_s", grid(kIq3S, 32, 1)},
      {"iq1_s", grid(kIq1, 32, 0.125f)},
      {"iq1_m", grid(kIq1, 16, 0.125f)},
      {"int8_row", row8(0)},
      {"int8_row_outliers", row8(2.5f)},
  };
  return all;
}

}  // namespace packhorse::testing
