// Q2_K, Q4_K, Q5_K: blocks of 256 in groups of 16 or 32, codes 0..kTop, value = code * scale - min. Each group gets the
// scale and min of least weighted error that a search around the obvious ones finds; then whole numbers up to kSubTop
// and two super scales stand for them, and the codes are taken anew with those.

#include <algorithm>
#include <cmath>

#include "codec/gguf_encode.h"
#include "codec/gguf_lanes.h"

namespace packhorse {
namespace {

using namespace gguf_lanes;

constexpr int kBlock = 256;

struct Q2_K {
  static constexpr int kSize = 16, kTop = 3, kSubTop = 15, kSteps = 15;
  static constexpr float kFirstStep = -0.5f;
  static FloatLanes error(FloatLanes difference) { return magnitude(difference); }
  static FloatLanes base_weight(const FourGroups<kSize>&) { return all(0); }
};

/// Weights and errors of Q4_K and Q5_K.
struct Squares {
  static constexpr int kSize = 32, kSubTop = 63;
  static FloatLanes error(FloatLanes difference) { return difference * difference; }
  static FloatLanes base_weight(const FourGroups<kSize>& groups) {
    FloatLanes sum{};
    for (const FloatLanes x : groups.x) sum += x * x;
    sum /= 32.0f;
    return FloatLanes{std::sqrt(sum[0]), std::sqrt(sum[1]), std::sqrt(sum[2]), std::sqrt(sum[3])};
  }
};
struct Q4_K : Squares {
  static constexpr int kTop = 15, kSteps = 20;
  static constexpr float kFirstStep = -1;
};
struct Q5_K : Squares {
  static constexpr int kTop = 31, kSteps = 15;
  static constexpr float kFirstStep = -0.5f;
};

/// Four groups, their weights, and the best scales and mins so far; mins are 0 or below.
template <class Type>
class RangeSearch {
 public:
  explicit RangeSearch(const float* from) : groups_(from) {
    const FloatLanes base = Type::base_weight(groups_);
    low_ = high_ = groups_.x[0];
    for (int i = 0; i < Type::kSize; ++i) {
      const FloatLanes x = groups_.x[i], w = base + magnitude(x);
      weights_[i] = w;
      low_ = select(x < low_, x, low_);
      high_ = select(x > high_, x, high_);
      sum_w_ = i ? sum_w_ + w : w;
      sum_x_ = i ? sum_x_ + w * x : w * x;
    }
    low_ = select(low_ > all(0), all(0), low_);
    is_flat_ = high_ == low_;
    const FloatLanes inverse = static_cast<float>(Type::kTop) / (high_ - low_);
    fit_ = {1.0f / inverse, low_, inverse, low_};
    take_codes(inverse, low_);
    error_ = error_of(fit_.scale, low_);
  }

  void run() {
    for (int step = 0; step <= Type::kSteps; ++step)
      try_inverse((Type::kFirstStep + 0.1f * static_cast<float>(step) + Type::kTop) / (high_ - fit_.min));
  }

  /// Scale and min of each group, the latter as what is subtracted, and the codes of the search.
  void finish(float* scale, float* min, uint8_t* codes) {
    store_groups(select(is_flat_, all(0), fit_.scale), scale);
    store_groups(-fit_.min, min);
    take_codes(select(is_flat_, all(0), fit_.inverse), fit_.origin);
    store_codes(codes_, codes);
  }

 private:
  void take_codes(FloatLanes inverse, FloatLanes origin) {
    for (int i = 0; i < Type::kSize; ++i) codes_[i] = clamp(nearest(inverse * (groups_.x[i] - origin)), 0, Type::kTop);
  }

  FloatLanes error_of(FloatLanes scale, FloatLanes min) const {
    FloatLanes error{};
    for (int i = 0; i < Type::kSize; ++i) error += weights_[i] * Type::error(scale * codes_[i] + min - groups_.x[i]);
    return error;
  }

