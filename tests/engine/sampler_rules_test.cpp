// allowed_token_ids, bad_words, min_tokens, logit_bias and penalties against definitions written out naively.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "engine/sampler/sampler.h"

namespace packhorse {
namespace {

std::vector<float> random_logits(int32_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(static_cast<size_t>(n));
  for (float& logit : logits) logit = normal(random);
  return logits;
}

RowResult run_one(Sampler& sampler, const RowJob& job) { return sampler.run({&job, 1})[0]; }

/// The token that remains likeliest under all rules, from the definitions: the order of the steps matters to the last.
int32_t reference_choice(const RowJob& job) {
  constexpr double kOut = -std::numeric_limits<double>::infinity();
  const auto n_vocab = static_cast<int32_t>(job.logits.size());
  const SamplingParams& params = *job.params;
  const std::vector<int32_t> output(job.output_tokens.begin(), job.output_tokens.end());
  const auto count = [](std::span<const int32_t> in, int32_t token) { return std::count(in.begin(), in.end(), token); };
  std::vector<double> scores;
  for (int32_t token = 0; token < n_vocab; ++token) {
    double score = static_cast<double>(job.logits[static_cast<size_t>(token)]);
    const auto& allowed = job.rules->allowed;
    if (!allowed.empty() && count(allowed, token) == 0) score = kOut;
    for (const std::vector<int32_t>& word : job.rules->bad_words) {
      std::vector<int32_t> ending = output;  // were this token chosen
      ending.push_back(token);
      if (ending.size() >= word.size() && std::equal(word.rbegin(), word.rend(), ending.rbegin())) score = kOut;
    }
    if (static_cast<int64_t>(output.size()) < params.min_tokens && count(job.stop_tokens, token) > 0) score = kOut;
    for (const auto& [id, bias] : job.rules->biases) score += id == token ? static_cast<double>(bias) : 0;
    const auto n_output = count(output, token);
    if (n_output + count(job.prompt_tokens, token) > 0) {
      score = score > 0 ? score / params.repetition_penalty : score * params.repetition_penalty;
    }
    score -= params.frequency_penalty * static_cast<double>(n_output) + (n_output > 0 ? params.presence_penalty : 0);
    scores.push_back(score);
  }
  return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

TEST(SamplerRules, RulesMatchTheDefinition) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  std::mt19937 random(7);
  const auto below = [&](int32_t n) { return static_cast<int32_t>(random() % static_cast<uint32_t>(n)); };
  const auto some_tokens = [&](int32_t n_vocab, int32_t max_count) {
    std::vector<int32_t> tokens(static_cast<size_t>(below(max_count + 1)));
    for (int32_t& token : tokens) token = below(n_vocab);
    return tokens;
  };
  int n_changed = 0;
  for (uint32_t round = 0; round < 2000; ++round) {
    const int32_t n_vocab = 5 + below(6);
    const auto logits = random_logits(n_vocab, round);
    const auto prompt = some_tokens(n_vocab, 4), output = some_tokens(n_vocab, 6), stops = some_tokens(n_vocab, 2);
    TokenRules rules;
    rules.allowed = some_tokens(n_vocab, 4);
    if (!rules.allowed.empty()) rules.allowed.push_back(0);
    for (int i = below(6); i > 0; --i) {
      auto word = some_tokens(n_vocab, 2);
      word.push_back(1 + below(n_vocab - 1));  // never 0, so that a choice is left
      rules.bad_words.push_back(word);
    }
    for (const int32_t token : some_tokens(n_vocab, 3)) {
      rules.biases.emplace_back(token, static_cast<float>(below(9) - 4));
    }
    SamplingParams params;
    params.temperature = 0;
    params.min_tokens = below(5);
    params.repetition_penalty = 0.5 + 0.25 * below(6);
    params.frequency_penalty = 0.5 * below(4) - 0.75;
    params.presence_penalty = 0.5 * below(4) - 0.75;
    RowJob job{.logits = logits, .params = &params, .prompt_tokens = prompt, .output_tokens = output, .rules = &rules};
    if (std::find(stops.begin(), stops.end(), 0) == stops.end()) job.stop_tokens = stops;
    const RowResult result = run_one(sampler, job);
    ASSERT_EQ(result.token, reference_choice(job)) << "round " << round;
    n_changed += result.token != std::max_element(logits.begin(), logits.end()) - logits.begin();
  }
  EXPECT_GT(n_changed, 500);
}

TEST(SamplerRules, BiasComesBeforeRepetitionPenalty) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 2;
  const TokenRules rules{.biases = {{0, -5.0f}}};
  const std::vector<int32_t> prompt = {0};
  const std::vector<float> logits = {4.0f, -2.5f};  // (4 - 5) * 2 = -2; the other way round 4 / 2 - 5 = -3
  EXPECT_EQ(run_one(sampler, {.logits = logits, .params = &params, .prompt_tokens = prompt, .rules = &rules}).token, 0);
}

TEST(SamplerRules, BadWordsLookAtTheOutputAlone) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  SamplingParams params;
  params.temperature = 0;
  const TokenRules rules{.bad_words = {{2, 1, 0}, {3}}};
  const std::vector<float> logits = {4, 3, 2, 5};
  const auto chosen = [&](const std::vector<int32_t>& prompt, const std::vector<int32_t>& output) {
    return run_one(
               sampler,
               {.logits = logits, .params = &params, .prompt_tokens = prompt, .output_tokens = output, .rules = &rules})
        .token;
  };
  EXPECT_EQ(chosen({}, {}), 0);  // 3 is a word by itself
  EXPECT_EQ(chosen({}, {2, 1}), 1);
  EXPECT_EQ(chosen({}, {0, 2, 1}), 1);
  EXPECT_EQ(chosen({}, {1, 2}), 0);
  EXPECT_EQ(chosen({}, {2, 1, 2}), 0);
  EXPECT_EQ(chosen({2, 1}, {}), 0);
  EXPECT_EQ(chosen({2}, {1}), 0);
}

TEST(SamplerRules, ScoresAreThoseOfTheModelWhateverTheRules) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  const SamplingParams params;
  const TokenRules rules{.allowed = {2}, .biases = {{2, 50.0f}}};
  const std::vector<float> logits = {3, 2, 1};
  const RowResult result = run_one(sampler, {.logits = logits, .params = &params, .rules = &rules, .n_logprobs = 1});
  EXPECT_EQ(result.token, 2);
  ASSERT_EQ(result.scores.size(), 2u);
  EXPECT_EQ(result.scores[0].token, 0);
  EXPECT_EQ(result.scores[1].rank, 3);
  EXPECT_NEAR(result.scores[1].logprob, 1 - std::log(std::exp(3.0) + std::exp(2.0) + std::exp(1.0)), 1e-6);
}

TEST(SamplerRules, ThatLeaveNoTokenAreAnError) {
  ThreadPool pool(1);
  Sampler sampler(pool);
  const SamplingParams params;
  const std::vector<float> logits = {1, 2};
  const TokenRules rules{.allowed = {1}, .bad_words = {{1}}};
  EXPECT_STREQ(run_one(sampler, {.logits = logits, .params = &params, .rules = &rules}).error,
               "the sampling parameters leave no token to choose");
}

}  // namespace
}  // namespace packhorse
