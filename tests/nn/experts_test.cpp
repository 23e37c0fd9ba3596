// A mixture of experts against plain double code, and its bits against themselves.

#include "nn/experts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>

#include "base/half.h"
#include "formats/format_testing.h"

namespace packhorse {
namespace {

using Matrix = std::vector<float>;  // [n, k]

constexpr int64_t kHidden = 40, kInner = 24;
constexpr ExpertNames kNames[] = {{"moe", {"w1", "w3", "w2"}}};
constexpr Arch kNoGguf{.name = "test", .hf_architectures = {}, .gguf = {}, .build = nullptr};

Matrix random_matrix(std::mt19937& random, int64_t n, int64_t k, float scale = 1) {
  std::normal_distribution<float> normal;
  Matrix out(static_cast<size_t>(n * k));
  for (float& value : out) value = normal(random) * scale / std::sqrt(static_cast<float>(k));
  return out;
}

std::vector<double> multiply(const Matrix& w, const std::vector<double>& x) {
  std::vector<double> y(w.size() / x.size());
  for (size_t n = 0; n < y.size(); ++n) {
    for (size_t k = 0; k < x.size(); ++k) y[n] += w[n * x.size() + k] * x[k];
  }
  return y;
}

/// Weights of one layer by their names below it.
struct Weights {
  std::map<std::string, Matrix> tensors;

  static std::string name(int64_t expert, const char* part) { return fmt::format("moe.experts.{}.{}", expert, part); }

  explicit Weights(int64_t n_experts) {
    std::mt19937 random(11);
    tensors["moe.gate"] = random_matrix(random, n_experts, kHidden, 3);
    for (int64_t e = 0; e < n_experts; ++e) {
      tensors[name(e, "w1")] = random_matrix(random, kInner, kHidden);
      tensors[name(e, "w3")] = random_matrix(random, kInner, kHidden);
      tensors[name(e, "w2")] = random_matrix(random, kHidden, kInner);
    }
  }
  testing::TensorWriter writer() const {
    testing::TensorWriter out;
    for (const auto& [name, values] : tensors) {
      const int64_t k = name.ends_with("w2") ? kInner : kHidden;
      out.add(name + ".weight", "F32", {static_cast<int64_t>(values.size()) / k, k}, values);
    }
    return out;
  }
  std::vector<double> expert(int64_t e, const std::vector<double>& x) const {
    std::vector<double> gate = multiply(tensors.at(name(e, "w1")), x);
    const std::vector<double> up = multiply(tensors.at(name(e, "w3")), x);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
    return multiply(tensors.at(name(e, "w2")), gate);
  }
  /// Softmax over all experts, the best `n_used` of it, renormalized.
  std::vector<double> mixture(int64_t n_used, const std::vector<double>& x) const {
    std::vector<std::pair<double, int64_t>> ranked;
    for (const double logit : multiply(tensors.at("moe.gate"), x))
      ranked.emplace_back(-std::exp(logit), static_cast<int64_t>(ranked.size()));
    std::ranges::sort(ranked);
    ranked.resize(static_cast<size_t>(n_used));
    double sum = 0;
    for (const auto& [weight, e] : ranked) sum += weight;
    std::vector<double> y(kHidden);
    for (const auto& [weight, e] : ranked) {
      const std::vector<double> part = expert(e, x);
      for (size_t i = 0; i < y.size(); ++i) y[i] += weight / sum * part[i];
    }
    return y;
  }
};

/// A mixture read from a folder, and what it takes to run it.
class Mixture {
 public:
  Mixture(const testing::TensorWriter& writer, int64_t n_experts, int64_t n_used, LoadOptions options = exact(),
          int threads = 1)
      : view_(writer.open(dir_)),
        pool_(threads),
        loader_(view_, kNoGguf, selector_, pool_, std::move(options)),
        experts_(loader_.root(), {.n_experts = n_experts, .n_used = n_used, .hidden = kHidden, .intermediate = kInner},
                 kNames) {}

  static LoadOptions exact() {
    LoadOptions options;
    options.fast = false;
    return options;
  }
  Matrix run(std::span<const float> x) {
    ForwardCtx ctx{.pool = pool_, .workspace = workspace_, .kv = kv_};
    workspace_.reset();
    const float* y = experts_(x.data(), static_cast<int64_t>(x.size()) / kHidden, ctx);
    return {y, y + x.size()};
  }
  const ExpertSet& experts() const { return experts_; }

