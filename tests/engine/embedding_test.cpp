// Embeddings on the fake model: which hidden states are pooled, whatever the steps were.

#include <numeric>

#include "fake_model.h"

namespace packhorse {
namespace {

using namespace testing;
using Pooling = PoolingParams::Pooling;

std::vector<int32_t> prompt_of(int64_t n, int32_t salt = 1) {
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    tokens[static_cast<size_t>(i)] = static_cast<int32_t>((i * 7 + salt * 13) % kFakeVocab);
  return tokens;
}

std::vector<float> expected(const std::vector<int32_t>& tokens, const PoolingParams& params) {
  std::vector<double> sum(4);
  for (size_t n = params.pooling == Pooling::mean ? 1 : tokens.size(); n <= tokens.size(); ++n) {
    const std::vector<float> hidden = fake_hidden(std::span(tokens).first(n));
    for (size_t i = 0; i < 4; ++i) sum[i] += static_cast<double>(hidden[i]);
  }
  if (params.pooling == Pooling::mean) {
    for (double& value : sum) value /= static_cast<double>(tokens.size());
  }
  sum.resize(static_cast<size_t>(params.dimensions.value_or(4)));
  const double norm = params.normalize ? std::sqrt(std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0)) : 1;
  std::vector<float> out;
  for (const double value : sum) out.push_back(static_cast<float>(value / norm));
  return out;
}

void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6) << i;
}

uint64_t add(FakeEngine& engine, const std::vector<int32_t>& tokens, const PoolingParams& params) {
  Prompt prompt;
  prompt.token_ids.emplace(tokens.begin(), tokens.end());
  return engine.core.add(prompt, params);
}

PoolingParams params_of(Pooling pooling, bool normalize = true, std::optional<int64_t> dimensions = {}) {
  return {.pooling = pooling, .normalize = normalize, .dimensions = dimensions};
}

const std::vector<PoolingParams> kKinds = {params_of(Pooling::last), params_of(Pooling::mean),
                                           params_of(Pooling::mean, false, 3)};

TEST(Embedding, IsTheLastOrTheMeanOfTheHiddenStates) {
  for (const PoolingParams& params : kKinds) {
    FakeEngine engine(64);
    const uint64_t id = add(engine, prompt_of(50), params);
    const RequestOutput output = engine.finish().at(id);
    ASSERT_TRUE(output.embedding);
    EXPECT_TRUE(output.finished);
    EXPECT_TRUE(output.outputs.empty());
    expect_near(*output.embedding, expected(prompt_of(50), params));
  }
}

TEST(Embedding, ChunksCachedPrefixesAndCompanyChangeNothing) {
  for (const PoolingParams& params : kKinds) {
    FakeEngine engine(64, {.max_num_batched_tokens = 7});
    engine.run(prompt_of(50), greedy(3));  // fills the prefix cache
    const uint64_t generating = engine.add(prompt_of(20, 5), greedy(30));
    const uint64_t id = add(engine, prompt_of(50), params);
    const auto outputs = engine.finish();
    FakeEngine alone(64);
    const uint64_t same = add(alone, prompt_of(50), params);
    EXPECT_EQ(*outputs.at(id).embedding, *alone.finish().at(same).embedding);
    EXPECT_EQ(outputs.at(generating).outputs[0].token_ids.size(), 30u);
  }
}

TEST(Embedding, SurvivesPreemption) {
  for (const PoolingParams& params : kKinds) {
    FakeEngine engine(8, {.max_num_batched_tokens = 16});
    const uint64_t generating = engine.add(prompt_of(20, 5), greedy(70));
    for (int i = 0; i < 43; ++i) engine.core.step();  // soon a fifth block is needed
    const uint64_t id = add(engine, prompt_of(60), params);
    const auto outputs = engine.finish();
    EXPECT_GT(engine.core.stats().n_preemptions, 0);
    EXPECT_EQ(outputs.at(generating).outputs[0].token_ids.size(), 70u);
    expect_near(*outputs.at(id).embedding, expected(prompt_of(60), params));
  }
}

TEST(Embedding, RefusesWhatItCannotGive) {
  FakeEngine engine(8, {.max_model_len = 100});
  for (const int64_t dimensions : {int64_t{0}, int64_t{-1}, int64_t{5}}) {
    EXPECT_THROW(add(engine, prompt_of(5), params_of(Pooling::last, true, dimensions)), Error);
  }
  EXPECT_THROW(add(engine, {}, {}), Error);
  EXPECT_THROW(add(engine, prompt_of(101), {}), Error);
  EXPECT_FALSE(engine.core.has_unfinished());
  const uint64_t id = add(engine, prompt_of(100), {});
  EXPECT_TRUE(engine.finish().at(id).embedding);
}

TEST(Embedding, CanBeAborted) {
  FakeEngine engine(64, {.max_num_batched_tokens = 7});
  const uint64_t id = add(engine, prompt_of(50), {});
  engine.core.step();
  engine.core.abort(id);
  const RequestOutput output = engine.finish().at(id);
  EXPECT_FALSE(output.embedding);
  EXPECT_EQ(output.outputs.at(0).finish_reason, "abort");
}

}  // namespace
}  // namespace packhorse
