// The scalar oracle: every op and encoding, written for clarity. Matmul is the definition that all rows match bit for
// bit; the other ops are computed in double and matched within a tolerance. Serves tests and --isa ref alone.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "codec/row_block.h"
#include "kernels/op.h"
#include "kernels/ref/attention.h"

namespace packhorse {
namespace {

// --- packed form: one row per unit, codes as they come and both scale levels multiplied, [scales][mins][zeros][outer]
// per row ---

UnitLayout layout(const Encoding& e, int64_t k) {
  const int64_t group = group_along_row(e.grouping, k);
  const int64_t n_groups = group ? (k + group - 1) / group : 0;
  return {.rows_per_unit = 1, .code_bytes = code_bytes(e, k), .scale_bytes = (n_groups * 3 + 1) * 4};
}

void pack(const Encoding& e, const RowBlock& rows, int64_t first_row, uint8_t* codes, uint8_t* scales) {
  const int64_t bytes = code_bytes(e, rows.k);
  std::memcpy(codes, rows.codes.data() + first_row * bytes, static_cast<size_t>(bytes));
  for (int64_t g = 0; g < rows.n_groups; ++g) {
    const float scale = group_scale(e, rows, first_row, g), min = group_min(e, rows, first_row, g),
                zero = group_zero(e, rows, first_row, g);
    std::memcpy(scales + g * 4, &scale, 4);
    std::memcpy(scales + (rows.n_groups + g) * 4, &min, 4);
    std::memcpy(scales + (2 * rows.n_groups + g) * 4, &zero, 4);
  }
  const float outer = e.outer == Outer::none ? 1.0f : rows.outer[static_cast<size_t>(first_row)];
  std::memcpy(scales + 3 * rows.n_groups * 4, &outer, 4);
}

struct Row {
  const WeightView& w;
  const uint8_t* codes;
  const uint8_t* scales;
  int64_t n_groups;

  Row(const WeightView& view, int64_t n)
      : w(view),
        codes(view.codes + n * view.code_stride),
        scales(view.scales + n * view.scale_stride),
        n_groups(view.group_k ? (view.k + view.group_k - 1) / view.group_k : 0) {}
  float at(int64_t i) const {
    float f;
    std::memcpy(&f, scales + i * 4, 4);
    return f;
  }
  float scale(int64_t k) const { return at(k / w.group_k); }
  float min(int64_t k) const { return at(n_groups + k / w.group_k); }
  float zero(int64_t k) const { return at(2 * n_groups + k / w.group_k); }
  bool has_min() const { return w.encoding.min != ScaleType::none; }
  bool has_whole_zero() const { return w.encoding.zero == ScaleType::u8; }
  /// A number that is added to each product of code and scale, for integer dots.
  bool has_addend() const { return has_min() || (w.encoding.zero != ScaleType::none && !has_whole_zero()); }
  float addend(int64_t k) const { return has_min() ? min(k) : -(zero(k) * whole_scale(k)); }
  float with_outer(float value) const {
    if (w.encoding.outer == Outer::none) return value;
    return w.encoding.outer == Outer::multiply ? value * at(3 * n_groups) : value / at(3 * n_groups);
  }
  float whole_scale(int64_t k) const { return with_outer(scale(k) * w.encoding.factor); }

