// The sampler against definitions written out naively.

#include "engine/sampler/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>

#include "engine/sampler/random.h"
#include "engine/sampler/row_math.h"

namespace packhorse {
namespace {

std::vector<float> random_logits(size_t n, uint32_t seed, bool with_ties = false) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = with_ties ? std::round(normal(random)) : normal(random);
  return logits;
}

/// Probabilities as vLLM's reference path makes them: temperature, min_p, then top_k and top_p on a stable ascending
/// sort.
std::vector<double> reference(const std::vector<float>& logits, const SamplingParams& params) {
  constexpr double kOut = -std::numeric_limits<double>::infinity();
  std::vector<double> scaled(logits.begin(), logits.end());
  for (double& x : scaled) x /= params.temperature;
  const auto softmax = [](std::vector<double> x) {
    const double max = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& value : x) sum += value = std::exp(value - max);
    for (double& value : x) value /= sum;
    return x;
  };
  const std::vector<double> raw = softmax(scaled);
  const double max_prob = *std::max_element(raw.begin(), raw.end());
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] < max_prob * params.min_p) scaled[i] = kOut;
  }
  std::vector<size_t> order(scaled.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scaled[a] < scaled[b]; });
  if (params.top_k > 0 && params.top_k < static_cast<int64_t>(order.size())) {
    const double bar = scaled[order[order.size() - static_cast<size_t>(params.top_k)]];
    for (double& x : scaled) x = x < bar ? kOut : x;
  }
  if (params.top_p < 1) {
    const std::vector<double> probabilities = softmax(scaled);
    double sum = 0;
    for (size_t i = 0; i + 1 < order.size(); ++i) {
      sum += probabilities[order[i]];
      if (sum <= 1 - params.top_p) scaled[order[i]] = kOut;
    }
  }
  return softmax(scaled);
}

RowResult run_one(Sampler& sampler, const RowJob& job) { return sampler.run({&job, 1})[0]; }

std::vector<double> probabilities(const std::vector<float>& logits, SamplingParams params) {
  params.validate_and_normalize();
  const RowJob job{.logits = logits, .params = &params};
  Distribution distribution;
  distribution.assign(logits, row_max(logits).value, params.temperature);
  for (const Filter& filter : filters()) {
    if (filter.wanted(job)) filter.apply(job, distribution);
  }
  std::vector<double> out(distribution.weights().begin(), distribution.weights().end());
  const double sum = std::accumulate(out.begin(), out.end(), 0.0);
  for (double& x : out) x /= sum;
  return out;
}

TEST(RowMath, ExponentialIsAccurate) {
  double worst = 0;
  for (float x = 0; x > -86.9f; x -= 0.00137f) {
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(exp_nonpositive(FloatLanes{} + x)[0]) / exact - 1));
  }
  EXPECT_LT(worst, 2.5e-7);
  EXPECT_EQ(exp_nonpositive(FloatLanes{0.0f, -0.0f, -87.5f, -std::numeric_limits<float>::infinity()})[0], 1.0f);
  EXPECT_EQ(exp_nonpositive(FloatLanes{0.0f, -0.0f, -87.5f, -std::numeric_limits<float>::infinity()})[1], 1.0f);
  EXPECT_EQ(exp_nonpositive(FloatLanes{0.0f, -0.0f, -87.5f, -std::numeric_limits<float>::infinity()})[2], 0.0f);
  EXPECT_EQ(exp_nonpositive(FloatLanes{0.0f, -0.0f, -87.5f, -std::numeric_limits<float>::infinity()})[3], 0.0f);
}

TEST(RowMath, fault_093_every_place_is_checked_for_nan_and_infinity) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (size_t i = 0; i < 37; ++i) {
      std::vector<float> row = random_logits(37, 1);
      EXPECT_TRUE(row_max(row).all_finite);
      row[i] = bad;
      EXPECT_FALSE(row_max(row).all_finite) << i;
    }
  }
}

