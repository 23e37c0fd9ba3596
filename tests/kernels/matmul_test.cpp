// Every matmul row of every set that this CPU has, on every encoding it takes and on awkward shapes, equals ref/ bit
// for bit; so do its schedules for one and for many tokens. The cases come from the tables.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "base/error.h"
#include "base/half.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/encodings.h"
#include "kernels/packed_weight.h"

namespace packhorse {
namespace {

using testing::affine;
using testing::encodings;
using testing::NamedEncoding;
using testing::table;

// Every instruction counts several times there.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kTokens[] = {1, 7, 34};
constexpr int64_t kWidths[] = {72, 2880};
#else
constexpr int64_t kTokens[] = {1, 7, 32, 129};
constexpr int64_t kWidths[] = {72, 576, 2880, 11008};
#endif
constexpr int64_t kMostTokens = std::end(kTokens)[-1];

/// A random weight with every code and with scales of both signs, as a plan.
WeightPlan random_plan(const Encoding& e, int64_t n, int64_t k, unsigned seed) {
  auto all = std::make_shared<RowBlock>();
  all->resize(e, 0, n, k);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  if (is_float(e.element)) {
    for (size_t i = 0; i < all->codes.size(); i += element_bytes(e.element)) {
      const float value = normal(random);
      const auto bits = std::bit_cast<uint32_t>(value);
      if (e.element == Element::f32) std::memcpy(&all->codes[i], &bits, 4);
      const uint16_t half = e.element == Element::bf16 ? static_cast<uint16_t>(bits >> 16)
                                                       : static_cast<uint16_t>(0x3000 | (bits & 0x83ff));
      if (e.element != Element::f32) std::memcpy(&all->codes[i], &half, 2);
    }
  } else if (e.element == Element::grid) {
    for (size_t i = 0; i < all->codes.size(); i += 3) {
      const unsigned index = random() & ((1u << e.grid->index_bits) - 1), signs = random();
      all->codes[i] = static_cast<uint8_t>(index), all->codes[i + 1] = static_cast<uint8_t>(index >> 8);
      all->codes[i + 2] = static_cast<uint8_t>(e.grid->has_signs ? signs & ((1u << e.grid->width) - 1) : 0);
    }
  } else if (e.bits > 8) {
    for (size_t i = 0; i < all->codes.size(); ++i) all->codes[i] = static_cast<uint8_t>(random() & (i % 2 ? 15 : 255));
  } else {
    for (uint8_t& code : all->codes) code = static_cast<uint8_t>(random() & ((1u << e.bits) - 1));
  }
  const auto fill = [&](std::vector<float>& values, ScaleType type) {
    for (float& v : values) {
      switch (type) {
        case ScaleType::u8:
          v = static_cast<float>(random() % 64);
          break;
        case ScaleType::i8:
          v = static_cast<float>(static_cast<int>(random() % 256) - 128);
          break;
        case ScaleType::u4:
          v = static_cast<float>(random() % 16);
          break;
        case ScaleType::f32:
          v = normal(random);
          break;
        case ScaleType::e8m0:
          v = std::ldexp(1.0f, static_cast<int>(random() % 12) - 6);
          break;
        case ScaleType::e4m3:
          v = e4m3_to_f32(static_cast<uint8_t>(random() % 127));
          break;
        default:
          v = static_cast<float>(static_cast<int>(random() % 512) - 256) / 256;  // exact in f16 and bf16
      }
    }
  };
  fill(all->scale, e.scale);
  fill(all->min, e.min);
  for (float& v : all->zero) v = static_cast<float>(random() % 256);
  fill(all->super_scale, ScaleType::f16);
  fill(all->super_min, ScaleType::f16);
  fill(all->outer, ScaleType::f32);
  WeightPlan plan{.name = "random", .encoding = e, .n = n, .k = k, .read = {}};
  plan.read = [all, e](int64_t begin, int64_t count, RowBlock& rows) {
    rows.resize(e, begin, count, all->k);
    const auto cut = [&](const auto& from, auto& to) {
      const auto per_row = static_cast<int64_t>(from.size()) / all->n_rows;
      std::copy_n(from.begin() + begin * per_row, count * per_row, to.begin());
    };
    cut(all->codes, rows.codes), cut(all->scale, rows.scale), cut(all->min, rows.min);
    cut(all->zero, rows.zero), cut(all->super_scale, rows.super_scale), cut(all->super_min, rows.super_min);
    cut(all->outer, rows.outer);
  };
  return plan;
}

/// Quantized and float forms of random activations, all made by ref.
struct Inputs {
  std::vector<float> x, f32, token_max;
  std::vector<uint16_t> bf16;
  std::vector<int8_t> q, q_token;
  std::vector<ActBlock> blocks, blocks_token;
  std::vector<Outlier> outliers;
  std::vector<int32_t> n_outliers;
  int64_t m, k, stride;

