// Plain weights that become TorchAO's while they load; the settings are read in torchao_config.cpp. The numbers are
// those of torchao 0.18 on a CPU. It computes affine and float8 scales in the type of the weight, so each step below is
// rounded to that type T, and whole numbers of q_min .. q_max are
//
//   symmetric     scale = max |w| / ((q_max - q_min) / 2)
//   no_clipping   scale = the larger of min(w, 0) / q_min and max(w, 0) / q_max
//   asymmetric    scale = (max(w, 0) - min(w, 0)) / (q_max - q_min); zero = q_min - round(min(w, 0) / scale)
//   all           scale is at least T's smallest normal number (2^-23 for Int8Tensor, which then keeps it as float32);
//                 q = round(w * (1 / scale)) + zero
//
//   float8        scale = max |w| / 448 or 57344; q = w / scale in float32
//
// The int4 classes keep scale and minimum m in T, as z = m + 8 scale: Int4Tensor computes in float32 with
// scale = max(max w - min w, 1e-6) / 15 and q = round((w - m) / scale), or for float8 activations max(max |w|, 1e-6) /
// 8 and no minimum; Int4TilePackedTo4dTensor does the first in bfloat16 and takes m back from z.

#include <cmath>
#include <memory>

#include "base/half.h"
#include "codec/nearest.h"
#include "codec/round_codes.h"
#include "formats/in_flight.h"
#include "formats/torchao.h"
#include "formats/torchao_recipe.h"

namespace packhorse {
namespace {

using Rule = TorchAoRecipe::Rule;
using Mapping = TorchAoRecipe::Mapping;

constexpr float kLeastInt8Scale = 0x1p-23f, kLeastInt4Range = 1e-6f;

float round_to(Element type, float value) {
  if (type == Element::f16) return f16_to_f32(f32_to_f16(value));
  return type == Element::bf16 ? bf16_to_f32(f32_to_bf16(value)) : value;
}
float smallest_normal(Element type) { return type == Element::f16 ? 0x1p-14f : 0x1p-126f; }
ScaleType scale_type_of(Element type) {
  return type == Element::f16 ? ScaleType::f16 : type == Element::bf16 ? ScaleType::bf16 : ScaleType::f32;
}

/// Where one group's results go; `zero` and `min` are null without such.
struct GroupOut {
  uint8_t* codes;
  float *scale, *zero, *min;
};

class Encoder {
 public:
  Encoder(const WeightPlan& source, const TorchAoRecipe& recipe);

  const Encoding& encoding() const { return encoding_; }
  void encode_row(std::span<const float> values, int64_t n, RowBlock& rows, int64_t r) const;

 private:
  float t(float value) const { return round_to(type_, value); }
  void encode_affine(std::span<const float> group, float largest, const GroupOut& out) const;
  float affine_scale(ValueRange range) const;
  void encode_float8(std::span<const float> group, float largest, const GroupOut& out) const;
  void encode_int4_rows(std::span<const float> group, const GroupOut& out) const;
  void encode_int4_symmetric(std::span<const float> group, float largest, const GroupOut& out) const;
  void encode_int4_tiles(std::span<const float> group, const GroupOut& out) const;

