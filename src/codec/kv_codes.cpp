#include "codec/kv_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"

namespace packhorse {
namespace {

/// Below it a scale's inverse would overflow, and such keys and values are nothing beside others.
constexpr float kSmallestScale = 1e-30f;

/// The nearest whole number of |x| < 2^22, ties to even: an addition that compilers vectorize.
float nearest(float x) {
  constexpr float kShift = 0x1.8p23f;
  return (x + kShift) - kShift;
}

struct Range {
  float low = 0, high = 0;  // at most 0, at least 0
  float bad = 0;            // NaN when a number is not finite
};

Range range_of(const float* x, int64_t n) {
  Range range;
  for (int64_t i = 0; i < n; ++i) {
    range.low = std::min(range.low, x[i]);
    range.high = std::max(range.high, x[i]);
    range.bad += x[i] * 0.0f;
  }
  return range;
}

float token_scale(const Range& range, float largest_code) {
  return std::max(std::max(-range.low, range.high) / largest_code, kSmallestScale) + range.bad;
}

float encode_int8(const float* x, int64_t n, uint8_t* codes) {
  const float scale = token_scale(range_of(x, n), 127);
  if (scale != scale) {
    std::fill_n(codes, n, uint8_t{0});
    return scale;
  }
  for (int64_t i = 0; i < n; ++i) codes[i] = static_cast<uint8_t>(static_cast<int32_t>(nearest(x[i] / scale)));
  return scale;
}

float encode_int4(const float* x, int64_t n, uint8_t* codes) {
  const Range range = range_of(x, n);
  float scale = std::max((range.high - range.low) / 15, kSmallestScale) + range.bad;
  uint32_t bits;
  std::memcpy(&bits, &scale, 4);
  bits &= ~15u;  // the codes are those of the scale that a reader sees
  std::memcpy(&scale, &bits, 4);
  if (scale != scale) {
    std::fill_n(codes, n / 2, uint8_t{0});
    return scale;
  }
  const float zero = std::min(nearest(-range.low / scale), 15.0f);
  const auto code = [&](float v) { return static_cast<uint32_t>(std::clamp(nearest(v / scale) + zero, 0.0f, 15.0f)); };
  for (int64_t i = 0; i < n / 2; ++i) codes[i] = static_cast<uint8_t>(code(x[2 * i]) | code(x[2 * i + 1]) << 4);
  bits |= static_cast<uint32_t>(zero);
  std::memcpy(&scale, &bits, 4);
  return scale;
}

/// (a, b) becomes (a + b, a - b); through copies, which compilers turn into vectors.
template <int N>
void butterfly(float* a, float* b) {
  float sum[N], difference[N];
  for (int i = 0; i < N; ++i) sum[i] = a[i] + b[i];
  for (int i = 0; i < N; ++i) difference[i] = a[i] - b[i];
  std::memcpy(a, sum, sizeof sum);
  std::memcpy(b, difference, sizeof difference);
}

template <class Code, class F>
void encode_each(const float* x, int64_t n, float scale, uint8_t* codes, F f) {
  for (int64_t i = 0; i < n; ++i) {
    const Code code = f(scale == 1 ? x[i] : x[i] / scale);
    std::memcpy(codes + i * static_cast<int64_t>(sizeof code), &code, sizeof code);
  }
}

}  // namespace

float encode_kv(KvDType type, const float* x, int64_t n, float scale, uint8_t* codes) {
  switch (type) {
    case KvDType::f32:
      encode_each<float>(x, n, scale, codes, [](float v) { return v; });
      return 1;
    case KvDType::f16:
      encode_each<uint16_t>(x, n, scale, codes, f32_to_f16);
      return 1;
    case KvDType::bf16:
      encode_each<uint16_t>(x, n, scale, codes, f32_to_bf16);
      return 1;
    case KvDType::fp8_e4m3:
      encode_each<uint8_t>(x, n, scale, codes, f32_to_e4m3);
      return 1;
    case KvDType::fp8_e5m2:
      encode_each<uint8_t>(x, n, scale, codes, f32_to_e5m2);
      return 1;
    case KvDType::fp8_token: {
      const float own = token_scale(range_of(x, n), 448);
      encode_each<uint8_t>(x, n, own, codes, f32_to_e4m3);
      return own;
    }
    case KvDType::int8_token:
      return encode_int8(x, n, codes);
    case KvDType::int4_token:
      return encode_int4(x, n, codes);
  }
  return 1;
}

float kv_code_value(KvDType type, const uint8_t* codes, int64_t i) {
  switch (type) {
    case KvDType::f32: {
      float value;
      std::memcpy(&value, codes + 4 * i, 4);
      return value;
    }
    case KvDType::f16:
    case KvDType::bf16: {
      uint16_t bits;
      std::memcpy(&bits, codes + 2 * i, 2);
      return type == KvDType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
    }
    case KvDType::fp8_e4m3:
    case KvDType::fp8_token:
      return e4m3_to_f32(codes[i]);
    case KvDType::fp8_e5m2:
      return e5m2_to_f32(codes[i]);
    case KvDType::int8_token:
      return static_cast<float>(static_cast<int8_t>(codes[i]));
    case KvDType::int4_token:
      return static_cast<float>(codes[i / 2] >> (i % 2 * 4) & 15);
  }
  return 0;
}

void hadamard(float* x, int64_t head_dim) {
  const int64_t block = hadamard_block(head_dim);
  for (int64_t step = 1; step < block; step *= 2) {
    for (int64_t begin = 0; begin < head_dim; begin += 2 * step) {
      for (int64_t i = begin; i < begin + step; i += step < 4 ? 1 : 4) {
        if (step < 4)
          butterfly<1>(x + i, x + i + step);
        else
          butterfly<4>(x + i, x + i + step);
      }
    }
  }
}

}  // namespace packhorse