TEST(Sampler, GreedyTakesTheLowestIdOfTheLargest) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  SamplingParams params;
  params.temperature = 0;
  params.validate_and_normalize();
  for (uint32_t seed = 0; seed < 50; ++seed) {
    const auto logits = random_logits(100 + seed, seed, true);
    const auto expected = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(run_one(sampler, {.logits = logits, .params = &params}).token, expected);
  }
}

TEST(Sampler, FiltersMatchTheDefinition) {
  std::mt19937 random(4);
  const auto pick = [&](auto... choices) {
    const double list[] = {static_cast<double>(choices)...};
    return list[random() % sizeof...(choices)];
  };
  for (uint32_t round = 0; round < 800; ++round) {
    const auto logits = random_logits(1 + random() % 300, round, round % 3 == 0);
    SamplingParams params;
    params.temperature = pick(0.3, 0.7, 1, 1.6);
    params.top_k = static_cast<int64_t>(pick(0, 1, 2, 5, 40, 1000));
    params.top_p = pick(1, 0.95, 0.5, 0.1, 1e-6);
    params.min_p = pick(0, 0.05, 0.3, 1);
    const auto expected = reference(logits, params), got = probabilities(logits, params);
    for (size_t i = 0; i < logits.size(); ++i) {
      ASSERT_NEAR(got[i], expected[i], 2e-6)
          << "round " << round << " token " << i << " T " << params.temperature << " k " << params.top_k << " p "
          << params.top_p << " min_p " << params.min_p;
    }
  }
}

/// Chi-square of draws at many positions against the definition's probabilities.
void expect_distribution(SamplingParams params, uint32_t seed) {
  params.validate_and_normalize();
  const auto logits = random_logits(60, seed);
  const auto expected = reference(logits, params);
  ThreadPool pool(1);
  Sampler sampler(pool);
  constexpr int kDraws = 20000;
  std::vector<int32_t> history;
  std::vector<double> counts(logits.size());
  for (int i = 0; i < kDraws; ++i) {
    history.assign(static_cast<size_t>(i), 0);
    const RowJob job{.logits = logits, .params = &params, .output_tokens = history, .seed = 42};
    counts[static_cast<size_t>(run_one(sampler, job).token)] += 1;
  }
  double chi_square = 0;
  int n_cells = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (expected[i] == 0) {
      EXPECT_EQ(counts[i], 0) << i;
    }
    if (expected[i] * kDraws < 5) continue;
    chi_square += std::pow(counts[i] - expected[i] * kDraws, 2) / (expected[i] * kDraws);
    ++n_cells;
  }
  EXPECT_LT(chi_square, n_cells + 4 * std::sqrt(2.0 * n_cells)) << n_cells;
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  SamplingParams params;
  expect_distribution(params, 1);
  params.temperature = 1.7;
  expect_distribution(params, 2);
  params.top_k = 7;
  expect_distribution(params, 3);
  params.top_p = 0.8;
  expect_distribution(params, 4);
  params.top_k = 0;
  params.min_p = 0.02;
  expect_distribution(params, 5);
}

TEST(Sampler, ResultsDependOnTheRowAlone) {
  ThreadPool one(1), four(4);
  Sampler alone(one), together(four);
  SamplingParams params;
  params.top_p = 0.9;
  params.repetition_penalty = 1.2;
  const std::vector<int32_t> history = {1, 2, 3};
  std::vector<std::vector<float>> rows;
  for (uint32_t i = 0; i < 40; ++i) rows.push_back(random_logits(500, i));
  std::vector<RowJob> jobs;
  for (uint32_t i = 0; i < 40; ++i) {
    jobs.push_back({.logits = rows[i], .params = &params, .output_tokens = history, .seed = i, .n_logprobs = 3});
  }
  const auto results = together.run(jobs);
  for (size_t i = 0; i < jobs.size(); ++i) {
    const RowResult expected = run_one(alone, jobs[i]);
    EXPECT_EQ(results[i].token, expected.token);
    for (size_t k = 0; k < expected.scores.size(); ++k)
      EXPECT_EQ(results[i].scores[k].logprob, expected.scores[k].logprob);
  }
}

