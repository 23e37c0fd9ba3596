// Quantization of activations, RMS norm, SiLU and attention of every set against ref, and against themselves in other
// splits.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/half.h"
#include "codec/kv_codes.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/packed_weight.h"

namespace packhorse {
namespace {

std::vector<float> normal(size_t n, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0, scale);
  std::vector<float> out(n);
  for (float& v : out) v = distribution(random);
  return out;
}

/// Largest difference relative to the largest magnitude: the one metric of these tests.
double worst_relative(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 1e-30, worst = 0;
  for (const float v : a) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::fabs(static_cast<double>(a[i]) - b[i]) <= worst)) worst = std::fabs(static_cast<double>(a[i]) - b[i]);
  }
  return worst / largest;
}

class Set : public ::testing::TestWithParam<const KernelSet*> {
 protected:
  const Kernel& row(Op op, int64_t head_dim = 64) const {
    return *KernelSelector(GetParam()->name).choose({.op = op, .head_dim = head_dim}, "test").kernel;
  }
  static const Kernel& ref(Op op) { return *KernelSelector("ref").choose({.op = op}, "test").kernel; }
};

TEST_P(Set, quantizes_blocks_as_ref) {
  const int64_t m = 5, k = 200, stride = padded_k(k);
  std::vector<float> x = normal(static_cast<size_t>(m * k), 1, 3);
  std::fill_n(x.begin() + 32, 32, 0.0f);                                      // a block of zeros
  std::fill_n(x.begin() + 64, 32, std::numeric_limits<float>::denorm_min());  // one whose inverse would overflow
  x[static_cast<size_t>(k)] = 0.5f * 3.0f / 127;                              // near a tie
  struct Out {
    std::vector<int8_t> q;
    std::vector<ActBlock> blocks;
    std::vector<float> f32;
  };
  const auto run = [&](const Kernel& kernel) {
    const auto n_blocks = static_cast<size_t>(act_block_count(m, stride / kBlockK));
    Out out{std::vector<int8_t>(n_blocks * kBlockK), std::vector<ActBlock>(n_blocks),
            std::vector<float>(static_cast<size_t>(m * stride), -1.0f)};
    kernel.run.quantize_act({.x = x.data(),
                             .x_stride = k,
                             .k = k,
                             .stride = stride,
                             .f32 = out.f32.data(),
                             .q = out.q.data(),
                             .blocks = out.blocks.data()},
                            0, m);
    return out;
  };
  const Out want = run(ref(Op::quantize_act)), got = run(row(Op::quantize_act));
  EXPECT_EQ(want.q, got.q);
  EXPECT_EQ(want.f32, got.f32);
  for (size_t i = 0; i < want.blocks.size(); ++i) {
    EXPECT_EQ(want.blocks[i].scale, got.blocks[i].scale) << i;
    EXPECT_EQ(want.blocks[i].sum, got.blocks[i].sum) << i;
    EXPECT_EQ(want.blocks[i].isum[0], got.blocks[i].isum[0]) << i;
    EXPECT_EQ(want.blocks[i].isum[1], got.blocks[i].isum[1]) << i;
    EXPECT_EQ(want.blocks[i].isum[2], got.blocks[i].isum[2]) << i;
  }
}

/// Every kind of scheme that some format has.
const std::vector<ActScheme>& schemes() {
  using Code = ActScheme::Code;
  using Scale = ActScheme::Scale;
  static const std::vector<ActScheme> all = {
      {},
      {.code = Code::int8, .scale = Scale::fixed},
      {.code = Code::int8, .divisor = 127.5f},
      {.code = Code::int8, .divisor = 127.5f, .smallest = 0x1p-23f},
      {.code = Code::int8, .symmetric = false, .divisor = 255},
      {.code = Code::int8, .group = 32, .divisor = 127},
      {.code = Code::int4, .divisor = 7},
      {.code = Code::fp8, .scale = Scale::fixed},
      {.code = Code::fp8, .divisor = 448},
      {.code = Code::fp8, .divisor = 448, .limit = 2},
      {.code = Code::fp8, .group = 128, .divisor = 448},
      {.code = Code::fp8, .scale = Scale::power_ceil, .group = 32, .divisor = 448},
      {.code = Code::fp8, .scale = Scale::power_even, .group = 32, .shift = 8},
      {.code = Code::fp8_e5m2, .divisor = 57344},
      {.code = Code::e2m1, .scale = Scale::power_floor, .group = 32, .shift = 2},
      {.code = Code::e2m1, .scale = Scale::power_even, .group = 32, .shift = 2},
      {.code = Code::e2m1, .scale = Scale::nvfp4, .group = 16, .divisor = 6},
  };
  return all;
}