 private:
  testing::TempDir dir_;
  CheckpointView view_;
  KernelSelector selector_;
  ThreadPool pool_;
  Loader loader_;
  ExpertSet experts_;
  Workspace workspace_;
  KvPool kv_{{}, 1};
};

std::vector<float> tokens(int64_t m) {
  std::mt19937 random(4);
  return random_matrix(random, m, kHidden, std::sqrt(static_cast<float>(kHidden)));
}

double worst_difference(const Weights& weights, int64_t n_used, const Matrix& x, const Matrix& y) {
  double worst = 0;
  for (size_t t = 0; t * kHidden < x.size(); ++t) {
    const auto begin = x.begin() + static_cast<int64_t>(t) * kHidden;
    const std::vector<double> want = weights.mixture(n_used, {begin, begin + kHidden});
    for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::fabs(want[i] - y[t * kHidden + i]));
  }
  return worst;
}

TEST(Experts, follow_their_definition) {
  constexpr int64_t kTokens = 50;
  for (const auto& [n_experts, n_used] : {std::pair{1, 1}, {2, 1}, {5, 2}, {8, 2}, {8, 8}, {33, 4}}) {
    const Weights weights(n_experts);
    Mixture mixture(weights.writer(), n_experts, n_used);
    const std::vector<float> x = tokens(kTokens);
    EXPECT_LT(worst_difference(weights, n_used, x, mixture.run(x)), 2e-6) << n_experts << " / " << n_used;
  }
}

// The same token gives the same bits in every company and on any number of threads, in both arithmetics.
TEST(Experts, one_token_is_the_same_bits_in_any_batch) {
  constexpr int64_t kTokens = 61;
  const std::vector<float> x = tokens(kTokens);
  for (const bool fast : {false, true}) {
    LoadOptions options;
    options.fast = fast;
    const testing::TensorWriter writer = Weights(8).writer();
    Mixture alone(writer, 8, 2, options), shared(writer, 8, 2, options, 3);
    const std::vector<float> whole = alone.run(x);
    for (const int64_t step : {int64_t{1}, int64_t{2}, int64_t{7}, int64_t{32}, kTokens}) {
      for (int64_t begin = 0; begin < kTokens; begin += step) {
        const auto part = static_cast<size_t>(std::min(step, kTokens - begin) * kHidden);
        const std::vector<float> y = shared.run(std::span(x).subspan(static_cast<size_t>(begin * kHidden), part));
        ASSERT_EQ(std::memcmp(y.data(), whole.data() + begin * kHidden, part * sizeof(float)), 0)
            << "tokens " << begin << " + " << step << (fast ? ", fast" : "");
      }
    }
  }
}

// Equal probabilities go to the first experts, however many there are.
TEST(Experts, ties_go_to_the_first) {
  Weights weights(6);
  weights.tensors["moe.gate"].assign(6 * kHidden, 0.0f);
  const std::vector<float> x = tokens(3);
  Mixture mixture(weights.writer(), 6, 2);
  EXPECT_LT(worst_difference(weights, 2, x, mixture.run(x)), 2e-6);  // sorted by index as well
}

// A token that has gone wrong harms itself alone.
TEST(Experts, numbers_that_are_none_stay_in_their_token) {
  const testing::TensorWriter writer = Weights(8).writer();
  Mixture mixture(writer, 8, 3);
  std::vector<float> x = tokens(9);
  const std::vector<float> good = mixture.run(x);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::fill_n(x.begin() + 4 * kHidden, kHidden, bad);
    const std::vector<float> y = mixture.run(x);
    for (size_t i = 0; i < y.size(); ++i) {
      if (i / kHidden == 4)
        EXPECT_FALSE(std::isfinite(y[i]));
      else
        EXPECT_EQ(y[i], good[i]) << i;
    }
  }
}

// Gate and up need not be of one encoding, nor the experts of a layer.
TEST(Experts, encodings_may_differ) {
  Weights weights(4);
  testing::TensorWriter writer = weights.writer();
  for (const auto& [name, k] : {std::pair{Weights::name(1, "w1"), kHidden}, {Weights::name(3, "w2"), kInner}}) {
    Matrix& values = weights.tensors.at(name);
    std::vector<uint16_t> halves;
    for (float& value : values) {
      halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));  // bfloat16, cut off
      value = std::bit_cast<float>(static_cast<uint32_t>(halves.back()) << 16);
    }
    writer.add(name + ".weight", "BF16", {static_cast<int64_t>(values.size()) / k, k}, halves);
  }
  Mixture mixture(writer, 4, 2);
  const std::vector<float> x = tokens(20);
  EXPECT_LT(worst_difference(weights, 2, x, mixture.run(x)), 2e-6);
}

