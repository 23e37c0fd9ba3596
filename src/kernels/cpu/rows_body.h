#pragma once
// The rows of one instruction set: which encodings the bodies are instantiated for.

#include "kernels/cpu/attention_body.h"
#include "kernels/cpu/elementwise_body.h"
#include "kernels/cpu/exact_body.h"
#include "kernels/cpu/matmul_body.h"
#include "kernels/cpu/panel.h"
#include "kernels/cpu/round_act_body.h"
#include "kernels/op.h"

namespace packhorse {
namespace {

/// What a matmul row takes; compared with a problem's encoding field by field.
struct Shape {
  Element element;
  int bits;
  ScaleType scale = ScaleType::none, min = ScaleType::none, zero = ScaleType::none;
  int sub_size = 0;  // columns per sub scale; 0 = one level
};

template <Shape Want>
const char* why_not_shape(const Problem& p) {
  const Encoding& e = p.weight;
  if (e.element != Want.element) return "another kind of element";
  if (!is_float(Want.element) && e.bits != Want.bits) return "another code width";
  if (e.outer != Outer::none) return "an outer scale";
  if (e.scale != Want.scale || e.min != Want.min || e.zero != Want.zero) return "another scale type";
  if ((e.super_size != 0) != (Want.sub_size != 0)) return "another number of scale levels";
  if (Want.sub_size && (e.super_size != 256 || e.grouping.size != Want.sub_size)) return "another group size";
  return nullptr;
}

constexpr bool whole_blocks(const Problem& p) {
  return group_along_row(p.weight.grouping, p.k) % kBlockK == 0 || group_along_row(p.weight.grouping, p.k) >= p.k;
}

constexpr bool is_one_level_scale(ScaleType type) {
  return type == ScaleType::f32 || type == ScaleType::f16 || type == ScaleType::bf16 || type == ScaleType::e8m0 ||
         type == ScaleType::e4m3;
}
/// Values that no integer dot product can take off: they become mins there.
constexpr bool has_float_offset(const Encoding& e) {
  return e.min != ScaleType::none || (e.zero != ScaleType::none && e.zero != ScaleType::u8);
}

/// For rows that take the width, the types and the group size at run time.
constexpr const char* why_not_any(const Problem& p) {
  const Encoding& e = p.weight;
  if (is_float(e.element)) return "another kind of element";
  if (e.element == Element::grid) return "a grid";
  if (e.super_size != 0) return "another number of scale levels";
  if (!is_one_level_scale(e.scale)) return "another scale type";
  if (e.min != ScaleType::none && (e.factor != 1.0f || e.outer != Outer::none)) return "a min beside other factors";
  return nullptr;
}
/// What all int8 rows ask for beside the encoding. Activations that the format itself quantizes were rounded before.
const char* why_not_int8_act(const Problem& p) {
  if (!p.fast) return "float activations are asked for";
  return p.weight.act.code == ActScheme::Code::llm_int8 ? "the format quantizes activations itself" : nullptr;
}
const char* why_not_int8_blocks(const Problem& p) {
  if (const char* reason = why_not_int8_act(p)) return reason;
  if (p.weight.super_size == 0 && !whole_blocks(p)) return "groups that are not whole blocks of 32";
  return p.weight.factor == 1.0f && p.weight.outer == Outer::none ? nullptr : "a constant factor";
}
template <Shape Want>
const char* why_not_int8(const Problem& p) {
  if (const char* reason = why_not_shape<Want>(p)) return reason;
  return why_not_int8_blocks(p);
}
template <Element Want, int Bits, int PerBlock, bool Min>
const char* why_not_any_int8(const Problem& p) {
  if (const char* reason = why_not_any(p)) return reason;
  if (p.weight.element != Want) return "another kind of element";
  if (Bits != 0 && p.weight.bits != Bits) return "another code width";
  if (has_float_offset(p.weight) && !Min) return "a min";
  if (PerBlock == 1 && !whole_blocks(p)) return "groups that are not whole blocks of 32";
  if (PerBlock == 2 && group_along_row(p.weight.grouping, p.k) % 16 != 0) return "groups that are not multiples of 16";
  return why_not_int8_act(p);
}
template <int Bits>
const char* why_not_minifloat(const Problem& p) {
  if (const char* reason = why_not_any(p)) return reason;
  if (p.weight.element != Element::minifloat) return "another kind of element";
  if (p.weight.bits != Bits) return "another code width";
  if (p.weight.min != ScaleType::none || p.weight.zero != ScaleType::none) return "zero points";
  if (p.weight.factor != 1.0f || p.weight.outer != Outer::none) return "a constant factor";
  return whole_blocks(p) ? nullptr : "groups that are not whole blocks of 32";
}
template <int SubSize>
const char* why_not_grid(const Problem& p) {
  const Encoding& e = p.weight;
  if (e.element != Element::grid) return "another kind of element";
  if (e.scale != ScaleType::u8 || e.super_size != 256 || e.grouping.size != SubSize) return "another group size";
  return nullptr;
}
template <int SubSize>
const char* why_not_int8_grid(const Problem& p) {
  if (const char* reason = why_not_grid<SubSize>(p)) return reason;
  return why_not_int8_act(p);
}
const char* why_not_int8_token(const Problem& p) {
  if (!p.fast) return "float activations are asked for";
  if (p.weight.act.code != ActScheme::Code::llm_int8) return "the format does not quantize activations per token";
  if (p.weight.grouping.kind != GroupKind::row) return "scales within a row";
  return why_not_shape<Shape{Element::integer, 8, ScaleType::f32}>(p);
}
template <Shape Want>
const char* why_not_exact(const Problem& p) {
  if (const char* reason = why_not_shape<Want>(p)) return reason;
  return is_float(Want.element) || Want.sub_size || whole_blocks(p) ? nullptr
                                                                    : "groups that are not whole blocks of 32";
}
template <class S>
const char* why_not_attention(const Problem& p) {
  return p.head_dim % S::kLanes == 0 ? nullptr : "a head size that does not fill vectors";
}
const char* always(const Problem&) { return nullptr; }

template <class S, class Codes, class Scales, Shape Want>
constexpr Kernel int8_row(const char* name) {
  return {.op = Op::matmul,
          .name = name,
          .cost = 10,
          .why_not = why_not_int8<Want>,
          .run = {.matmul = matmul_int8<S, Codes, Scales>},
          .act = ActForm::int8_block,
          .layout = panel_layout,
          .pack = pack_panel};
}
template <class S, class Block, Shape Want>
constexpr Kernel exact_row(const char* name) {
  return {.op = Op::matmul,
          .name = name,
          .cost = 20,
          .why_not = why_not_exact<Want>,
          .run = {.matmul = matmul_exact<S, Block>},
          .act = ActForm::f32,
          .layout = panel_layout,
          .pack = pack_panel,
          .decode_row = decode_row<S, Block>};
}
/// The row with another reason.
constexpr Kernel when(Kernel row, const char* (*why_not)(const Problem&)) {
  row.why_not = why_not;
  return row;
}
/// A row that takes more costs more.
constexpr Kernel any_row(Kernel row, const char* (*why_not)(const Problem&)) {
  row.cost += 5;
  return when(row, why_not);
}
template <class S, class Codes, Element Want, int Bits, int PerBlock, bool Min>
constexpr Kernel any_int8(const char* name) {
  Kernel row = any_row(int8_row<S, Codes, AnyScales<S, PerBlock, Min>, Shape{}>(name),
                       why_not_any_int8<Want, Bits, PerBlock, Min>);
  row.cost += PerBlock - 1 + (Min ? 1 : 0);
  return row;
}
template <class S, int SubSize>
using GridScales = SuperScales<S, ScaleType::u8, SubSize, false>;

/// Both arithmetics of an encoding with integer codes.
template <class S, class Scales, Shape Want>
constexpr Kernel integer_int8(const char* name) {
  return int8_row<S, IntegerCodes<S, Want.bits>, Scales, Want>(name);
}
template <class S, class Scales, Shape Want>
constexpr Kernel integer_exact(const char* name) {
  return exact_row<S, CodedBlock<S, Want.bits, false, Scales>, Want>(name);
}

constexpr Shape grouped(int bits, ScaleType scale, ScaleType min = ScaleType::none, ScaleType zero = ScaleType::none) {
  return {Element::integer, bits, scale, min, zero};
}
constexpr Shape two_level(int bits, ScaleType scale, ScaleType min, int sub_size) {
  return {Element::integer, bits, scale, min, ScaleType::none, sub_size};
}
constexpr Shape kTable{Element::table, 4, ScaleType::f32};
constexpr Shape kTable2{Element::table, 4, ScaleType::i8, ScaleType::none, ScaleType::none, 32};
constexpr Shape kRow8{Element::integer, 8, ScaleType::f32};

template <class S>
using F16 = GroupScales<S, ScaleType::f16, false>;
template <class S>
using F16Min = GroupScales<S, ScaleType::f16, true>;
template <class S>
using F16Zero = GroupScales<S, ScaleType::f16, false, true>;
template <class S>
using Bf16 = GroupScales<S, ScaleType::bf16, false>;
template <class S>
using Bf16Zero = GroupScales<S, ScaleType::bf16, false, true>;
template <class S>
using F32 = GroupScales<S, ScaleType::f32, false>;

constexpr ScaleType kF16 = ScaleType::f16, kBf16 = ScaleType::bf16, kNone = ScaleType::none, kU8 = ScaleType::u8,
                    kI8 = ScaleType::i8, kU4 = ScaleType::u4;

/// All rows over vector type S. The common encodings have an int8 row and an exact row of their own, the "any" rows
/// take the others.
template <class S>
constexpr Kernel kRowsOf[] = {
    integer_int8<S, F16<S>, grouped(4, kF16)>("int8.u4.f16"),
    integer_int8<S, F16Min<S>, grouped(4, kF16, kF16)>("int8.u4.f16+min"),
    integer_int8<S, F16<S>, grouped(5, kF16)>("int8.u5.f16"),
    integer_int8<S, F16Min<S>, grouped(5, kF16, kF16)>("int8.u5.f16+min"),
    integer_int8<S, F16<S>, grouped(8, kF16)>("int8.u8.f16"),
    integer_int8<S, SuperScales<S, kU4, 16, true>, two_level(2, kU4, kU4, 16)>("int8.u2.u4+min"),
    integer_int8<S, SuperScales<S, kI8, 16, false>, two_level(3, kI8, kNone, 16)>("int8.u3.i8"),
    integer_int8<S, SuperScales<S, kU8, 32, true>, two_level(4, kU8, kU8, 32)>("int8.u4.u8+min"),
    integer_int8<S, SuperScales<S, kU8, 32, true>, two_level(5, kU8, kU8, 32)>("int8.u5.u8+min"),
    integer_int8<S, SuperScales<S, kI8, 16, false>, two_level(6, kI8, kNone, 16)>("int8.u6.i8"),
    integer_int8<S, F16Zero<S>, grouped(4, kF16, kNone, kU8)>("int8.u4.f16+zero"),
    integer_int8<S, Bf16<S>, grouped(4, kBf16)>("int8.u4.bf16"),
    integer_int8<S, Bf16Zero<S>, grouped(4, kBf16, kNone, kU8)>("int8.u4.bf16+zero"),
    integer_int8<S, Bf16<S>, grouped(8, kBf16)>("int8.u8.bf16"),
    int8_row<S, TableCodes<S, 4>, F32<S>, kTable>("int8.table4.f32"),
    int8_row<S, TableCodes<S, 4>, SuperScales<S, kI8, 32, false>, kTable2>("int8.table4.i8"),
    when(int8_row<S, GridCodes<S>, GridScales<S, 16>, Shape{}>("int8.grid.16"), why_not_int8_grid<16>),
    when(int8_row<S, GridCodes<S>, GridScales<S, 32>, Shape{}>("int8.grid.32"), why_not_int8_grid<32>),
    any_int8<S, AnyIntegerCodes<S>, Element::integer, 0, 1, false>("int8.any"),
    any_int8<S, AnyIntegerCodes<S>, Element::integer, 0, 1, true>("int8.any+min"),
    any_int8<S, AnyIntegerCodes<S>, Element::integer, 0, 2, true>("int8.any.16"),
    any_int8<S, TableCodes<S, 4>, Element::table, 4, 1, false>("int8.table4.any"),
    any_int8<S, TableCodes<S, 1>, Element::table, 1, 1, false>("int8.table1.any"),
    any_int8<S, TableCodes<S, 4>, Element::table, 4, 2, false>("int8.table4.any.16"),
    {.op = Op::matmul,
     .name = "int8.token.u8.f32",
     .cost = 10,
     .why_not = why_not_int8_token,
     .run = {.matmul = matmul_int8_token<S>},
     .act = ActForm::int8_token,
     .layout = panel_layout,
     .pack = pack_panel},

    exact_row<S, FloatBlock<S, Element::f32>, Shape{Element::f32, 32}>("f32.f32"),
    exact_row<S, FloatBlock<S, Element::f16>, Shape{Element::f16, 16}>("f32.f16"),
    exact_row<S, FloatBlock<S, Element::bf16>, Shape{Element::bf16, 16}>("f32.bf16"),
    integer_exact<S, F16<S>, grouped(4, kF16)>("f32.u4.f16"),
    integer_exact<S, F16Min<S>, grouped(4, kF16, kF16)>("f32.u4.f16+min"),
    integer_exact<S, F16<S>, grouped(5, kF16)>("f32.u5.f16"),
    integer_exact<S, F16Min<S>, grouped(5, kF16, kF16)>("f32.u5.f16+min"),
    integer_exact<S, F16<S>, grouped(8, kF16)>("f32.u8.f16"),
    integer_exact<S, SuperScales<S, kU4, 16, true>, two_level(2, kU4, kU4, 16)>("f32.u2.u4+min"),
    integer_exact<S, SuperScales<S, kI8, 16, false>, two_level(3, kI8, kNone, 16)>("f32.u3.i8"),
    integer_exact<S, SuperScales<S, kU8, 32, true>, two_level(4, kU8, kU8, 32)>("f32.u4.u8+min"),
    integer_exact<S, SuperScales<S, kU8, 32, true>, two_level(5, kU8, kU8, 32)>("f32.u5.u8+min"),
    integer_exact<S, SuperScales<S, kI8, 16, false>, two_level(6, kI8, kNone, 16)>("f32.u6.i8"),
    integer_exact<S, F32<S>, kRow8>("f32.u8.f32"),
    exact_row<S, CodedBlock<S, 4, true, F32<S>>, kTable>("f32.table4.f32"),
    exact_row<S, CodedBlock<S, 4, true, SuperScales<S, kI8, 32, false>>, kTable2>("f32.table4.i8"),
    when(exact_row<S, GridBlock<S, GridScales<S, 16>>, Shape{}>("f32.grid.16"), why_not_grid<16>),
    when(exact_row<S, GridBlock<S, GridScales<S, 32>>, Shape{}>("f32.grid.32"), why_not_grid<32>),
    when(exact_row<S, MinifloatBlock<S, 8>, Shape{}>("f32.minifloat8"), why_not_minifloat<8>),
    when(exact_row<S, MinifloatBlock<S, 6>, Shape{}>("f32.minifloat6"), why_not_minifloat<6>),
    when(exact_row<S, MinifloatBlock<S, 4>, Shape{}>("f32.minifloat4"), why_not_minifloat<4>),
    any_row(exact_row<S, AnyBlock<S>, Shape{}>("f32.any"), why_not_any),

    {.op = Op::quantize_act,
     .name = "quantize_act",
     .cost = 10,
     .why_not = always,
     .run = {.quantize_act = quantize_act<S>}},
    {.op = Op::round_act, .name = "round_act", .cost = 10, .why_not = always, .run = {.round_act = round_act<S>}},
    {.op = Op::rms_norm, .name = "rms_norm", .cost = 10, .why_not = always, .run = {.rms_norm = rms_norm<S>}},
    {.op = Op::silu_mul, .name = "silu_mul", .cost = 10, .why_not = always, .run = {.silu_mul = silu_mul<S>}},
    {.op = Op::attention,
     .name = "attention",
     .cost = 10,
     .why_not = why_not_attention<S>,
     .run = {.attention = attention<S>}},
};

}  // namespace
}  // namespace packhorse
