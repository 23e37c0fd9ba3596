#include "formats/awq_words.h"

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "formats/affine_words.h"
#include "formats/marlin_words.h"
#include "formats/packing.h"

namespace packhorse {
namespace {

constexpr std::string_view kParts[] = {"qweight", "qzeros", "scales"};

/// A module of one layout, and its tensors by their full names.
struct Awq {
  const CheckpointView& view;
  const Module& module;
  const WordSettings& settings;
  std::string qweight = tensor_name(module, kParts[0]);
  std::string qzeros = tensor_name(module, kParts[1]);
  std::string scales = tensor_name(module, kParts[2]);

  void require(bool fits) const {
    if (!fits) reject_words(view, module, settings);
  }
  int64_t dim(const std::string& name, size_t i) const {
    const TensorInfo& tensor = view.at(name);
    require(tensor.shape.size() == 2 && tensor.shape[i] <= INT32_MAX);
    return static_cast<int64_t>(tensor.shape[i]);
  }
  AffineWords words(int bits, int64_t group_size, int64_t n_groups, GroupValues::Order order) const {
    return {.codes_name = view.describe(qweight),
            .scale_name = view.describe(scales),
            .bits = bits,
            .groups = even_groups(group_size, module.k),
            .n_groups = n_groups,
            .scale_type = float_scale_type(view, scales),
            .scale = GroupValues(view, module, scales, order, n_groups),
            .source_bytes = bytes_of(view, module, {kParts[0], kParts[1], kParts[2]}),
            .read_codes = {}};
  }
};

WeightPlan plan_gemm(const Awq& awq) {
  const int64_t n = awq.module.n, k = awq.module.k;
  const int64_t bits = awq.settings.bits ? awq.settings.bits : awq.dim(awq.qweight, 1) * 32 / n;
  const int64_t n_groups = awq.dim(awq.scales, 0);
  for (const std::string& name : {awq.qweight, awq.qzeros}) {
    if (name == awq.qweight || awq.view.find(name)) require_dtype(awq.view, name, DType::i32);
  }
  const bool has_zeros = awq.view.find(awq.qzeros) != nullptr;
  awq.require((bits == 4 || bits == 8) && n * bits % 32 == 0 &&
              has_shape(awq.view.at(awq.qweight), {k, n * bits / 32}) &&
              has_shape(awq.view.at(awq.scales), {n_groups, n}) &&
              (!has_zeros || has_shape(awq.view.at(awq.qzeros), {n_groups, n * bits / 32})));
  const int64_t size = columns_per_scale(awq.view, awq.module, awq.settings, n_groups);
  AffineWords out = awq.words(static_cast<int>(bits), size, n_groups, GroupValues::Order::columns);
  if (has_zeros) {
    const std::vector<std::byte> raw = awq.view.read_all(awq.view.at(awq.qzeros));
    std::vector<int64_t> all(static_cast<size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    out.zeros.resize(all.size() * static_cast<size_t>(n_groups));
    unpack_awq(reinterpret_cast<const uint8_t*>(raw.data()), out.bits, n, n_groups, all, out.zeros.data());
  }
  out.read_codes = [source = WholeTensor(awq.view, awq.view.at(awq.qweight)), bits = out.bits, n, k](
                       std::span<const int64_t> rows, uint8_t* codes) {
    unpack_awq(source.bytes(), bits, n, k, rows, codes);
  };
  return plan_affine_words(awq.module, std::move(out));
}

/// Groups of gemv and gemv_fast, whose scales have `padded` groups.
int64_t padded_group_size(const Awq& awq, int64_t padded) {
  const int64_t k = awq.module.k, size = awq.settings.group_size == -1 ? k : awq.settings.group_size;
  if (size == 0) {
    fail_model("{}: group_size: missing (scales of this layout are padded: {} groups or fewer)", awq.settings.where,
               padded);
  }
  const int64_t unit = size >= 128 ? 1 : size == 64 ? 2 : 4, groups = k / size;
  const int64_t width = ((groups + 7) / 8 + unit - 1) / unit * unit;
  awq.require(k % size == 0 && padded == 8 * width);
  return size;
}

WeightPlan plan_gemv(const Awq& awq) {
  const int64_t n = awq.module.n, k = awq.module.k, padded = awq.dim(awq.scales, 1);
  for (const std::string& name : {awq.qweight, awq.qzeros}) require_dtype(awq.view, name, DType::i32);
  awq.require((awq.settings.bits == 0 || awq.settings.bits == 4) && k % 8 == 0 && padded % 8 == 0 &&
              has_shape(awq.view.at(awq.qweight), {n, k / 8}) && has_shape(awq.view.at(awq.scales), {n, padded}) &&
              has_shape(awq.view.at(awq.qzeros), {n, padded / 8}));
  AffineWords out = awq.words(4, padded_group_size(awq, padded), padded, GroupValues::Order::rows);
  const std::vector<std::byte> raw = awq.view.read_all(awq.view.at(awq.qzeros));
  out.zeros.resize(static_cast<size_t>(n * padded));
  unpack_stream(reinterpret_cast<const uint8_t*>(raw.data()), 4, n * padded, out.zeros.data());
  out.read_codes = [source = WholeTensor(awq.view, awq.view.at(awq.qweight)), k](std::span<const int64_t> rows,
                                                                                 uint8_t* codes) {
    for (const int64_t row : rows) {
      unpack_stream(source.bytes() + row * k / 2, 4, k, codes);
      codes += k;
    }
  };
  return plan_affine_words(awq.module, std::move(out));
}

/// Zero points from -(scale * zero), [n, n_groups].
std::vector<uint8_t> divide_zeros(const Awq& awq, int64_t n_groups) {
  const int64_t n = awq.module.n;
  Module file_order = awq.module;
  file_order.source_row = {};
  std::vector<float> scales(static_cast<size_t>(n * n_groups)), products(scales.size());
  GroupValues(awq.view, file_order, awq.scales, GroupValues::Order::columns, n_groups).read(0, n, scales.data());
  GroupValues(awq.view, file_order, awq.qzeros, GroupValues::Order::columns, n_groups).read(0, n, products.data());
  std::vector<uint8_t> zeros(scales.size());
  for (size_t i = 0; i < zeros.size(); ++i) {
    const float zero = scales[i] == 0 ? 0 : std::nearbyint(-products[i] / scales[i]);
    if (!(zero >= 0 && zero <= 15)) {
      fail_model("{}: row {}, group {}: no multiple of the scale by 0..15 (got {}, scale {})",
                 awq.view.describe(awq.qzeros), static_cast<int64_t>(i) / n_groups, static_cast<int64_t>(i) % n_groups,
                 products[i], scales[i]);
    }
    zeros[i] = static_cast<uint8_t>(zero);
  }
  return zeros;
}

WeightPlan plan_gemv_fast(const Awq& awq) {
  const int64_t n = awq.module.n, k = awq.module.k, padded = awq.dim(awq.scales, 0);
  require_dtype(awq.view, awq.qweight, DType::i16);
  float_scale_type(awq.view, awq.qzeros);
  awq.require((awq.settings.bits == 0 || awq.settings.bits == 4) && k % 64 == 0 && n % 4 == 0 &&
              has_shape(awq.view.at(awq.qweight), {n / 4, k}) && has_shape(awq.view.at(awq.scales), {padded, n}) &&
              has_shape(awq.view.at(awq.qzeros), {padded, n}));
  AffineWords out = awq.words(4, padded_group_size(awq, padded), padded, GroupValues::Order::columns);
  out.zeros = divide_zeros(awq, padded);
  out.read_codes = [source = WholeTensor(awq.view, awq.view.at(awq.qweight)), k](std::span<const int64_t> rows,
                                                                                 uint8_t* codes) {
    for (const int64_t row : rows) {
      unpack_awq_fast(source.bytes(), k, row, codes);
      codes += k;
    }
  };
  return plan_affine_words(awq.module, std::move(out));
}

}  // namespace

WeightPlan plan_awq_words(const CheckpointView& view, const Module& module, QweightLayout layout,
                          const WordSettings& settings) {
  const Awq awq{view, module, settings};
  switch (layout) {
    case QweightLayout::awq_gemm:
      return plan_gemm(awq);
    case QweightLayout::awq_gemv:
      return plan_gemv(awq);
    case QweightLayout::awq_gemv_fast:
      return plan_gemv_fast(awq);
    case QweightLayout::awq_marlin:
      return plan_marlin_words(view, module, {"qweight", "", "scales"}, settings);
    case QweightLayout::gptq:
    case QweightLayout::none:
      break;
  }
  reject_words(view, module, settings);
}

}  // namespace packhorse