  Inputs(int64_t tokens, int64_t columns, float threshold, unsigned seed)
      : m(tokens), k(columns), stride(padded_k(columns)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    x.resize(static_cast<size_t>(m * k));
    for (float& v : x) v = normal(random);
    const auto size = static_cast<size_t>(m * stride);
    f32.resize(size), bf16.resize(size), outliers.resize(size);
    const auto n_blocks = static_cast<size_t>(act_block_count(m, stride / kBlockK));
    q.resize(n_blocks * 32), q_token.resize(n_blocks * 32), blocks.resize(n_blocks), blocks_token.resize(n_blocks);
    token_max.resize(static_cast<size_t>(m)), n_outliers.resize(static_cast<size_t>(m));
    const auto quantize = KernelSelector("ref").choose({.op = Op::quantize_act}, "test").kernel->run.quantize_act;
    quantize({.x = x.data(),
              .x_stride = k,
              .k = k,
              .stride = stride,
              .f32 = f32.data(),
              .bf16 = bf16.data(),
              .q = q.data(),
              .blocks = blocks.data()},
             0, m);
    std::vector<float> copy(size);
    quantize({.x = x.data(),
              .x_stride = k,
              .k = k,
              .stride = stride,
              .f32 = copy.data(),
              .q = q_token.data(),
              .blocks = blocks_token.data(),
              .token_max = token_max.data(),
              .outliers = outliers.data(),
              .n_outliers = n_outliers.data(),
              .outlier_threshold = threshold},
             0, m);
  }
  ActView view(ActForm form) const {
    switch (form) {
      case ActForm::f32:
        return {.f32 = f32.data(), .stride = stride};
      case ActForm::bf16:
        return {.bf16 = bf16.data(), .stride = stride};
      case ActForm::int8_block:
        return {.q = q.data(), .blocks = blocks.data(), .stride = stride};
      case ActForm::int8_token:
        break;
    }
    return {.q = q_token.data(),
            .blocks = blocks_token.data(),
            .token_max = token_max.data(),
            .outliers = outliers.data(),
            .n_outliers = n_outliers.data(),
            .stride = stride};
  }
};

std::vector<float> multiply(const PackedWeight& weight, const Inputs& in, int64_t m, const float* bias,
                            ThreadPool& pool) {
  std::vector<float> y(static_cast<size_t>(m * weight.n()));
  weight.multiply(in.view(weight.kernel().kernel->act), m, y.data(), weight.n(), bias, pool);
  return y;
}

uint64_t differing_bits(const std::vector<float>& a, const std::vector<float>& b) {
  uint64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i)
    count += std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]) && !(a[i] == 0 && b[i] == 0);
  return count;
}

struct Case {
  const KernelSet* set;
  const NamedEncoding* encoding;
  bool fast;
};

bool takes(const KernelSet& set, const Encoding& e, bool fast) {
  const Problem problem{.op = Op::matmul, .weight = e, .fast = fast, .n = 16, .k = 768};
  return std::any_of(set.rows, set.rows + set.n_rows,
                     [&](const Kernel& row) { return row.op == Op::matmul && row.why_not(problem) == nullptr; });
}