  float value(int64_t k) const {
    const Encoding& e = w.encoding;
    if (e.element == Element::f32) {
      float f;
      std::memcpy(&f, codes + 4 * k, 4);
      return f;
    }
    if (is_float(e.element)) {
      uint16_t bits;
      std::memcpy(&bits, codes + 2 * k, 2);
      return e.element == Element::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
    }
    const float code = code_value(k);
    return has_min() ? std::fma(code, scale(k), min(k)) : with_outer((code - zero(k)) * scale(k) * e.factor);
  }
  float code_value(int64_t k) const {
    const Encoding& e = w.encoding;
    if (e.element == Element::table) return e.table->values[codes[k]];
    if (e.element == Element::minifloat) return minifloat_value(e, wide_code(e, codes, k));
    if (e.element == Element::grid) return static_cast<float>(grid_value(*e.grid, codes, k));
    return static_cast<float>(codes[k] - e.offset);
  }
  int32_t integer(int64_t k) const {
    if (w.encoding.element == Element::table) return w.encoding.table->approx[codes[k]];
    if (w.encoding.element == Element::grid) return grid_value(*w.encoding.grid, codes, k);
    return codes[k] - w.encoding.offset - (has_whole_zero() ? static_cast<int32_t>(zero(k)) : 0);
  }
};

template <class Dot>
void for_outputs(const MatmulArgs& a, int64_t begin, int64_t end, Dot dot) {
  for (int64_t n = begin; n < end; ++n) {
    const Row row(a.weight, n);
    for (int64_t m = 0; m < a.m; ++m) {
      const float y = dot(row, m);
      a.y[m * a.y_stride + n] = a.bias ? y + a.bias[n] : y;
    }
  }
}

void matmul_exact(const MatmulArgs& a, int64_t begin, int64_t end) noexcept {
  for_outputs(a, begin, end, [&](const Row& row, int64_t m) {
    float y = 0;
    for (int64_t k = 0; k < a.weight.k; ++k) y = std::fma(row.value(k), a.x.f32[m * a.x.stride + k], y);
    return y;
  });
}

void matmul_bf16(const MatmulArgs& a, int64_t begin, int64_t end) noexcept {
  const bool scaled = !is_float(a.weight.encoding.element);
  const int64_t k_end = a.weight.k, group = scaled ? std::min(a.weight.group_k, k_end) : k_end;
  for_outputs(a, begin, end, [&](const Row& row, int64_t m) {
    const auto product = [&](int64_t k, float sum) {
      const float w = k >= k_end ? 0.0f : scaled ? row.code_value(k) : row.value(k);
      return k < k_end ? std::fma(w, bf16_to_f32(a.x.bf16[m * a.x.stride + k]), sum) : sum;
    };
    const auto dot = [&](int64_t from, int64_t to) {
      float sum = 0;
      for (int64_t k = from; k < to; k += 2) sum = product(k, product(k + 1, sum));
      return sum;
    };
    if (!scaled) return dot(0, k_end);
    float y = 0;
    for (int64_t first = 0; first < k_end; first += group) {
      const int64_t group_end = std::min(first + group, k_end);
      for (int64_t k = first; k < group_end; k += kScaledSlice)
        y = std::fma(dot(k, std::min(k + kScaledSlice, group_end)), row.whole_scale(first), y);
    }
    return y;
  });
}

void matmul_int8(const MatmulArgs& a, int64_t begin, int64_t end) noexcept {
  const WeightView& w = a.weight;
  const float step = w.encoding.element == Element::table ? w.encoding.table->approx_step : 1.0f;
  const int64_t piece = w.group_k % kBlockK == 0 || w.group_k >= w.k ? kBlockK : 16;  // columns of one integer dot
  for_outputs(a, begin, end, [&](const Row& row, int64_t m) {
    float y = 0;
    for (int64_t k = 0; k < w.k; k += piece) {
      const int64_t index = act_block_index(m, k / kBlockK, a.x.stride / kBlockK);
      const ActBlock& block = a.x.blocks[index];
      int32_t dot = 0, isum = 0;
      for (int64_t i = k; i < std::min(k + piece, w.k); ++i) {
        const int8_t q = a.x.q[index * kBlockK + i % kBlockK];
        dot += row.integer(i) * q;
        isum += q;
      }
      y = std::fma(static_cast<float>(dot), row.whole_scale(k) * step * block.scale, y);
      if (row.has_addend())
        y = std::fma(row.addend(k), piece == kBlockK ? block.sum : block.scale * static_cast<float>(isum), y);
    }
    return y;
  });
}

void matmul_int8_token(const MatmulArgs& a, int64_t begin, int64_t end) noexcept {
  const WeightView& w = a.weight;
  for_outputs(a, begin, end, [&](const Row& row, int64_t m) {
    int32_t dot = 0;
    for (int64_t k = 0; k < w.k; ++k) {
      const int64_t index = act_block_index(m, k / kBlockK, a.x.stride / kBlockK);
      dot += row.integer(k) * a.x.q[index * kBlockK + k % kBlockK];
    }
    float y = static_cast<float>(dot) * (a.x.token_max[m] * row.scale(0)) * w.encoding.act.product;
    for (int32_t o = 0; o < a.x.n_outliers[m]; ++o) {
      const Outlier& outlier = a.x.outliers[m * a.x.stride + o];
      y = std::fma(outlier.value, row.value(outlier.k), y);
    }
    return y;
  });
}

void decode_row(const WeightView& w, int64_t n, float* out) noexcept {
  const Row row(w, n);
  for (int64_t k = 0; k < w.k_padded; ++k) out[k] = k < w.k ? row.value(k) : 0.0f;
}

// --- activations ---

void quantize(const float* x, float inverse, int8_t* q, ActBlock& block) {
  block.isum[0] = block.isum[1] = 0;
  for (int i = 0; i < kBlockK; ++i) {
    q[i] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));
    block.isum[i / 16] += q[i];
  }
  block.isum[2] = block.isum[0] + block.isum[1];
}