TEST_P(Set, rounds_activations_as_ref) {
  const int64_t m = 3, k = 205;  // no multiple of any group
  std::vector<float> x = normal(static_cast<size_t>(m * k), 7, 3);
  std::fill_n(x.begin() + 32, 32, 0.0f);
  std::fill_n(x.begin() + k, k, 0.0f);                                                              // a token of zeros
  for (int i = 0; i < 64; ++i) x[static_cast<size_t>(2 * k + i)] = static_cast<float>(i - 20) / 8;  // ties
  const std::vector<float> scale = normal(static_cast<size_t>(k), 8);
  std::vector<int32_t> order(static_cast<size_t>(k));
  for (int32_t i = 0; i < k; ++i) order[static_cast<size_t>(i)] = static_cast<int32_t>((i * 7 + 3) % k);
  for (size_t i = 0; i < schemes().size(); ++i) {
    for (const bool plain : {true, false}) {
      const auto run = [&](const Kernel& kernel) {
        std::vector<float> y(x.size(), -1.0f);
        kernel.run.round_act({.x = x.data(),
                              .y = y.data(),
                              .scale = plain ? nullptr : scale.data(),
                              .order = plain ? nullptr : order.data(),
                              .k = k,
                              .scheme = schemes()[i],
                              .act_scale = 0.0375f,
                              .act_zero = schemes()[i].code == ActScheme::Code::int8 ? -11 : 0},
                             0, m);
        return y;
      };
      EXPECT_EQ(run(ref(Op::round_act)), run(row(Op::round_act))) << "scheme " << i << (plain ? "" : ", transformed");
    }
  }
}

// Codes and scales of the format itself, where its numbers are multiples of one step within a block of 32.
TEST_P(Set, quantizes_what_a_format_rounded_to_its_own_codes) {
  const int64_t m = 3, k = 200, stride = padded_k(k);
  const std::vector<float> x = normal(static_cast<size_t>(m * k), 7, 3);
  for (size_t i = 0; i < schemes().size(); ++i) {
    RoundActArgs round{.k = k, .scheme = schemes()[i], .act_scale = 0.0875f};
    std::vector<float> y(x.size()), steps(static_cast<size_t>(m * round.n_groups()), -1.0f), other_steps(steps);
    round.x = x.data(), round.y = y.data(), round.steps = steps.data();
    ref(Op::round_act).run.round_act(round, 0, m);
    std::vector<float> other(x.size());
    round.y = other.data(), round.steps = other_steps.data();
    row(Op::round_act).run.round_act(round, 0, m);
    if (round.scheme.code == ActScheme::Code::none) {
      std::ranges::fill(steps, 0.0f);
    } else {
      EXPECT_EQ(steps, other_steps) << "scheme " << i;
    }
    const auto n_blocks = static_cast<size_t>(act_block_count(m, stride / kBlockK));
    std::vector<float> padded(static_cast<size_t>(m * stride));
    const auto quantized = [&](const Kernel& kernel) {
      std::pair<std::vector<int8_t>, std::vector<ActBlock>> out{n_blocks * kBlockK, n_blocks};
      kernel.run.quantize_act({.x = y.data(),
                               .x_stride = k,
                               .k = k,
                               .stride = stride,
                               .f32 = padded.data(),
                               .q = out.first.data(),
                               .blocks = out.second.data(),
                               .steps = steps.data(),
                               .step_group = round.group()},
                              0, m);
      return out;
    };
    const auto [want_q, want] = quantized(ref(Op::quantize_act));
    const auto [q, blocks] = quantized(row(Op::quantize_act));
    EXPECT_EQ(want_q, q) << "scheme " << i;
    for (int64_t t = 0; t < m; ++t) {
      for (int64_t column = 0; column < k; ++column) {
        const auto at = static_cast<size_t>(act_block_index(t, column / kBlockK, stride / kBlockK));
        EXPECT_EQ(want[at].scale, blocks[at].scale);
        const bool exact = round.scheme.symmetric && round.scheme.group != 16 &&
                           (round.scheme.code == ActScheme::Code::int4 || round.scheme.code == ActScheme::Code::e2m1 ||
                            round.scheme.scale == ActScheme::Scale::fixed) &&
                           round.scheme.code != ActScheme::Code::fp8;
        const float value = blocks[at].scale * q[at * kBlockK + static_cast<size_t>(column % kBlockK)];
        if (exact) {
          EXPECT_EQ(value, y[static_cast<size_t>(t * k + column)]) << "scheme " << i << " column " << column;
        }
      }
    }
  }
}