struct Visited {
  std::string module;
  Matrix first_row;
  double read_share;
  uint64_t source_bytes;
};
std::vector<Visited> visited(const ExpertSet& experts) {
  std::vector<Visited> out;
  experts.visit([&](const ModuleRows& rows, const PackedWeight& weight) {
    Matrix row(static_cast<size_t>(weight.k()));
    weight.decode_row(rows.first_row, row.data());
    out.push_back({rows.module, row, rows.read_share, weight.source_bytes()});
  });
  return out;
}

// One tensor for all experts of a projection is the same weights under the same names.
TEST(Experts, may_lie_in_one_tensor) {
  constexpr int64_t kExperts = 5;
  const Weights weights(kExperts);
  testing::TensorWriter stacked;
  stacked.add("moe.gate.weight", "F32", {kExperts, kHidden}, weights.tensors.at("moe.gate"));
  for (const char* part : {"w1", "w3", "w2"}) {
    Matrix all;
    for (int64_t e = 0; e < kExperts; ++e) {
      const Matrix& one = weights.tensors.at(Weights::name(e, part));
      all.insert(all.end(), one.begin(), one.end());
    }
    const bool down = std::string_view(part) == "w2";
    stacked.add(fmt::format("moe.experts.{}.weight", part), "F32",
                {kExperts, down ? kHidden : kInner, down ? kInner : kHidden}, all);
  }
  Mixture apart(weights.writer(), kExperts, 2), together(stacked, kExperts, 2);
  const std::vector<float> x = tokens(10);
  EXPECT_EQ(apart.run(x), together.run(x));

  const std::vector<Visited> one = visited(apart.experts()), other = visited(together.experts());
  ASSERT_EQ(one.size(), 1u + 3 * kExperts);
  ASSERT_EQ(one.size(), other.size());
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].module,
              i == 0 ? "moe.gate" : Weights::name((int64_t(i) - 1) / 3, std::array{"w1", "w3", "w2"}[(i - 1) % 3]));
    EXPECT_EQ(one[i].module, other[i].module);
    EXPECT_EQ(one[i].first_row, other[i].first_row);
    EXPECT_EQ(one[i].source_bytes, other[i].source_bytes) << one[i].module;
    EXPECT_EQ(one[i].read_share, i == 0 ? 1.0 : 0.4);
    EXPECT_EQ(other[i].read_share, one[i].read_share);
  }
}

// The router decides; it keeps its weights where the experts are quantized while they load.
TEST(Experts, the_router_is_not_quantized) {
  const testing::TensorWriter writer = Weights(4).writer();
  testing::TempDir dir;
  LoadOptions options;
  options.quantization =
      plan_quantization(writer.open(dir), {.method = "bitsandbytes", .load_format = "auto", .config = {}});
  const Mixture mixture(writer, 4, 2, options);
  mixture.experts().visit([](const ModuleRows& rows, const PackedWeight& weight) {
    const Element want = rows.module == "moe.gate" ? Element::f32 : Element::table;
    EXPECT_EQ(weight.view().encoding.element, want) << rows.module;
  });
}

TEST(Experts, missing_and_misshapen_tensors_are_named) {
  const auto failure = [](const testing::TensorWriter& writer) {
    return testing::failure_of(ErrorKind::model, [&] { Mixture(writer, 4, 2); });
  };
  const testing::TensorWriter good = Weights(4).writer();
  testing::TensorWriter bad = good;
  bad.remove("moe.experts.2.w3.weight");
  EXPECT_NE(failure(bad).find("missing tensor 'moe.experts.2.w3.weight' (expected [24, 40])"), std::string::npos)
      << failure(bad);
  bad = good;
  bad.remove("moe.gate.weight");
  EXPECT_NE(failure(bad).find("missing tensor 'moe.gate.weight' (expected [4, 40])"), std::string::npos);
  bad = good;
  bad.remove("moe.experts.0.w1.weight");
  bad.add("moe.experts.w1.weight", "F32", {3, kInner, kHidden}, Matrix(3 * kInner * kHidden));
  EXPECT_NE(failure(bad).find(
                "'moe.experts.w1.weight': shape does not fit the model (got [3, 24, 40], expected [4, 24, 40])"),
            std::string::npos)
      << failure(bad);
  bad = {};
  bad.add("moe.gate.weight", "F32", {4, kHidden}, Matrix(4 * kHidden));
  EXPECT_NE(failure(bad).find("missing tensor 'moe.experts.0.w1.weight'"), std::string::npos) << failure(bad);
}

}  // namespace
}  // namespace packhorse
