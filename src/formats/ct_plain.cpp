// Weights of a byte per code. For a Linear P of N x K weights:
//
//   "int-quantized"    P.weight I8 [N, K]       and what ct_groups.cpp says; a code of b < 8 bits takes a byte as well
//   "float-quantized"  P.weight F8_E4M3 [N, K]  P.weight_scale: float [1], [N, 1], or [ceil(N / n), ceil(K / k)] of
//   blocks "mxfp8-quantized"  P.weight F8_E4M3 [N, K]  P.weight_scale: U8 [N, ceil(K / 32)], powers of two
//   "naive-quantized"  as the first two
//
// and of floats of fewer bits, packed as a stream along the rows:
//
//   "mxfp4-pack-quantized"  P.weight_packed U8 [N, K / 2]   E2M1  P.weight_scale U8 [N, K / 32]
//   "mxfp6-pack-quantized"  P.weight_packed U8 [N, 3 K / 4] E2M3  P.weight_scale U8 [N, K / 32]
//   "nvfp4-pack-quantized"  P.weight_packed U8 [N, K / 2]   E2M1  P.weight_scale F8_E4M3 [N, K / 16],
//                           P.weight_global_scale F32 [1], which divides

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "formats/coded_rows.h"
#include "formats/ct_act.h"
#include "formats/ct_weights.h"
#include "formats/fp4_weight.h"
#include "formats/fp8_weight.h"

namespace packhorse::ct {
namespace {

void require_float(const Scheme& scheme, int bits) {
  if (!scheme.is_float) fail_model("{}.type: weights in floats are float (got \"int\")", scheme.where);
  if (scheme.bits != bits) fail_model("{}.num_bits: the weights have {} (got {})", scheme.where, bits, scheme.bits);
}

ReadRows reader_of(const CheckpointView& view, const Module& module, const Dense& dense) {
  if (dense.read) return dense.read;
  return [rows = RowSource(view, module, tensor_name(module, dense.part))](int64_t begin, int64_t count, uint8_t* out) {
    rows.read_into(begin, count, out);
  };
}

WeightPlan plan_floats(const CheckpointView& view, const Module& module, const Dense& dense) {
  const Encoding encoding = float_encoding(dense.dtype);
  return {.name = view.describe(tensor_name(module, dense.part)),
          .encoding = encoding,
          .n = module.n,
          .k = module.k,
          .source_bytes = dense.n_bytes,
          .read = [encoding, read = reader_of(view, module, dense), k = module.k](int64_t begin, int64_t count,
                                                                                  RowBlock& rows) {
            rows.resize(encoding, begin, count, k);
            read(begin, count, rows.codes.data());
          }};
}

/// Two's complement of a byte to `bits` wide codes plus half of their range.
void to_codes(RowBlock& rows, int bits, const std::string& name) {
  const int middle = 1 << (bits - 1);
  if (bits == 8) {
    for (uint8_t& code : rows.codes) code ^= 0x80;
    return;
  }
  int worst = 0;
  for (uint8_t& code : rows.codes) {
    const int shifted = static_cast<int8_t>(code) + middle;
    worst |= shifted;
    code = static_cast<uint8_t>(shifted);
  }
  if (worst >= 0 && worst < 2 * middle) return;
  const auto bad = std::ranges::find_if(rows.codes, [&](uint8_t code) { return code >= 2 * middle; });
  const int64_t at = bad - rows.codes.begin();
  fail_model("{}: row {}, column {}: not a value of {} bits (got {})", name, rows.row_begin + at / rows.k, at % rows.k,
             bits, static_cast<int8_t>(*bad - middle));
}

WeightPlan plan_integers(const CheckpointView& view, const Module& module, const Dense& dense) {
  const Scheme scheme = scheme_of(view, module);
  const auto groups = std::make_shared<const IntGroups>(view, module, scheme, dense.part, true);
  if (!dense.read && !module.n_experts && !has_shape(view.at(tensor_name(module, dense.part)), {module.n, module.k}))
    groups->reject_shapes();
  const std::string name = view.describe(tensor_name(module, dense.part));
  return {.name = name,
          .encoding = groups->encoding(),
          .n = module.n,
          .k = module.k,
          .input = read_input(view, module, scheme.act),
          .source_bytes = dense.n_bytes + groups->source_bytes(),
          .read = [groups, name, read = reader_of(view, module, dense), k = module.k](int64_t begin, int64_t count,
                                                                                      RowBlock& rows) {
            rows.resize(groups->encoding(), begin, count, k);
            read(begin, count, rows.codes.data());
            to_codes(rows, groups->encoding().bits, name);
            groups->read(rows);
          }};
}

WeightPlan plan_fp8(const CheckpointView& view, const Module& module, const Dense& dense) {
  const Scheme scheme = scheme_of(view, module);
  require_float(scheme, 8);
  CodedRows rows{.encoding = kE4M3, .codes = dense.part, .read_codes = dense.read};
  const bool is_mx = part_is(view, module, "weight_scale", {DType::u8, DType::f8_e8m0});
  const int64_t group = is_mx && !scheme.group_size ? kMxGroup : scheme.group_size;
  rows.encoding.scale = is_mx ? ScaleType::e8m0 : ScaleType::f32;
  rows.encoding.grouping = {group ? GroupKind::along_k : GroupKind::row, static_cast<uint32_t>(group)};
  rows.encoding.act = scheme.act;
  rows.scale_order = group ? GroupValues::Order::blocks : order_of_row_scales(view, module, "weight_scale");
  rows.block_rows = scheme.block_rows;
  rows.input = read_input(view, module, scheme.act);
  return plan_coded_rows(view, module, std::move(rows));
}

/// Whichever of the three the tensors are.
CodedRows packed_floats(const CheckpointView& view, const Module& module, const Scheme& scheme) {
  const std::string codes = "weight_packed";
  if (has_part(view, module, "weight_global_scale")) return nvfp4(Outer::divide, "weight_global_scale", codes);
  if (scheme.bits != 6) return mxfp4(codes);
  CodedRows rows{.encoding = kE2M3, .codes = codes};
  rows.encoding.grouping = {GroupKind::along_k, kMxGroup};
  rows.encoding.scale = ScaleType::e8m0;
  return rows;
}

}  // namespace

WeightPlan plan_packed_floats(const CheckpointView& view, const Module& module) {
  const Scheme scheme = scheme_of(view, module);
  CodedRows rows = packed_floats(view, module, scheme);
  require_float(scheme, rows.encoding.bits);
  if (scheme.group_size != rows.encoding.grouping.size) {
    fail_model("{}.group_size: {} goes with the tensors (got {})", scheme.where, rows.encoding.grouping.size,
               scheme.group_size);
  }
  rows.encoding.act = scheme.act;
  rows.input = read_input(view, module, scheme.act);
  return plan_coded_rows(view, module, std::move(rows));
}

WeightPlan plan_dense(const CheckpointView& view, const Module& module, const Dense& dense) {
  if (is_plain_float(dense.dtype)) return plan_floats(view, module, dense);
  if (dense.dtype == DType::i8) return plan_integers(view, module, dense);
  if (dense.dtype == DType::f8_e4m3) return plan_fp8(view, module, dense);
  fail_model("{}: wrong dtype (got {}, expected F32, F16, BF16, I8 or F8_E4M3)",
             view.describe(tensor_name(module, dense.part)), info(dense.dtype).name);
}

}  // namespace packhorse::ct