  TorchAoRecipe recipe_;
  std::string name_;
  Element type_;
  Encoding encoding_;
  std::shared_ptr<const BlockMaxima> maxima_;  // where a scale is shared by rows
};

Encoder::Encoder(const WeightPlan& source, const TorchAoRecipe& recipe)
    : recipe_(recipe), name_(source.name), type_(source.encoding.element), encoding_(recipe.code) {
  const int64_t columns = recipe.columns ? recipe.columns : source.k, rows = recipe.rows ? recipe.rows : source.n;
  if (rows != 1) maxima_ = std::make_shared<const BlockMaxima>(source, rows, columns);
  encoding_.grouping = torchao_groups(columns, source.k);
  encoding_.act = recipe.act;
  const bool keeps_min = recipe.rule == Rule::int4_rows || recipe.rule == Rule::int4_symmetric;
  if (recipe.rule == Rule::int4_tiles) {
    type_ = Element::bf16;
    encoding_.scale = encoding_.min = ScaleType::bf16;
  } else if (keeps_min) {
    encoding_.scale = encoding_.min = scale_type_of(type_);
  } else if (recipe.rule == Rule::float8 || recipe.is_int8_tensor) {
    encoding_.scale = ScaleType::f32;
  } else {
    encoding_.scale = scale_type_of(recipe.scale_type.value_or(type_));
  }
  if (recipe.rule == Rule::affine && recipe.mapping == Mapping::asymmetric) {
    encoding_.offset = 0;
    encoding_.zero = ScaleType::u8;
  }
}

void Encoder::encode_row(std::span<const float> values, int64_t n, RowBlock& rows, int64_t r) const {
  require_finite(values, name_, n);
  const std::span<const float> measured = maxima_ ? maxima_->of_row(n) : std::span<const float>();
  for (int64_t g = 0; g < rows.n_groups; ++g) {
    const std::span group = values.subspan(static_cast<size_t>(g * rows.group_k), static_cast<size_t>(rows.group_k));
    const auto at = static_cast<size_t>(r * rows.n_groups + g);
    const float largest = maxima_ ? measured[static_cast<size_t>(g)] : largest_magnitude(group);
    const GroupOut out{rows.codes.data() + r * rows.k + g * rows.group_k, &rows.scale[at],
                       rows.zero.empty() ? nullptr : &rows.zero[at], rows.min.empty() ? nullptr : &rows.min[at]};
    switch (recipe_.rule) {
      case Rule::affine:
        encode_affine(group, largest, out);
        break;
      case Rule::float8:
        encode_float8(group, largest, out);
        break;
      case Rule::int4_rows:
        encode_int4_rows(group, out);
        break;
      case Rule::int4_symmetric:
        encode_int4_symmetric(group, largest, out);
        break;
      case Rule::int4_tiles:
        encode_int4_tiles(group, out);
        break;
    }
  }
}

float Encoder::affine_scale(ValueRange range) const {
  const int half_range = 1 << (encoding_.bits - 1);
  const auto n_steps = static_cast<float>(2 * half_range - 1);
  switch (recipe_.mapping) {
    case Mapping::symmetric:
      return t(std::max(-range.low, range.high) / (n_steps / 2));
    case Mapping::asymmetric:
      return t(t(range.high - range.low) / n_steps);
    case Mapping::no_clipping:
      return std::max(t(-range.low / static_cast<float>(half_range)),
                      t(range.high / static_cast<float>(half_range - 1)));
  }
  return 0;
}

void Encoder::encode_affine(std::span<const float> group, float largest, const GroupOut& out) const {
  const int half_range = 1 << (encoding_.bits - 1);
  const ValueRange range = maxima_ ? ValueRange{-largest, largest} : range_with_zero(group);
  const float least = recipe_.is_int8_tensor ? kLeastInt8Scale : smallest_normal(type_);
  float scale = std::max(affine_scale(range), least);
  int zero = 0;
  if (out.zero) {
    const int steps = nearest_whole(t(range.low / scale), -4 * half_range, 0);
    zero = std::clamp(-half_range - steps, -half_range, half_range - 1);
    *out.zero = static_cast<float>(zero + half_range);
  }
  // What multiplies: products of two types are float32.
  const Element scale_type = recipe_.is_int8_tensor ? Element::f32 : recipe_.scale_type.value_or(type_);
  const Element product_type = scale_type == type_ ? type_ : Element::f32;
  *out.scale = scale = round_to(scale_type, scale);
  const float inverse = round_to(scale_type, 1 / scale);
  const int low = -half_range - zero, high = half_range - 1 - zero, middle = half_range + zero;
  for (size_t i = 0; i < group.size(); ++i) {
    const float steps = round_to(product_type, group[i] * inverse);
    out.codes[i] = static_cast<uint8_t>(nearest_whole(steps, low, high) + middle);
  }
}

void Encoder::encode_float8(std::span<const float> group, float largest, const GroupOut& out) const {
  *out.scale = t(largest / largest_float8(encoding_));
  round_to_float8(encoding_, group, *out.scale, out.codes);
}

void Encoder::encode_int4_rows(std::span<const float> group, const GroupOut& out) const {
  const auto [low, high] = std::ranges::minmax(group);
  const float scale = std::max(high - low, kLeastInt4Range) / 15;
  for (size_t i = 0; i < group.size(); ++i)
    out.codes[i] = static_cast<uint8_t>(nearest_whole((group[i] - low) / scale, 0, 15));
  *out.scale = t(scale);
  *out.min = t(low + scale * 8);
}

void Encoder::encode_int4_symmetric(std::span<const float> group, float largest, const GroupOut& out) const {
  const float scale = std::max(largest, kLeastInt4Range) / 8;
  round_to_whole(group, scale, -8, 7, 8, out.codes);
  *out.scale = t(scale);
  *out.min = 0;
}

void Encoder::encode_int4_tiles(std::span<const float> group, const GroupOut& out) const {
  const auto [least, most] = std::ranges::minmax(group);
  const float low = t(least), scale = std::max(t(t(t(most) - low) / 15), smallest_normal(type_));
  const float zero = t(low + t(scale * 8)), from = t(zero - t(scale * 8));
  for (size_t i = 0; i < group.size(); ++i)
    out.codes[i] = static_cast<uint8_t>(nearest_whole(t(t(t(group[i]) - from) / scale), 0, 15));
  *out.scale = scale;
  *out.min = zero;
}

}  // namespace

WeightPlan torchao_in_flight(WeightPlan plan, const Module& module, const Json& config) {
  const std::optional<TorchAoRecipe> recipe = torchao_recipe(config, module.name);
  if (!recipe) return plan;
  const bool has_short_group = recipe->columns > 0 && plan.k % recipe->columns != 0;
  if (has_short_group && recipe->leaves_short_groups) return plan;
  if (recipe->leaves_odd_shapes && (plan.k % 16 || plan.n % 16)) return plan;
  if (has_short_group || (recipe->rows > 1 && plan.n % recipe->rows)) {
    fail(ErrorKind::usage, "quantization_config: torchao's blocks of [{}, {}] do not divide {} [{}, {}]", recipe->rows,
         recipe->columns, printable(module.name), plan.n, plan.k);
  }
  const auto encoder = std::make_shared<const Encoder>(plan, *recipe);
  return encode_rows(std::move(plan), encoder->encoding(),
                     [encoder](std::span<const float> values, int64_t n, RowBlock& rows, int64_t r) {
                       encoder->encode_row(values, n, rows, r);
                     });
}

}  // namespace packhorse