  /// The least-squares line through the codes of this inverse scale; kept where it is better.
  void try_inverse(FloatLanes inverse) {
    FloatLanes sum_l{}, sum_l2{}, sum_xl{};
    for (int i = 0; i < Type::kSize; ++i) {
      const FloatLanes code = clamp(nearest(inverse * (groups_.x[i] - fit_.min)), 0, Type::kTop);
      codes_[i] = code;
      const FloatLanes weighted = weights_[i] * code;
      sum_l += weighted;
      sum_l2 += weighted * code;
      sum_xl += weighted * groups_.x[i];
    }
    const FloatLanes determinant = sum_w_ * sum_l2 - sum_l * sum_l;
    FloatLanes scale = (sum_w_ * sum_xl - sum_x_ * sum_l) / determinant;
    FloatLanes min = (sum_l2 * sum_x_ - sum_l * sum_xl) / determinant;
    const IntLanes is_above = min > all(0);
    scale = select(is_above, sum_xl / sum_l2, scale);
    min = select(is_above, all(0), min);
    const FloatLanes error = error_of(scale, min);
    const IntLanes is_better = (determinant > all(0)) & (error < error_);
    error_ = select(is_better, error, error_);
    fit_.origin = select(is_better, fit_.min, fit_.origin);
    fit_.inverse = select(is_better, inverse, fit_.inverse);
    fit_.scale = select(is_better, scale, fit_.scale);
    fit_.min = select(is_better, min, fit_.min);
  }

  FourGroups<Type::kSize> groups_;
  FloatLanes weights_[Type::kSize], codes_[Type::kSize];
  FloatLanes low_, high_, sum_w_, sum_x_, error_;
  IntLanes is_flat_;
  struct {
    FloatLanes scale, min, inverse, origin;
  } fit_;
};

/// The whole number that stands for a scale or min in units of its super scale.
uint8_t sub_code(float value, int top) {
  return std::min(static_cast<uint8_t>(nearest(value)), static_cast<uint8_t>(top));
}

template <class Type>
void encode_ranges(std::span<const float> row, const GgufTarget& out) {
  constexpr int kSize = Type::kSize, kGroups = kBlock / kSize, kSubTop = Type::kSubTop;
  for (size_t b = 0; b < row.size() / kBlock; ++b) {
    const float* const x = row.data() + b * kBlock;
    uint8_t* const codes = out.codes + b * kBlock;
    float scales[kGroups], mins[kGroups];
    for (int g = 0; g < kGroups; g += static_cast<int>(kLanes)) {
      RangeSearch<Type> search(x + g * kSize);
      search.run();
      search.finish(scales + g, mins + g, codes + g * kSize);
    }
    const float max_scale = std::max(0.0f, *std::max_element(scales, scales + kGroups));
    const float max_min = std::max(0.0f, *std::max_element(mins, mins + kGroups));
    const float inverse_scale = max_scale > 0 ? kSubTop / max_scale : 0.0f;
    const float inverse_min = max_min > 0 ? kSubTop / max_min : 0.0f;
    const float super_scale = stored(max_scale / kSubTop), super_min = stored(max_min / kSubTop);
    out.super_scale[b] = super_scale;
    out.super_min[b] = -super_min;
    for (int g = 0; g < kGroups; ++g) {
      const float sub_scale = sub_code(inverse_scale * scales[g], kSubTop);
      const float sub_min = sub_code(inverse_min * mins[g], kSubTop);
      out.scale[b * kGroups + static_cast<size_t>(g)] = sub_scale;
      out.min[b * kGroups + static_cast<size_t>(g)] = sub_min;
      const float scale = super_scale * sub_scale;  // codes of a scale that became 0 stay those of the search
      if (scale != 0)
        divide_to_codes<kSize>(x + g * kSize, super_min * sub_min, scale, 0, Type::kTop, codes + g * kSize);
    }
  }
}

}  // namespace

void encode_q2_k(std::span<const float> row, const GgufTarget& out) { encode_ranges<Q2_K>(row, out); }
void encode_q4_k(std::span<const float> row, const GgufTarget& out) { encode_ranges<Q4_K>(row, out); }
void encode_q5_k(std::span<const float> row, const GgufTarget& out) { encode_ranges<Q5_K>(row, out); }

}  // namespace packhorse