/// Sets that improve on a few encodings have cases for these alone.
std::vector<Case> cases() {
  std::vector<Case> out;
  for (const KernelSet* set : kernel_sets()) {
    if ((set->needs & ~cpu::features()) != 0 || std::string_view(set->name) == "ref") continue;
    for (const NamedEncoding& e : encodings()) {
      for (const bool fast : {false, true}) {
        if (takes(*set, e.encoding, fast)) out.push_back({set, &e, fast});
      }
    }
  }
  return out;
}

class Matmul : public ::testing::TestWithParam<Case> {};

TEST_P(Matmul, equals_ref_bit_for_bit_at_any_batch_size) {
  const auto [set, named, fast] = GetParam();
  const Encoding& e = named->encoding;
  ThreadPool one(1), many(3);
  const KernelSelector ref("ref"), selector(set->name);
  struct Size {
    int64_t n, k;
  };
  for (const Size size : {Size{48, 256}, Size{17, 768}, Size{1, 512}}) {
    const int64_t k =
        e.super_size ? size.k : size.k - 32 * (size.n % 3);  // K that is no multiple of 64 where the encoding allows
    const WeightPlan plan = random_plan(e, size.n, k, 7);
    const PackedWeight actual(plan, selector, many, {.fast = fast, .on_read = {}});
    const bool exact = actual.kernel().kernel->act == ActForm::f32;
    const PackedWeight expected(plan, ref, one, {.fast = !exact, .on_read = {}});
    ASSERT_TRUE(actual.kernel().name().starts_with(set->name)) << actual.kernel().name();
    const Inputs in(kMostTokens, k, e.act.outlier_threshold, 11);
    const std::vector<float> bias(static_cast<size_t>(size.n), 0.25f);
    const std::vector<float> want = multiply(expected, in, kMostTokens, bias.data(), one);
    for (const int64_t m : kTokens) {
      const std::vector<float> got = multiply(actual, in, m, bias.data(), many);
      const std::vector<float> head(want.begin(), want.begin() + m * size.n);
      EXPECT_EQ(differing_bits(head, got), 0u) << actual.kernel().name() << " m=" << m << " n=" << size.n << " k=" << k;
    }
    std::vector<float> row(static_cast<size_t>(k)), ref_row(row);
    for (int64_t r = 0; r < size.n; ++r) {
      actual.decode_row(r, row.data());
      expected.decode_row(r, ref_row.data());
      ASSERT_EQ(differing_bits(row, ref_row), 0u) << "row " << r;
    }
  }
}

// Rows as real models have them, no multiples of large powers of two; last groups and last blocks are short.
TEST_P(Matmul, equals_ref_bit_for_bit_on_real_widths) {
  const auto [set, named, fast] = GetParam();
  const Encoding& e = named->encoding;
  ThreadPool pool(1);
  const KernelSelector ref("ref"), selector(set->name);
  for (const int64_t k : kWidths) {
    if (e.super_size && k % e.super_size != 0) continue;
    const WeightPlan plan = random_plan(e, 33, k, 13);
    if (!selector.find({.op = Op::matmul, .weight = e, .fast = fast, .n = 33, .k = k}).kernel) continue;
    const PackedWeight actual(plan, selector, pool, {.fast = fast, .on_read = {}});
    const bool exact = actual.kernel().kernel->act == ActForm::f32;
    const PackedWeight expected(plan, ref, pool, {.fast = !exact, .on_read = {}});
    const Inputs in(5, k, e.act.outlier_threshold, 11);
    const std::vector<float> want = multiply(expected, in, 5, nullptr, pool),
                             got = multiply(actual, in, 5, nullptr, pool);
    EXPECT_EQ(differing_bits(want, got), 0u) << actual.kernel().name() << " k=" << k;
  }
}

INSTANTIATE_TEST_SUITE_P(AllRows, Matmul, ::testing::ValuesIn(cases()), [](const auto& test) {
  return std::string(test.param.set->name) + "_" + test.param.encoding->name + (test.param.fast ? "_fast" : "_exact");
});