TEST_P(Set, rounds_to_bfloat16_to_nearest_even) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  // Bits below the 16 kept: 0x8000 is half a unit.
  const uint32_t cases[][2] = {{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80},
                               {0xbf818000, 0xbf82}, {0x7f7fffff, 0x7f80}, {0x00000000, 0},      {0x80000000, 0x8000}};
  std::vector<float> x;
  for (const auto& c : cases) x.push_back(std::bit_cast<float>(c[0]));
  x.push_back(inf), x.push_back(-inf), x.push_back(nan);
  while (x.size() < 37) x.push_back(1.5f);
  std::vector<uint16_t> got(64, 1);
  row(Op::quantize_act)
      .run.quantize_act({.x = x.data(), .x_stride = 37, .k = 37, .stride = 64, .bf16 = got.data()}, 0, 1);
  for (size_t i = 0; i < std::size(cases); ++i) EXPECT_EQ(got[i], cases[i][1]) << std::hex << cases[i][0];
  EXPECT_EQ(got[8], 0x7f80);
  EXPECT_EQ(got[9], 0xff80);
  EXPECT_TRUE(std::isnan(bf16_to_f32(got[10])));
  for (size_t i = 11; i < 37; ++i) EXPECT_EQ(got[i], 0x3fc0);
  for (size_t i = 37; i < 64; ++i) EXPECT_EQ(got[i], 0) << i;
}

// Codes and scales of LLM.int8()'s rule (formats: row maximum over what is below the threshold), worked out by hand.
TEST_P(Set, quantizes_tokens_with_outliers_apart) {
  const int64_t k = 4, stride = 32;
  const std::vector<float> x = {1, -8, 0.5f, 2, 0.25f, 0.5f, -1, 1};
  std::vector<float> f32(64), scale(2);
  std::vector<int8_t> q(64);
  std::vector<ActBlock> blocks(2);
  std::vector<Outlier> outliers(64);
  std::vector<int32_t> n_outliers(2);
  row(Op::quantize_act)
      .run.quantize_act({.x = x.data(),
                         .x_stride = k,
                         .k = k,
                         .stride = stride,
                         .f32 = f32.data(),
                         .q = q.data(),
                         .blocks = blocks.data(),
                         .token_max = scale.data(),
                         .outliers = outliers.data(),
                         .n_outliers = n_outliers.data(),
                         .outlier_threshold = 6},
                        0, 2);
  EXPECT_EQ(std::vector<int8_t>(q.begin(), q.begin() + 4), (std::vector<int8_t>{64, 0, 32, 127}));
  EXPECT_EQ(std::vector<int8_t>(q.begin() + 32, q.begin() + 36), (std::vector<int8_t>{32, 64, -127, 127}));
  EXPECT_EQ(scale, (std::vector<float>{2, 1}));
  EXPECT_EQ(n_outliers, (std::vector<int32_t>{1, 0}));
  EXPECT_EQ(outliers[0].k, 1);
  EXPECT_EQ(outliers[0].value, -8);
}

