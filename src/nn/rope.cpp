#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "nn/act.h"

namespace packhorse {
namespace {

constexpr double kMaxFactor = 1e6;

/// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between blended.
void scale_llama3(const Config& c, std::vector<double>& frequency) {
  const double factor = c.number("factor", 1, kMaxFactor);
  const double low = c.number_or("low_freq_factor", 1e-6, kMaxFactor, 1),
               high = c.number_or("high_freq_factor", 1e-6, kMaxFactor, 4);
  const double original = c.number("original_max_position_embeddings", 1, 1e9);
  for (double& f : frequency) {
    const double wavelength = 2 * std::numbers::pi / f;
    if (wavelength > original / low) {
      f /= factor;
    } else if (wavelength > original / high) {
      const double smooth = (original / wavelength - low) / (high - low);
      f = (1 - smooth) * f / factor + smooth * f;
    }
  }
}

/// YaRN (arXiv 2309.00071); returns the amplitude of cos and sin.
double scale_yarn(const Config& c, std::vector<double>& frequency, double base, int64_t dim, int64_t max_positions) {
  const double factor = c.number("factor", 1, kMaxFactor);
  const double original = c.number_or("original_max_position_embeddings", 1, 1e9, static_cast<double>(max_positions));
  const double fast = c.number_or("beta_fast", 0, kMaxFactor, 32), slow = c.number_or("beta_slow", 0, kMaxFactor, 1);
  const auto dimension_of = [&](double rotations) {
    return static_cast<double>(dim) * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(base));
  };
  double low = dimension_of(fast), high = dimension_of(slow);
  if (c.flag_or("truncate", true)) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequency.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequency[i] = frequency[i] / factor * ramp + frequency[i] * (1 - ramp);
  }
  const auto mscale = [&](double m) { return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1.0; };
  if (c.has("attention_factor")) return c.number("attention_factor", 0, kMaxFactor);
  const double m = c.number_or("mscale", 0, kMaxFactor, 0), all = c.number_or("mscale_all_dim", 0, kMaxFactor, 0);
  return m != 0 && all != 0 ? mscale(m) / mscale(all) : mscale(1);
}

}  // namespace

Rope::Rope(const Config& config, int64_t rotary_dim, int64_t max_model_len, const std::vector<float>& divisors) {
  // Newer configs keep everything in rope_parameters, older ones rope_theta apart and rope_scaling with "type".
  auto scaling = config.section("rope_parameters");
  if (!scaling) scaling = config.section("rope_scaling");
  double base = config.number_or("rope_theta", 1e-3, 1e12, 10000);
  if (scaling) base = scaling->number_or("rope_theta", 1e-3, 1e12, base);
  const int64_t max_positions = config.size_or("max_position_embeddings", 1, int64_t{1} << 40, max_model_len);
  const std::string type = scaling ? scaling->text_or("rope_type", scaling->text_or("type", "default")) : "default";
  if (type == "dynamic") {
    const double factor = scaling->number("factor", 1, kMaxFactor),
                 length = static_cast<double>(std::max(max_model_len, max_positions));
    const double stretch = factor * length / static_cast<double>(max_positions) - (factor - 1);
    base *= std::pow(stretch, static_cast<double>(rotary_dim) / static_cast<double>(rotary_dim - 2));
  }
  for (int64_t i = 0; i < rotary_dim / 2; ++i) {
    frequency_.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim)));
  }
  if (!divisors.empty()) {
    if (divisors.size() != frequency_.size())
      fail_model("rope_freqs: {} factors for {} frequencies", divisors.size(), frequency_.size());
    for (size_t i = 0; i < frequency_.size(); ++i) {
      if (!(divisors[i] > 0) || !std::isfinite(divisors[i])) fail_model("rope_freqs: factor {} is {}", i, divisors[i]);
      frequency_[i] /= divisors[i];
    }
  } else if (type == "linear") {
    for (double& f : frequency_) f /= scaling->number("factor", 1e-6, kMaxFactor);
  } else if (type == "llama3") {
    scale_llama3(*scaling, frequency_);
  } else if (type == "yarn") {
    amplitude_ = scale_yarn(*scaling, frequency_, base, rotary_dim, max_positions);
  } else if (type != "default" && type != "dynamic" && type != "none") {
    fail_model("{}: unknown scaling '{}' (default, linear, dynamic, llama3, yarn)", scaling->where("rope_type"),
               printable(type));
  }
}

Rope::Table Rope::table(const Batch& batch, ForwardCtx& ctx) const {
  const auto half = static_cast<int64_t>(frequency_.size()), m = static_cast<int64_t>(batch.tokens.size());
  float* cos = ctx.workspace.allocate<float>(m * half);
  float* sin = ctx.workspace.allocate<float>(m * half);
  for (const SequenceSpan& span : batch.spans) {
    for_tokens(ctx.pool, span.n_tokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t i = 0; i < half; ++i) {
          // Hugging Face multiplies in float32; the product's rounding shows at long positions.
          const float angle =
              static_cast<float>(span.first_position + t) * static_cast<float>(frequency_[static_cast<size_t>(i)]);
          cos[(span.first_token + t) * half + i] =
              static_cast<float>(std::cos(static_cast<double>(angle)) * amplitude_);
          sin[(span.first_token + t) * half + i] =
              static_cast<float>(std::sin(static_cast<double>(angle)) * amplitude_);
        }
      }
    });
  }
  return {cos, sin, half};
}

void Rope::rotate(const Table& table, float* x, int64_t m, int64_t stride, int64_t n_heads, int64_t head_dim,
                  ForwardCtx& ctx) {
  const int64_t half = table.half;
  for_tokens(ctx.pool, m, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* cos = table.cos + t * half;
      const float* sin = table.sin + t * half;
      for (int64_t h = 0; h < n_heads; ++h) {
        float* a = x + t * stride + h * head_dim;
        float* b = a + half;
        for (int64_t i = 0; i < half; ++i) {
          const float u = a[i], v = b[i];
          a[i] = u * cos[i] - v * sin[i];
          b[i] = v * cos[i] + u * sin[i];
        }
      }
    }
  });
}

}  // namespace packhorse