TEST(MatmulTable, every_row_takes_one_of_the_encodings) {
  for (const KernelSet* set : kernel_sets()) {
    for (const Kernel& row : std::span(set->rows, static_cast<size_t>(set->n_rows))) {
      if (row.op != Op::matmul) continue;
      bool taken = false;
      for (const NamedEncoding& e : encodings()) {
        for (const int64_t k : {int64_t{768}, int64_t{72}}) {
          for (const bool fast : {false, true})
            taken |= row.why_not({.op = Op::matmul, .weight = e.encoding, .fast = fast, .n = 16, .k = k}) == nullptr;
        }
      }
      EXPECT_TRUE(taken) << set->name << "." << row.name;
    }
  }
}

/// Not a set that improves on a few encodings alone.
bool has_all_kinds(const KernelSet& set) {
  return std::string_view(set.name) != "avx512_bf16" && std::string_view(set.name) != "avx512_vbmi";
}

TEST(MatmulTable, every_encoding_has_an_exact_row_and_one_of_integer_codes_an_int8_row) {
  for (const KernelSet* set : kernel_sets()) {
    if ((set->needs & ~cpu::features()) != 0 || !has_all_kinds(*set)) continue;
    for (const NamedEncoding& e : encodings()) {
      for (const bool fast : {false, true}) {
        const Choice choice =
            KernelSelector(set->name).find({.op = Op::matmul, .weight = e.encoding, .fast = fast, .n = 16, .k = 768});
        ASSERT_NE(choice.kernel, nullptr) << set->name << " " << e.name;
        EXPECT_EQ(choice.set, set) << e.name << " " << choice.name();
        const bool is_bf16 = e.encoding.element == Element::bf16 || e.encoding.element == Element::minifloat;
        if (set->needs == 0 && is_bf16) continue;  // ref has all arithmetics
        const bool has_integers = !is_float(e.encoding.element) && e.encoding.element != Element::minifloat;
        EXPECT_EQ(choice.kernel->act == ActForm::f32, !fast || !has_integers) << choice.name() << " " << e.name;
      }
    }
  }
}

// Groups that are no whole blocks of 32: K = 72 and flat groups of 64 leave 8 columns per scale.
class MatmulOddGroups : public ::testing::TestWithParam<NamedEncoding> {};

TEST_P(MatmulOddGroups, equal_ref_bit_for_bit) {
  ThreadPool pool(1);
  for (const int64_t k : {72, 40, 36, 90}) {
    const WeightPlan plan = random_plan(GetParam().encoding, 33, k, 5);
    const Inputs in(9, k, 0, 3);
    const PackedWeight expected(plan, KernelSelector("ref"), pool, {});
    for (const KernelSet* set : kernel_sets()) {
      if ((set->needs & ~cpu::features()) != 0) continue;
      const PackedWeight actual(plan, KernelSelector(set->name), pool,
                                {.fast = std::string_view(set->name) != "ref", .on_read = {}});
      EXPECT_EQ(differing_bits(multiply(expected, in, 9, nullptr, pool), multiply(actual, in, 9, nullptr, pool)), 0u)
          << set->name << " k=" << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Encodings, MatmulOddGroups,
                         ::testing::Values(NamedEncoding{"nf4_flat64", table(kNf4, {GroupKind::flat, 64})},
                                           NamedEncoding{"u4_bf16_g24", affine(4, ScaleType::bf16, false, 24)},
                                           NamedEncoding{"u3_f16_zero_g20", affine(3, ScaleType::f16, true, 20)},
                                           NamedEncoding{"u8_f32_zero_g1", affine(8, ScaleType::f32, true, 1)}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(KernelSelector, unknown_and_missing_sets_are_resource_errors) {
  try {
    const KernelSelector selector("sse9");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::resource);
    EXPECT_NE(std::string(e.what()).find("sse9"), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("ref"), std::string::npos) << "lists what there is: " << e.what();
  }
  EXPECT_THROW(KernelSelector("", "no_such_row"), Error);
}

TEST(KernelSelector, ref_serves_only_when_asked_for) {
  const Problem no_row{.op = Op::attention, .head_dim = 7};
  EXPECT_EQ(KernelSelector("avx2").find(no_row).kernel, nullptr);
  EXPECT_NE(KernelSelector("ref").find(no_row).kernel, nullptr);
  EXPECT_THROW(KernelSelector("avx2").choose(no_row, "attention"), Error);
}

}  // namespace
}  // namespace packhorse
