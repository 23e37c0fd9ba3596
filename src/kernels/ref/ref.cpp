// The scalar oracle: every op and encoding, written for clarity. Matmul is the definition that all rows match bit for
// bit; the other ops are computed in double and matched within a tolerance. Serves tests and --isa ref alone.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "codec/row_block.h"
#include "kernels/op.h"

namespace packhorse {
namespace {

// --- packed form: one row per unit, codes as they come and both scale levels multiplied, [scales][mins][zeros] per row
// ---

UnitLayout layout(const Encoding& e, int64_t k) {
  const int64_t group = group_along_row(e.grouping, k);
  const int64_t n_groups = group ? (k + group - 1) / group : 0;
  return {.rows_per_unit = 1, .code_bytes = k * element_bytes(e.element), .scale_bytes = n_groups * 3 * 4};
}

void pack(const Encoding& e, const RowBlock& rows, int64_t first_row, uint8_t* codes, uint8_t* scales) {
  const int64_t bytes = rows.k * element_bytes(e.element);
  std::memcpy(codes, rows.codes.data() + first_row * bytes, static_cast<size_t>(bytes));
  for (int64_t g = 0; g < rows.n_groups; ++g) {
    const float scale = group_scale(e, rows, first_row, g), min = group_min(e, rows, first_row, g),
                zero = group_zero(e, rows, first_row, g);
    std::memcpy(scales + g * 4, &scale, 4);
    std::memcpy(scales + (rows.n_groups + g) * 4, &min, 4);
    std::memcpy(scales + (2 * rows.n_groups + g) * 4, &zero, 4);
  }
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
    if (e.element == Element::table) return e.table->values[codes[k]] * scale(k);
    const float code = static_cast<float>(codes[k] - e.offset) - zero(k);
    return has_min() ? std::fma(code, scale(k), min(k)) : code * scale(k) * e.factor;
  }
  int32_t integer(int64_t k) const {
    if (w.encoding.element == Element::table) return w.encoding.table->approx[codes[k]];
    return codes[k] - w.encoding.offset - static_cast<int32_t>(zero(k));
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
  for_outputs(a, begin, end, [&](const Row& row, int64_t m) {
    const auto product = [&](int64_t k, float y) {
      return k < a.weight.k ? std::fma(row.value(k), bf16_to_f32(a.x.bf16[m * a.x.stride + k]), y) : y;
    };
    float y = 0;
    for (int64_t k = 0; k < a.weight.k; k += 2) y = product(k, product(k + 1, y));
    return y;
  });
}

void matmul_int8(const MatmulArgs& a, int64_t begin, int64_t end) noexcept {
  const WeightView& w = a.weight;
  const float step = w.encoding.element == Element::table ? w.encoding.table->approx_step : 1.0f;
  const int64_t piece = std::min(w.group_k, kBlockK);  // columns of one integer dot
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
      y = std::fma(static_cast<float>(dot), row.scale(k) * step * block.scale, y);
      if (row.has_min())
        y = std::fma(row.min(k), piece == kBlockK ? block.sum : block.scale * static_cast<float>(isum), y);
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
      block.scale = zero ? 0.0f : amax / 127.0f;
      quantize(x.data() + b * kBlockK, zero ? 0.0f : 127.0f / amax, a.q + index * kBlockK, block);
      block.sum = block.scale * static_cast<float>(block.isum[2]);
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

float kv_at(const uint8_t* base, KvDType type, int64_t element) {
  if (type == KvDType::f32) {
    float f;
    std::memcpy(&f, base + element * 4, 4);
    return f;
  }
  uint16_t bits;
  std::memcpy(&bits, base + element * 2, 2);
  return type == KvDType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

void attend(const AttentionArgs& a, int64_t token, int64_t head) {
  const int64_t position = a.first_position + token, kv_head = head / (a.n_heads / a.n_kv_heads);
  const int64_t first = a.window > 0 ? std::max<int64_t>(0, position - a.window + 1) : 0;
  const float* q = a.q + token * a.q_stride + head * a.head_dim;
  std::vector<double> p, out(static_cast<size_t>(a.head_dim));
  double largest = -INFINITY, total = 0;
  for (int64_t key = first; key <= position; ++key) {
    const uint8_t* block = a.keys + a.block_table[key / kKvBlockTokens] * a.block_stride;
    double dot = 0;
    for (int64_t d = 0; d < a.head_dim; ++d) {
      dot += static_cast<double>(q[d]) *
             kv_at(block, a.dtype, (kv_head * a.head_dim + d) * kKvBlockTokens + key % kKvBlockTokens);
    }
    p.push_back(dot * a.scale);
    largest = std::max(largest, p.back());
  }
  for (int64_t key = first; key <= position; ++key) {
    const uint8_t* block = a.values + a.block_table[key / kKvBlockTokens] * a.block_stride;
    const double weight = std::exp(p[static_cast<size_t>(key - first)] - largest);
    total += weight;
    for (int64_t d = 0; d < a.head_dim; ++d) {
      out[static_cast<size_t>(d)] +=
          weight * kv_at(block, a.dtype, (kv_head * kKvBlockTokens + key % kKvBlockTokens) * a.head_dim + d);
    }
  }
  for (int64_t d = 0; d < a.head_dim; ++d) {
    a.out[token * a.out_stride + head * a.head_dim + d] = static_cast<float>(out[static_cast<size_t>(d)] / total);
  }
}

void attention(const AttentionArgs& a, int64_t begin, int64_t end) noexcept {
  const int64_t group = a.n_heads / a.n_kv_heads;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t first = item / a.n_kv_heads * kAttentionTile;
    for (int64_t token = first; token < std::min(first + kAttentionTile, a.n_tokens); ++token) {
      for (int64_t h = 0; h < group; ++h) attend(a, token, item % a.n_kv_heads * group + h);
    }
  }
}

// --- rows ---

const char* why_not_int8(const Problem& p) {
  if (!p.fast || is_float(p.weight.element)) return "float activations are asked for";
  if (p.weight.act.code != ActScheme::Code::none) return "the format quantizes activations itself";
  const int64_t group = group_along_row(p.weight.grouping, p.k);
  if (group % kBlockK != 0 && group != 16 && group < p.k) return "groups that are not whole blocks of 32";
  return p.weight.factor == 1.0f ? nullptr : "a constant factor";
}
const char* why_not_bf16(const Problem& p) {
  if (!p.fast) return "float activations are asked for";
  return p.weight.element == Element::bf16 ? nullptr : "weights that are not bfloat16";
}
const char* why_not_int8_token(const Problem& p) {
  if (!p.fast) return "float activations are asked for";
  return p.weight.act.code == ActScheme::Code::int8 ? nullptr : "the format does not quantize activations per token";
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
    {.op = Op::rms_norm, .name = "rms_norm", .cost = 10, .why_not = always, .run = {.rms_norm = rms_norm}},
    {.op = Op::silu_mul, .name = "silu_mul", .cost = 10, .why_not = always, .run = {.silu_mul = silu_mul}},
    {.op = Op::attention, .name = "attention", .cost = 10, .why_not = always, .run = {.attention = attention}},
};

}  // namespace

extern constexpr KernelSet kRef{.name = "ref", .needs = 0, .rows = kRows, .n_rows = sizeof kRows / sizeof(Kernel)};

}  // namespace packhorse