/// Largest magnitude; NaN when an element is not finite.
float max_magnitude(const float* x, int64_t n) {
  float best = 0, bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    best = std::max(best, std::fabs(x[i]));
    bad += x[i] * 0.0f;
  }
  return best + bad;
}

void quantize_act(const QuantizeActArgs& a, int64_t begin, int64_t end) noexcept {
  std::vector<float> x(static_cast<size_t>(a.stride));
  const int64_t n_blocks = a.stride / kBlockK;
  for (int64_t m = begin; m < end; ++m) {
    std::fill(std::copy_n(a.x + m * a.x_stride, a.k, x.begin()), x.end(), 0.0f);
    if (a.token_max) {
      int32_t& n_outliers = a.n_outliers[m] = 0;
      for (int64_t k = 0; k < a.k; ++k) {
        float& value = x[static_cast<size_t>(k)];
        value = f16_to_f32(f32_to_f16(value));
        if (a.outlier_threshold > 0 && std::fabs(value) >= a.outlier_threshold) {
          a.outliers[m * a.stride + n_outliers++] = {static_cast<int32_t>(k), a.x[m * a.x_stride + k]};
          value = 0;
        }
      }
    }
    if (a.f32) std::copy(x.begin(), x.end(), a.f32 + m * a.stride);
    if (a.bf16) std::transform(x.begin(), x.end(), a.bf16 + m * a.stride, f32_to_bf16);
    if (!a.q) continue;
    const float token_max = max_magnitude(x.data(), a.stride);
    if (a.token_max) a.token_max[m] = token_max;
    for (int64_t b = 0; b < n_blocks; ++b) {
      const float amax = a.token_max ? token_max : max_magnitude(x.data() + b * kBlockK, kBlockK);
      const int64_t index = act_block_index(m, b, n_blocks);
      ActBlock& block = a.blocks[index];
      const bool zero = amax < 1e-30f;
      const float step = common_step(a, m, b * kBlockK, (b + 1) * kBlockK);
      const bool by_step = step > 0 && amax <= 127.0f * step;
      block.scale = zero ? 0.0f : by_step ? step : amax / 127.0f;
      quantize(x.data() + b * kBlockK,
               zero      ? 0.0f
               : by_step ? 1.0f / step
                         : 127.0f / amax,
               a.q + index * kBlockK, block);
      block.sum = block.scale * static_cast<float>(block.isum[2]);
    }
  }
}

/// v, within the range of these codes, as the nearest of them.
float to_code(ActScheme::Code code, float v) {
  const auto on_grid = [v](float largest, int mantissa, int smallest_exponent) {
    const float clamped = std::clamp(v, -largest, largest);
    int exponent = 0;
    std::frexp(clamped, &exponent);
    const int step = std::max(exponent - 1, smallest_exponent) - mantissa;
    return std::ldexp(std::nearbyint(std::ldexp(clamped, -step)), step);
  };
  switch (code) {
    case ActScheme::Code::fp8:
      return e4m3_to_f32(f32_to_e4m3(v));
    case ActScheme::Code::fp8_e5m2:
      return on_grid(57344, 2, -14);
    case ActScheme::Code::e2m1:
      return on_grid(6, 1, 0);
    default:
      return std::nearbyint(v);
  }
}

