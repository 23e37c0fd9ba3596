#include "codec/tables.h"

#include <array>

namespace packhorse {
namespace {

using Values = std::array<float, 16>;

constexpr int nearest(double v) { return static_cast<int>(v < 0 ? v - 0.5 : v + 0.5); }

/// Adds the integers that come closest to the values. Any set of rounded values has its best step in closed form, so it
/// is enough to walk through the sets that rounding to |n| <= 127 can give for values in [-1, 1].
constexpr CodeTable make_table(const char* name, const Values& values) {
  CodeTable table{name, {}, {}, 0};
  for (int i = 0; i < 16; ++i) table.values[i] = values[i];
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

}  // namespace

constinit const CodeTable kNf4 = make_table("nf4", kNf4Values);
constinit const CodeTable kFp4 = make_table("fp4", kFp4Values);

}  // namespace packhorse