TEST(Sampler, PenaltiesFollowTheDefinition) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  SamplingParams params;
  params.temperature = 0;
  const std::vector<float> logits = {1.0f, 0.9f, -0.5f, 0.8f};
  const std::vector<int32_t> prompt = {0}, output = {1, 1};
  const auto chosen = [&] {
    return run_one(
        sampler,
        {.logits = logits, .params = &params, .prompt_tokens = prompt, .output_tokens = output, .n_logprobs = 0});
  };
  EXPECT_EQ(chosen().token, 0);
  params.repetition_penalty = 1.2;  // 0.83, 0.75, -0.5, 0.8
  EXPECT_EQ(chosen().token, 0);
  params.repetition_penalty = 1.3;  // 0.77, 0.69, -0.5, 0.8
  EXPECT_EQ(chosen().token, 3);
  EXPECT_EQ(chosen().scores[0].rank, 3);  // of the logits as they were
  params.repetition_penalty = 1;
  params.presence_penalty = -0.2;  // 1.0, 1.1
  EXPECT_EQ(chosen().token, 1);
  params.presence_penalty = 0;
  params.frequency_penalty = -0.06;  // 1.0, 1.02
  EXPECT_EQ(chosen().token, 1);
  params.frequency_penalty = -0.04;  // 1.0, 0.98
  EXPECT_EQ(chosen().token, 0);
}

TEST(Sampler, RepetitionPenaltyLowersNegativeLogitsToo) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 1.3;
  const std::vector<float> logits = {-1.0f, -1.1f};
  const std::vector<int32_t> prompt = {0};
  EXPECT_EQ(run_one(sampler, {.logits = logits, .params = &params, .prompt_tokens = prompt}).token, 1);
}

TEST(Sampler, DrawsAreAFunctionOfSeedOutputAndPosition) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  const SamplingParams params;
  const std::vector<float> logits(1000, 0.0f);
  std::set<int32_t> seen;
  const std::vector<int32_t> history(8, 5);
  for (uint64_t seed = 0; seed < 5; ++seed) {
    for (int64_t index = 0; index < 5; ++index) {
      for (size_t position = 0; position < 5; ++position) {
        RowJob job{.logits = logits, .params = &params, .seed = seed, .output_index = index};
        job.output_tokens = std::span(history).first(position);
        const int32_t token = run_one(sampler, job).token;
        seen.insert(token);
        job.prompt_tokens = std::span(history).first(position);  // the same place, after a longer prompt
        job.output_tokens = {};
        EXPECT_EQ(run_one(sampler, job).token, token);
      }
    }
  }
  EXPECT_GT(seen.size(), 100u);  // 125 draws of 1000: about 118 differ
}

TEST(Sampler, MaskingEveryTokenIsAnError) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  SamplingParams params;
  params.min_tokens = 1;
  const std::vector<float> logits = {1, 2};
  const std::vector<int32_t> stops = {0, 1};
  const RowJob job{.logits = logits, .params = &params, .stop_tokens = stops};
  EXPECT_STREQ(run_one(sampler, job).error, "the sampling parameters leave no token to choose");
}

TEST(Logprobs, TiesRankByIdAndOutsidersByCount) {
  const std::vector<float> row = {1, 3, 2, 3, 2, 0};
  const auto scores = score_tokens(row, 3, 3, 4);
  ASSERT_EQ(scores.size(), 4u);
  EXPECT_EQ(scores[0].token, 1);
  EXPECT_EQ(scores[1].token, 3);
  EXPECT_EQ(scores[2].token, 2);
  EXPECT_EQ(scores[3].token, 4);
  EXPECT_EQ(scores[3].rank, 4);  // as many are at least as likely
  EXPECT_EQ(score_tokens(row, 3, -1, 5).size(), 6u);
}

TEST(Random, KnownAnswersOfPhilox) {
  const std::array<uint32_t, 4> zeros = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), zeros);
  const uint32_t ones = 0xffffffff;
  const std::array<uint32_t, 4> all = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}), all);
  const std::array<uint32_t, 4> pi = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}), pi);
}

}  // namespace
}  // namespace packhorse