float dynamic_scale(const RoundActArgs& a, float low, float high, float amax) {
  const ActScheme& scheme = a.scheme;
  const int mantissa = scheme.code == ActScheme::Code::e2m1 ? 1 : scheme.code == ActScheme::Code::fp8_e5m2 ? 2 : 3;
  const auto power_below = [](float v) { return v == 0 ? 0.0f : std::ldexp(1.0f, std::ilogb(v)); };
  if (scheme.limit > 0) amax = std::min(amax, scheme.limit);
  switch (scheme.scale) {
    case ActScheme::Scale::fixed:
      return a.act_scale;
    case ActScheme::Scale::max:
      return std::max(scheme.smallest, (scheme.symmetric ? amax : high - low) / scheme.divisor);
    case ActScheme::Scale::power_floor:
      return std::ldexp(power_below(amax), -scheme.shift);
    case ActScheme::Scale::power_even:
      return std::ldexp(power_below(amax + std::ldexp(power_below(amax), -mantissa - 1)), -scheme.shift);
    case ActScheme::Scale::power_ceil: {
      const float t = amax / scheme.divisor, below = power_below(t);
      return below < t ? 2 * below : below;
    }
    case ActScheme::Scale::nvfp4:
      return to_code(ActScheme::Code::fp8, amax / scheme.divisor / a.act_scale) * a.act_scale;
  }
  return 0;
}

/// Returns what the codes are multiples of, 0 for fp8.
float round_group(const RoundActArgs& a, float* y, int64_t n) {
  const auto [low, high] = std::minmax_element(y, y + n);
  const float least = std::min(*low, 0.0f), most = std::max(*high, 0.0f);
  const float scale = dynamic_scale(a, least, most, std::max(-least, most));
  float zero = 0;
  if (a.scheme.scale == ActScheme::Scale::fixed)
    zero = static_cast<float>(a.act_zero);
  else if (!a.scheme.symmetric && scale > 0)
    zero = std::clamp(-128.0f - std::nearbyint(least / scale), -128.0f, 127.0f);
  for (float* v = y; v < y + n; ++v) {
    if (scale == 0) {
      *v = 0;
    } else if (a.scheme.code == ActScheme::Code::int8 || a.scheme.code == ActScheme::Code::int4) {
      const float largest = a.scheme.code == ActScheme::Code::int8 ? 127 : 7;
      *v = (std::clamp(std::nearbyint(*v / scale) + zero, -largest - 1, largest) - zero) * scale;
    } else {
      *v = to_code(a.scheme.code, *v / scale) * scale;
    }
  }
  const bool is_fp8 = a.scheme.code == ActScheme::Code::fp8 || a.scheme.code == ActScheme::Code::fp8_e5m2;
  return is_fp8 ? 0 : a.scheme.code == ActScheme::Code::e2m1 ? scale * 0.5f : scale;
}

void round_act(const RoundActArgs& a, int64_t begin, int64_t end) noexcept {
  for (int64_t m = begin; m < end; ++m) {
    float* y = a.y + m * a.k;
    for (int64_t i = 0; i < a.k; ++i) {
      const int64_t from = a.order ? a.order[i] : i;
      y[i] = a.x[m * a.k + from] * (a.scale ? a.scale[from] : 1.0f);
    }
    if (a.scheme.code == ActScheme::Code::none || a.scheme.code == ActScheme::Code::llm_int8) continue;
    for (int64_t k = 0; k < a.k; k += a.group()) {
      const float step = round_group(a, y + k, std::min(a.group(), a.k - k));
      if (a.steps) a.steps[m * a.n_groups() + k / a.group()] = step;
    }
  }
}

// --- the rest, in double ---

