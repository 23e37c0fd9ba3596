#include "codec/tables.h"

#include <algorithm>
#include <array>

namespace packhorse {
namespace {

using Values = std::array<float, 16>;

constexpr int nearest(double v) { return static_cast<int>(v < 0 ? v - 0.5 : v + 0.5); }

/// The integers of values that are multiples |n| <= 127 of one step; false when there is no such step.
constexpr bool set_exact(CodeTable& table, double largest) {
  for (int n_largest = 1; n_largest <= 127; ++n_largest) {
    const auto step = static_cast<float>(largest / n_largest);
    bool exact = true;
    for (int i = 0; i < 16; ++i) {
      const int n = nearest(table.values[i] / step);
      exact = exact && static_cast<double>(table.values[i]) == static_cast<double>(step) * n;
      table.approx[i] = static_cast<int8_t>(n);
    }
    table.approx_step = step;
    if (exact) return true;
  }
  return false;
}

/// Adds the integers that come closest to the values: exact ones where there are any. For other values, in [-1, 1], any
/// set of rounded values has its best step in closed form, so it is enough to walk through the sets that rounding to
/// |n| <= 127 can give.
constexpr CodeTable make_table(const char* name, const Values& values) {
  CodeTable table{name, {}, {}, 0};
  double largest = 0;
  for (int i = 0; i < 16; ++i) {
    table.values[i] = values[i];
    largest = std::max(largest, values[i] < 0 ? -static_cast<double>(values[i]) : static_cast<double>(values[i]));
  }
  if (set_exact(table, largest)) return table;
  double least = 1e9;
  for (double inverse_step = 127.49; inverse_step > 64; inverse_step -= 0.125) {
    double dot = 0, square = 0, error = 0;
    int codes[16] = {};
    for (int i = 0; i < 16; ++i) {
      codes[i] = nearest(values[i] * inverse_step);
      dot += static_cast<double>(values[i]) * codes[i];
      square += static_cast<double>(codes[i]) * codes[i];
    }
    const double step = dot / square;
    for (int i = 0; i < 16; ++i) {
      const double miss = values[i] - step * codes[i];
      error += miss * miss;
    }
    if (error >= least) continue;
    least = error;
    for (int i = 0; i < 16; ++i) table.approx[i] = static_cast<int8_t>(codes[i]);
    table.approx_step = static_cast<float>(step);
  }
  return table;
}

// Shortest decimals that give the exact float32 values.
constexpr Values kNf4Values{-1.0f,         -0.6961928f, -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f,
                            -0.091050036f, 0.0f,        0.0795803f,   0.1609302f,  0.2461123f,   0.33791524f,
                            0.44070983f,   0.562617f,   0.72295684f,  1.0f};

constexpr Values kFp4Values{0.0f, 0.0625f / 12,  8.0f / 12,  1.0f,  4.0f / 12,  0.5f,  2.0f / 12,  0.25f,
                            0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -0.5f, -2.0f / 12, -0.25f};

constexpr Values kE2M1Values{0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6};

constexpr Values kPowersValues{0, 0.015625f,  0.03125f,  0.0625f,  0.125f,  0.25f,  0.5f,  1,
                               0, -0.015625f, -0.03125f, -0.0625f, -0.125f, -0.25f, -0.5f, -1};

constexpr Values kIq4NlValues{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

}  // namespace

constinit const CodeTable kNf4 = make_table("nf4", kNf4Values);
constinit const CodeTable kFp4 = make_table("fp4", kFp4Values);
constinit const CodeTable kE2M1 = make_table("e2m1", kE2M1Values);
constinit const CodeTable kFp4Powers = make_table("fp4 powers", kPowersValues);
constinit const CodeTable kIq4Nl = make_table("iq4_nl", kIq4NlValues);
constinit const CodeTable kSign = make_table("sign", {-1, 1});

}  // namespace packhorse