TEST_P(Set, a_value_that_is_not_finite_spoils_its_block_visibly) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> x(64, 1.0f), f32(64);
    x[40] = bad;
    std::vector<int8_t> q(256);
    std::vector<ActBlock> blocks(8);
    row(Op::quantize_act)
        .run.quantize_act(
            {.x = x.data(), .x_stride = 64, .k = 64, .stride = 64, .q = q.data(), .blocks = blocks.data()}, 0, 1);
    EXPECT_TRUE(std::isfinite(blocks[0].scale));
    EXPECT_FALSE(std::isfinite(blocks[act_block_index(0, 1, 2)].scale));
  }
}

TEST_P(Set, rms_norm_and_silu_match_ref) {
  for (const int64_t n : {576, 100, 7}) {
    const int64_t m = 3;
    const std::vector<float> x = normal(static_cast<size_t>(2 * m * n), 2, 4),
                             weight = normal(static_cast<size_t>(n), 3);
    std::vector<float> want(static_cast<size_t>(m * n)), got(want);
    ref(Op::rms_norm)
        .run.rms_norm({.x = x.data(), .weight = weight.data(), .y = want.data(), .n = n, .eps = 1e-5f}, 0, m);
    row(Op::rms_norm)
        .run.rms_norm({.x = x.data(), .weight = weight.data(), .y = got.data(), .n = n, .eps = 1e-5f}, 0, m);
    EXPECT_LT(worst_relative(want, got), 1e-6) << n;
    ref(Op::silu_mul).run.silu_mul({.gate_up = x.data(), .y = want.data(), .n = n}, 0, m);
    row(Op::silu_mul).run.silu_mul({.gate_up = x.data(), .y = got.data(), .n = n}, 0, m);
    EXPECT_LT(worst_relative(want, got), 1e-6) << n;
  }
}

TEST_P(Set, silu_holds_at_the_ends) {
  const std::vector<float> x = {-200, -88, 88, 200, 0, 1, 1, 1, 1, 1};
  std::vector<float> y(5);
  row(Op::silu_mul).run.silu_mul({.gate_up = x.data(), .y = y.data(), .n = 5}, 0, 1);
  EXPECT_NEAR(y[0], 0, 1e-30);
  EXPECT_NEAR(y[1], 0, 1e-30);
  EXPECT_EQ(y[2], 88);
  EXPECT_EQ(y[3], 200);
  EXPECT_EQ(y[4], 0);
}

/// A cache with random contents, its blocks in shuffled order and every slot past the sequence filled with NaN, or with
/// what its codes have instead.
struct Cache {
  std::vector<uint8_t> keys, values;
  std::vector<int32_t> table;
  int64_t block_stride;

  Cache(int64_t n_positions, int64_t kv_heads, int64_t head_dim, KvDType type)
      : block_stride(kv_half_block_bytes(type, kv_heads, head_dim)) {
    const int64_t n_blocks = (n_positions + 15) / 16, bytes = kv_code_bytes(type, head_dim);
    const int64_t unit = std::max<int64_t>(1, kv_bits(type) / 8);
    keys.resize(static_cast<size_t>(n_blocks * block_stride), 0xff), values = keys;
    for (int64_t b = 0; b < n_blocks; ++b) table.push_back(static_cast<int32_t>(n_blocks - 1 - b));
    const std::vector<float> random = normal(static_cast<size_t>(2 * n_positions * kv_heads * head_dim), 17);
    const float* next = random.data();
    std::vector<uint8_t> codes(static_cast<size_t>(bytes));
    for (int64_t p = 0; p < n_positions; ++p) {
      const int64_t base = table[static_cast<size_t>(p / 16)] * block_stride;
      for (int64_t head = 0; head < kv_heads; ++head) {
        for (std::vector<uint8_t>* half : {&keys, &values}) {
          const float own = encode_kv(type, next, head_dim, 1, codes.data());
          next += head_dim;
          for (int64_t i = 0; i < bytes; ++i) {
            const int64_t at = half == &keys ? (head * bytes / unit + i / unit) * 16 * unit + p % 16 * unit + i % unit
                                             : (head * 16 + p % 16) * bytes + i;
            (*half)[static_cast<size_t>(base + at)] = codes[static_cast<size_t>(i)];
          }
          if (kv_has_token_scales(type))
            std::memcpy(half->data() + base + kv_heads * bytes * 16 + (head * 16 + p % 16) * 4, &own, 4);
        }
      }
    }
  }
};

