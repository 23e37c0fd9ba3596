#pragma once
// What the tests of GPTQ, AWQ, Marlin and AutoRound share: matrices of integer codes, written bit by bit.

#include <gmock/gmock.h>

#include <random>

#include "base/half.h"
#include "fixture_rows.h"

namespace packhorse::testing {

/// Random codes [n, k] with zero points and scales [n, groups].
struct Affine {
  int bits = 4;
  int64_t n = 0, k = 0, group = 0;  // 0 = one group
  std::vector<int> groups = {};     // of each column; empty = column / group
  std::vector<int> codes = {}, zeros = {};
  std::vector<float> scales = {};  // float16 numbers

  int64_t n_groups() const { return group ? (k + group - 1) / group : 1; }
  int64_t group_of(int64_t column) const {
    if (!groups.empty()) return groups[static_cast<size_t>(column)];
    return group ? column / group : 0;
  }
  int code(int64_t row, int64_t column) const { return codes[static_cast<size_t>(row * k + column)]; }
  int zero(int64_t row, int64_t g) const { return zeros[static_cast<size_t>(row * n_groups() + g)]; }
  float scale(int64_t row, int64_t g) const { return scales[static_cast<size_t>(row * n_groups() + g)]; }
  std::vector<float> values() const {
    std::vector<float> out;
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < k; ++c)
        out.push_back(static_cast<float>(code(r, c) - zero(r, group_of(c))) * scale(r, group_of(c)));
    }
    return out;
  }
  /// Scales as float16 [n_groups, n], or [n, n_groups].
  std::vector<uint16_t> halves(bool by_rows = false) const {
    std::vector<uint16_t> out;
    for (int64_t i = 0; i < n * n_groups(); ++i)
      out.push_back(f32_to_f16(by_rows ? scale(i / n_groups(), i % n_groups()) : scale(i % n, i / n)));
    return out;
  }
};

/// Fills in codes, zero points (2^(bits - 1) when symmetric) and scales, a third of them negative.
inline Affine random_affine(Affine out, bool symmetric = false) {
  std::mt19937 random(static_cast<uint32_t>(out.bits * 100 + out.n * 7 + out.k));
  const unsigned limit = 1u << out.bits;
  for (int64_t i = 0; i < out.n * out.k; ++i) out.codes.push_back(static_cast<int>(random() % limit));
  for (int64_t i = 0; i < out.n * out.n_groups(); ++i) {
    out.zeros.push_back(static_cast<int>(symmetric ? limit / 2 : random() % limit));
    const float magnitude = static_cast<float>(random() % 1000 + 1) / 512;
    out.scales.push_back(f16_to_f32(f32_to_f16(random() % 3 ? magnitude : -magnitude)));
  }
  return out;
}

/// Sets bits of a field that begins at bit `place` of words in little-endian order.
inline void put_bits(std::vector<uint32_t>& words, int64_t place, int bits, int value) {
  for (int bit = 0; bit < bits; ++bit, ++place)
    words[static_cast<size_t>(place / 32)] |= static_cast<uint32_t>(value >> bit & 1) << (place % 32);
}

/// Opens a folder whose settings have one more member, in the order of this text.
inline CheckpointView open_with(const TensorWriter& tensors, const TempDir& dir, Json settings, const std::string& key,
                                const std::string& text) {
  settings.erase(key);
  tensors.write(dir, {});
  write_text(dir.file("config.json"),
             fmt::format(R"({{"quantization_config": {{"{}": {}, {}}})", key, text, settings.dump().substr(1)));
  return open_checkpoint(dir.path().string());
}

inline void expect_values(const WeightPlan& plan, const std::vector<float>& values) {
  EXPECT_EQ(worst_ulps(in_file_order(plan, decoded_rows(plan, 0, plan.n)), values), 0)
      << plan.name << ": " << describe(plan.encoding);
  expect_any_read_order(plan);
}

/// quantization=`method` and nothing else.
inline QuantizationRequest named(const std::string& method) {
  QuantizationRequest request;
  request.method = method;
  return request;
}

}  // namespace packhorse::testing
