// TorchAO's classes of small floats. For N x K weights:
//
//   Float8Tensor  qdata F8_E4M3 or F8_E5M2 [N, K], scale float [N / b0, K / b1]; block_size [b0, b1]
//   MXTensor      qdata of elem_dtype [N, K], of fp4 U8 [N, K / 2] with the even columns in the low halves;
//                 scale E8M0 [N, K / block_size]
//   NVFP4Tensor   qdata U8 [N, K / 2], scale F8_E4M3 [N, K / 16], per_tensor_scale F32, one that multiplies
//
// With is_swizzled_scales the scales of the last two are in tiles of 128 rows by 4 groups.

#include "base/error.h"
#include "base/half.h"
#include "codec/tables.h"
#include "formats/packing.h"
#include "formats/settings.h"
#include "formats/torchao.h"

namespace packhorse {
namespace {

/// Scales of an MX or NV format in either order.
ReadRows<float> read_scales(const FlatTensor& flat, int64_t n_groups, ScaleType type) {
  const std::string name = flat.name("scale");
  if (scale_type(flat.view, name) != type) {
    fail_model("{}: wrong dtype (got {}, expected {})", flat.view.describe(name), info(flat.view.at(name).dtype).name,
               type == ScaleType::e4m3 ? "F8_E4M3" : "F8_E8M0 or U8");
  }
  if (!flag(flat.attributes, "is_swizzled_scales", false, flat.where)) {
    const GroupValues values(flat.view, flat.module, name, GroupValues::Order::rows, n_groups);
    return [values](int64_t begin, int64_t count, float* out) { values.read(begin, count, out); };
  }
  const TensorInfo& tensor = flat.view.at(name);
  const int64_t n = flat.module.n, n_padded = (n + 127) / 128 * 128 * ((n_groups + 3) / 4 * 4);
  if (tensor.n_elements() != static_cast<uint64_t>(n_padded)) {
    fail_model("{}: does not fit {} rows of {} groups in tiles (got {}, expected {} numbers)", flat.view.describe(name),
               n, n_groups, shape_text(tensor), n_padded);
  }
  return [whole = WholeTensor(flat.view, tensor), source_row = flat.module.source_row, n_groups, type](
             int64_t begin, int64_t count, float* out) {
    for (int64_t r = begin; r < begin + count; ++r) {
      const int64_t row = source_row ? source_row(r) : r;
      for (int64_t g = 0; g < n_groups; ++g) {
        const uint8_t code = whole.bytes()[swizzled_scale(row, g, n_groups)];
        *out++ = type == ScaleType::e4m3 ? e4m3_to_f32(code) : e8m0_to_f32(code);
      }
    }
  };
}

/// Codes of fewer than 8 bits in a byte each.
ReadRows<uint8_t> read_narrow(const FlatTensor& flat, int bits) {
  return [codes = read_codes(flat, 8, 0), name = flat.view.describe(flat.name("qdata")), bits, k = flat.module.k](
             int64_t begin, int64_t count, uint8_t* out) {
    codes(begin, count, out);
    for (int64_t i = 0; i < count * k; ++i) {
      if (out[i] >> bits) fail_model("{}: not a code of {} bits (got {})", name, bits, out[i]);
    }
  };
}

constexpr Encoding kFp4Codes{.element = Element::table, .bits = 4, .table = &kE2M1};

struct ElementType {
  std::string_view name;
  Encoding encoding;
};
constexpr ElementType kElements[] = {{"float8_e4m3fn", kE4M3},
                                     {"float8_e5m2", kE5M2},
                                     {"fp6_e2m3", kE2M3},
                                     {"fp6_e3m2", kE3M2},
                                     {"float4_e2m1fn_x2", kFp4Codes}};

}  // namespace

FlatWeight read_float8(const FlatTensor& flat) {
  const TensorInfo& codes = flat.view.at(flat.name("qdata"));
  if (codes.dtype != DType::f8_e4m3 && codes.dtype != DType::f8_e5m2) {
    fail_model("{}: wrong dtype (got {}, expected F8_E4M3 or F8_E5M2)", flat.view.describe(flat.name("qdata")),
               info(codes.dtype).name);
  }
  Encoding encoding = codes.dtype == DType::f8_e4m3 ? kE4M3 : kE5M2;
  encoding.grouping = flat.grouping();
  encoding.scale = scale_type(flat.view, flat.name("scale"));
  return {.encoding = encoding,
          .codes = read_codes(flat, 8, 0),
          .scale = [values = flat.block_values("scale")](int64_t begin, int64_t count,
                                                         float* out) { values.read(begin, count, out); },
          .zero = {},
          .min = {}};
}

FlatWeight read_mx(const FlatTensor& flat) {
  const std::string type = flat.text_of(flat.attributes, "elem_dtype");
  const auto found = std::ranges::find(kElements, type, &ElementType::name);
  if (found == std::end(kElements)) fail_model("{}.elem_dtype: cannot be read (got '{}')", flat.where, printable(type));
  Encoding encoding = found->encoding;
  const int64_t size = flat.block_size().second;
  encoding.grouping = {GroupKind::along_k, static_cast<uint32_t>(size)};
  encoding.scale = ScaleType::e8m0;
  const int bits = encoding.bits;
  return {.encoding = encoding,
          .codes = bits == 6 ? read_narrow(flat, bits) : read_codes(flat, bits, 0),
          .scale = read_scales(flat, (flat.module.k + size - 1) / size, ScaleType::e8m0),
          .zero = {},
          .min = {}};
}

FlatWeight read_nvfp4(const FlatTensor& flat) {
  Encoding encoding = kFp4Codes;
  const int64_t size = flat.block_size().second;
  encoding.grouping = {GroupKind::along_k, static_cast<uint32_t>(size)};
  encoding.scale = ScaleType::e4m3;
  const bool has_outer = flat.find("per_tensor_scale");
  encoding.outer = has_outer ? Outer::multiply : Outer::none;
  return {.encoding = encoding,
          .codes = read_codes(flat, 4, 0),
          .scale = read_scales(flat, (flat.module.k + size - 1) / size, ScaleType::e4m3),
          .zero = {},
          .min = {},
          .outer = has_outer ? read_one(flat, "per_tensor_scale") : 1};
}

}  // namespace packhorse