struct Shape {
  int64_t heads, kv_heads, head_dim, window;
};

std::vector<float> attend(const Kernel& kernel, const Cache& cache, const Shape& s, KvDType type, int64_t n_positions,
                          int64_t n_tokens, int64_t chunk) {
  const int64_t width = s.heads * s.head_dim, first = n_positions - n_tokens;
  const std::vector<float> q = normal(static_cast<size_t>(n_positions * width), 23);
  std::vector<float> out(static_cast<size_t>(n_tokens * width));
  const std::vector<float> scales = {0.5f, 1.25f, 3, 0.75f};
  const bool scaled = type == KvDType::fp8_e4m3;
  std::vector<float> scratch(static_cast<size_t>(attention_scratch_floats(s.heads / s.kv_heads, s.head_dim)));
  for (int64_t t = 0; t < n_tokens; t += chunk) {
    const int64_t count = std::min(chunk, n_tokens - t);
    const AttentionArgs args{.q = q.data() + (first + t) * width,
                             .out = out.data() + t * width,
                             .q_stride = width,
                             .out_stride = width,
                             .n_tokens = count,
                             .first_position = first + t,
                             .n_heads = s.heads,
                             .n_kv_heads = s.kv_heads,
                             .head_dim = s.head_dim,
                             .scale = 1 / std::sqrt(static_cast<float>(s.head_dim)),
                             .window = s.window,
                             .keys = cache.keys.data(),
                             .values = cache.values.data(),
                             .block_stride = cache.block_stride,
                             .block_table = cache.table.data(),
                             .dtype = type,
                             .key_scale = scaled ? scales.data() : nullptr,
                             .value_scale = scaled ? scales.data() + 1 : nullptr,
                             .scratch = scratch.data()};
    kernel.run.attention(args, 0, (count + kAttentionTile - 1) / kAttentionTile * s.kv_heads);
  }
  return out;
}

TEST_P(Set, attention_matches_ref_and_itself_in_any_chunks) {
  for (const Shape& s : {Shape{9, 3, 64, 0}, Shape{3, 3, 16, 0}, Shape{8, 1, 128, 0}, Shape{2, 1, 80, 0},
                         Shape{2, 2, 96, 0}, Shape{4, 2, 256, 40}, Shape{6, 2, 32, 20}}) {
    for (const KvDType type : {KvDType::f32, KvDType::f16, KvDType::bf16, KvDType::fp8_e4m3, KvDType::fp8_e5m2,
                               KvDType::fp8_token, KvDType::int8_token, KvDType::int4_token}) {
      for (const int64_t n_positions : {1, 17, 150}) {
        const Cache cache(n_positions, s.kv_heads, s.head_dim, type);
        const int64_t n_tokens = std::min<int64_t>(n_positions, 70);
        const std::vector<float> want = attend(ref(Op::attention), cache, s, type, n_positions, n_tokens, n_tokens);
        const std::vector<float> got =
            attend(row(Op::attention, s.head_dim), cache, s, type, n_positions, n_tokens, n_tokens);
        EXPECT_LT(worst_relative(want, got), 2e-6)
            << s.head_dim << " " << n_positions << " type " << static_cast<int>(type);
        for (const int64_t chunk : {1, 7})
          EXPECT_EQ(got, attend(row(Op::attention, s.head_dim), cache, s, type, n_positions, n_tokens, chunk)) << chunk;
      }
    }
  }
}

std::vector<const KernelSet*> usable_sets() {
  std::vector<const KernelSet*> out;
  for (const KernelSet* set : kernel_sets()) {
    if ((set->needs & ~cpu::features()) == 0 && std::string_view(set->name) != "ref") out.push_back(set);
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Every, Set, ::testing::ValuesIn(usable_sets()),
                         [](const auto& test) { return std::string(test.param->name); });

}  // namespace
}  // namespace packhorse