void rms_norm(const RmsNormArgs& a, int64_t begin, int64_t end) noexcept {
  for (int64_t m = begin; m < end; ++m) {
    const float* x = a.x + m * a.n;
    double sum = 0;
    for (int64_t i = 0; i < a.n; ++i) sum += static_cast<double>(x[i]) * x[i];
    const double r = 1.0 / std::sqrt(sum / static_cast<double>(a.n) + a.eps);
    for (int64_t i = 0; i < a.n; ++i) a.y[m * a.n + i] = static_cast<float>(x[i] * r * a.weight[i]);
  }
}

void silu_mul(const SiluMulArgs& a, int64_t begin, int64_t end) noexcept {
  for (int64_t m = begin; m < end; ++m) {
    for (int64_t i = 0; i < a.n; ++i) {
      const double gate = a.gate_up[m * 2 * a.n + i], up = a.gate_up[m * 2 * a.n + a.n + i];
      a.y[m * a.n + i] = static_cast<float>(gate / (1 + std::exp(-gate)) * up);
    }
  }
}

// --- rows ---

const char* why_not_int8(const Problem& p) {
  if (!p.fast || is_float(p.weight.element)) return "float activations are asked for";
  if (p.weight.element == Element::minifloat) return "codes that are no integers";
  if (p.weight.act.code == ActScheme::Code::llm_int8) return "the format quantizes activations itself";
  const int64_t group = group_along_row(p.weight.grouping, p.k);
  return group % 16 == 0 || group >= p.k ? nullptr : "groups that are not multiples of 16";
}
const char* why_not_bf16(const Problem& p) {
  if (!p.fast) return "float activations are asked for";
  const Encoding& e = p.weight;
  const bool scaled = e.element == Element::minifloat && e.bits <= 8 && e.min == ScaleType::none &&
                      e.zero == ScaleType::none && e.super_size == 0;
  return scaled || e.element == Element::bf16 ? nullptr : "weights that are no bfloat16 and no small floats";
}
const char* why_not_int8_token(const Problem& p) {
  if (!p.fast) return "float activations are asked for";
  return p.weight.act.code == ActScheme::Code::llm_int8 ? nullptr
                                                        : "the format does not quantize activations per token";
}
const char* always(const Problem&) { return nullptr; }

constexpr Kernel kRows[] = {
    {.op = Op::matmul,
     .name = "int8",
     .cost = 10,
     .why_not = why_not_int8,
     .run = {.matmul = matmul_int8},
     .act = ActForm::int8_block,
     .layout = layout,
     .pack = pack},
    {.op = Op::matmul,
     .name = "int8.token",
     .cost = 10,
     .why_not = why_not_int8_token,
     .run = {.matmul = matmul_int8_token},
     .act = ActForm::int8_token,
     .layout = layout,
     .pack = pack},
    {.op = Op::matmul,
     .name = "bf16",
     .cost = 10,
     .why_not = why_not_bf16,
     .run = {.matmul = matmul_bf16},
     .act = ActForm::bf16,
     .layout = layout,
     .pack = pack},
    {.op = Op::matmul,
     .name = "f32",
     .cost = 20,
     .why_not = always,
     .run = {.matmul = matmul_exact},
     .act = ActForm::f32,
     .layout = layout,
     .pack = pack,
     .decode_row = decode_row},
    {.op = Op::quantize_act,
     .name = "quantize_act",
     .cost = 10,
     .why_not = always,
     .run = {.quantize_act = quantize_act}},
    {.op = Op::round_act, .name = "round_act", .cost = 10, .why_not = always, .run = {.round_act = round_act}},
    {.op = Op::rms_norm, .name = "rms_norm", .cost = 10, .why_not = always, .run = {.rms_norm = rms_norm}},
    {.op = Op::silu_mul, .name = "silu_mul", .cost = 10, .why_not = always, .run = {.silu_mul = silu_mul}},
    {.op = Op::attention, .name = "attention", .cost = 10, .why_not = always, .run = {.attention = ref_attention}},
};

}  // namespace

extern constexpr KernelSet kRef{.name = "ref", .needs = 0, .rows = kRows, .n_rows = sizeof kRows / sizeof(Kernel)};

}  // namespace packhorse
