#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "packhorse/packhorse.h"

namespace packhorse {
namespace {

std::string refusal(const std::function<void(SamplingParams&)>& change) {
  SamplingParams params;
  params.validate_and_normalize();  // the good twin
  change(params);
  try {
    params.validate_and_normalize();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::request);
    return e.what();
  }
  return "";
}

TEST(SamplingParams, fault_079_ranges_name_parameter_and_value) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  using P = SamplingParams;
  EXPECT_EQ(refusal([](P& p) { p.temperature = -1; }), "temperature must be in [0, 2], got -1");
  EXPECT_EQ(refusal([](P& p) { p.temperature = 1e9; }), "temperature must be in [0, 2], got 1000000000");
  EXPECT_EQ(refusal([&](P& p) { p.temperature = nan; }), "temperature must be a finite number, got nan");
  EXPECT_EQ(refusal([&](P& p) { p.temperature = inf; }), "temperature must be a finite number, got inf");
  EXPECT_EQ(refusal([](P& p) { p.top_p = 0; }), "top_p must be in (0, 1], got 0");
  EXPECT_EQ(refusal([](P& p) { p.top_p = 1.1; }), "top_p must be in (0, 1], got 1.1");
  EXPECT_EQ(refusal([&](P& p) { p.top_p = nan; }), "top_p must be in (0, 1], got nan");
  EXPECT_EQ(refusal([](P& p) { p.top_k = -2; }), "top_k must be 0 (disabled) or at least 1, got -2");
  EXPECT_EQ(refusal([](P& p) { p.min_p = 2; }), "min_p must be in [0, 1], got 2");
  EXPECT_EQ(refusal([&](P& p) { p.min_p = nan; }), "min_p must be in [0, 1], got nan");
  EXPECT_EQ(refusal([](P& p) { p.presence_penalty = 2.5; }), "presence_penalty must be in [-2, 2], got 2.5");
  EXPECT_EQ(refusal([&](P& p) { p.frequency_penalty = nan; }), "frequency_penalty must be in [-2, 2], got nan");
  EXPECT_EQ(refusal([](P& p) { p.repetition_penalty = 0; }), "repetition_penalty must be greater than zero, got 0");
  EXPECT_EQ(refusal([&](P& p) { p.repetition_penalty = inf; }), "repetition_penalty must be a finite number, got inf");
}

TEST(SamplingParams, fault_080_n_has_limits) {
  EXPECT_EQ(refusal([](SamplingParams& p) { p.n = 0; }), "n must be at least 1, got 0");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.n = 1000000000; }), "n must be at most 16384, got 1000000000");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.n = 2, p.temperature = 0; }),
            "n must be 1 when using greedy sampling, got 2");
}

TEST(SamplingParams, fault_081_lengths) {
  using P = SamplingParams;
  EXPECT_EQ(refusal([](P& p) { p.max_tokens = 0; }), "max_tokens must be at least 1, got 0");
  EXPECT_EQ(refusal([](P& p) { p.min_tokens = -1; }), "min_tokens must be greater than or equal to 0, got -1");
  EXPECT_EQ(refusal([](P& p) { p.min_tokens = 17; }), "min_tokens must be less than or equal to max_tokens=16, got 17");
  EXPECT_EQ(refusal([](P& p) { p.max_tokens.reset(), p.min_tokens = 17; }), "");
  EXPECT_EQ(refusal([](P& p) { p.logprobs = -2; }), "logprobs must be non-negative or -1, got -2");
  EXPECT_EQ(refusal([](P& p) { p.prompt_logprobs = -2; }), "prompt_logprobs must be non-negative or -1, got -2");
}

TEST(SamplingParams, fault_085_stop_strings) {
  using P = SamplingParams;
  EXPECT_EQ(refusal([](P& p) { p.stop = {"a", ""}; }), "stop cannot contain an empty string");
  EXPECT_EQ(refusal([](P& p) { p.stop.assign(100000, "a"); }), "stop must be at most 1024 strings, got 100000");
  EXPECT_EQ(refusal([](P& p) { p.stop = {std::string(1000000, 'a')}; }),
            "stop must be at most 65536 bytes in all, got 1000000");
  EXPECT_EQ(refusal([](P& p) { p.stop = {"\xff"}; }), "stop must be valid UTF-8, got '\\xff'");
  EXPECT_EQ(refusal([](P& p) { p.stop = {"a"}, p.detokenize = false; }),
            "stop strings are only supported when detokenize is True, got detokenize=False");
}

TEST(SamplingParams, fault_086_token_rules) {
  using P = SamplingParams;
  EXPECT_EQ(refusal([](P& p) {
              p.logit_bias = {{3, 1.0}, {5, std::nan("")}};
            }),
            "logit_bias must be numbers, got nan for token id 5");
  EXPECT_EQ(refusal([](P& p) { p.allowed_token_ids.emplace(); }), "allowed_token_ids must not be empty, got 0 ids");
  EXPECT_EQ(refusal([](P& p) { p.allowed_token_ids = {1}; }), "");
  EXPECT_EQ(refusal([](P& p) { p.bad_words = {"a", ""}; }), "bad_words cannot contain an empty string");
  EXPECT_EQ(refusal([](P& p) { p.bad_words = {"\xc3"}; }), "bad_words must be valid UTF-8, got '\\xc3'");
  EXPECT_EQ(refusal([](P& p) { p.bad_words.assign(100000, "a"); }),
            "bad_words must be at most 1024 strings, got 100000");
  EXPECT_EQ(refusal([](P& p) { p.bad_words = {std::string(1000000, 'a')}; }),
            "bad_words must be at most 65536 bytes in all, got 1000000");
}

TEST(SamplingParams, BiasesAreClamped) {
  const double inf = std::numeric_limits<double>::infinity();
  SamplingParams params;
  params.logit_bias = {{1, 1000}, {2, -inf}, {3, 100}, {4, -2.5}};
  params.validate_and_normalize();
  EXPECT_EQ(params.logit_bias, (std::map<int64_t, double>{{1, 100}, {2, -100}, {3, 100}, {4, -2.5}}));
}

TEST(SamplingParams, GreedyResetsTheRest) {
  SamplingParams params;
  params.temperature = 1e-6;
  params.top_p = 0.5;
  params.top_k = 5;
  params.min_p = 0.1;
  params.seed = -1;
  params.validate_and_normalize();
  EXPECT_EQ(params.temperature, 0);
  EXPECT_EQ(params.top_p, 1);
  EXPECT_EQ(params.top_k, 0);
  EXPECT_EQ(params.min_p, 0);
  EXPECT_FALSE(params.seed);
}

TEST(SamplingParams, TinyTemperaturesAreRaised) {
  SamplingParams params;
  params.temperature = 0.005;
  params.top_k = -1;
  params.top_p = 0.5;
  params.validate_and_normalize();
  EXPECT_EQ(params.temperature, 0.01);
  EXPECT_EQ(params.top_k, 0);
  EXPECT_EQ(params.top_p, 0.5);
}

}  // namespace
}  // namespace packhorse
