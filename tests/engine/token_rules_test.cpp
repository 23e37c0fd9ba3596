// logit_bias, allowed_token_ids and bad_words from a request to the tokens of its output.

#include "engine/sampler/token_rules.h"

#include "base/error.h"
#include "engine/fake_model.h"

namespace packhorse {
namespace {

using testing::fake_logits;
using testing::FakeEngine;
using testing::greedy;
using testing::kFakeVocab;
using testing::test_prompt;
using Sequences = std::vector<std::vector<int32_t>>;

constexpr int32_t kA = 0, kB = 1, kSpace = 3, kSpaceA = 4;

/// Letters, a space, and " a" as one token.
const Tokenizer& tokenizer() {
  static const Tokenizer made = [] {
    const Json vocab = {{"a", kA}, {"b", kB}, {"c", 2}, {"Ġ", kSpace}, {"Ġa", kSpaceA}};
    const Json file = {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"Ġ a"}}}},
                       {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}},
                       {"decoder", {{"type", "ByteLevel"}}}};
    return Tokenizer::from_tokenizer_json(parse_json(file.dump(), "tokenizer.json"), nullptr, "tokenizer.json");
  }();
  return made;
}

Sequences sequences_of(const std::vector<std::string>& words) {
  SamplingParams params;
  params.bad_words = words;
  return make_token_rules(params, &tokenizer(), kFakeVocab)->bad_words;
}

std::string refusal(const SamplingParams& params, const Tokenizer* with = &tokenizer()) {
  FakeEngine engine(64, {}, with);
  std::string message;
  try {
    engine.add({1}, params);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::request);
    message = e.what();
  }
  EXPECT_EQ(engine.core.num_unfinished(), message.empty() ? 1u : 0u);
  EXPECT_EQ(engine.run({1}, greedy(2)).outputs[0].finish_reason, "length");  // the engine goes on
  return message;
}

TEST(TokenRules, BadWordsAreTokenizedWithAndWithoutASpace) {
  EXPECT_EQ(sequences_of({"a"}), (Sequences{{kA}, {kSpaceA}}));
  EXPECT_EQ(sequences_of({"ab", "b"}), (Sequences{{kA, kB}, {kSpaceA, kB}, {kB}}));  // " b" is a token longer
  EXPECT_EQ(sequences_of({" \n a"}), sequences_of({"a"}));
  EXPECT_EQ(sequences_of({"b a"}), (Sequences{{kB, kSpaceA}}));
}

TEST(TokenRules, BadWordsAreNeverCompleted) {
  FakeEngine engine(64, {}, &tokenizer());
  engine.model.script = [](std::span<const int32_t> tokens) { return tokens.back() == kA ? kB : kA; };
  EXPECT_EQ(engine.run({2}, greedy(6)).outputs[0].text, "ababab");
  SamplingParams params = greedy(6);
  params.bad_words = {"bab"};
  EXPECT_EQ(engine.run({2}, params).outputs[0].token_ids[2], kA);
  const std::vector<int32_t> tokens = engine.run({2}, params).outputs[0].token_ids;
  for (size_t i = 2; i < tokens.size(); ++i) {
    EXPECT_FALSE(tokens[i - 2] == kB && tokens[i - 1] == kA && tokens[i] == kB) << i;
  }
  EXPECT_NE(tokens[3], kB);  // where "abab" would have had it
}

TEST(TokenRules, OnlyAllowedTokensAreChosen) {
  FakeEngine engine;
  SamplingParams params = greedy(20);
  params.allowed_token_ids = {7, 70, 7, 33};
  const auto prompt = test_prompt(5);
  std::vector<int32_t> tokens = prompt;
  for (int i = 0; i < 20; ++i) {  // the likeliest of the three, one after the other
    const std::vector<float> logits = fake_logits(tokens);
    tokens.push_back(std::max({7, 33, 70}, [&](int32_t a, int32_t b) {
      return logits[static_cast<size_t>(a)] < logits[static_cast<size_t>(b)];
    }));
  }
  EXPECT_EQ(engine.run(prompt, params).outputs[0].token_ids, std::vector<int32_t>(tokens.begin() + 5, tokens.end()));
  params.temperature = 2;
  params.seed = 5;
  const RequestOutput drawn = engine.run(prompt, params);
  for (const int32_t token : drawn.outputs[0].token_ids) {
    EXPECT_TRUE(token == 7 || token == 33 || token == 70) << token;
  }
}

TEST(TokenRules, BiasesMoveTheChoice) {
  FakeEngine engine;  // logits lie in [-4, 4)
  SamplingParams params = greedy(5);
  params.logit_bias = {{50, 9.0}};
  EXPECT_EQ(engine.run(test_prompt(5), params).outputs[0].token_ids, std::vector<int32_t>(5, 50));
  const int32_t best = engine.run(test_prompt(5), greedy(1)).outputs[0].token_ids[0];
  params.logit_bias = {{best, -9.0}};
  EXPECT_NE(engine.run(test_prompt(5), params).outputs[0].token_ids[0], best);
}

TEST(TokenRules, fault_086_ids_outside_the_vocabulary) {
  SamplingParams params = greedy(2);
  EXPECT_EQ(refusal(params), "");
  params.logit_bias = {{kFakeVocab - 1, 1.0}};
  EXPECT_EQ(refusal(params), "");
  for (const int64_t id : {int64_t{kFakeVocab}, int64_t{-1}, int64_t{1} << 40, INT64_MIN}) {
    const std::string what = fmt::format("token id {} is out of vocabulary (got {}, limit 95)", id, id);
    params.logit_bias = {{5, 1.0}, {id, 1.0}};
    EXPECT_EQ(refusal(params), "logit_bias: " + what);
    params.logit_bias.clear();
    params.allowed_token_ids = {5, id};
    EXPECT_EQ(refusal(params), "allowed_token_ids: " + what);
    params.allowed_token_ids.reset();
  }
}

TEST(TokenRules, fault_086_a_million_biases) {
  SamplingParams params = greedy(2);
  for (int64_t id = 0; id < kFakeVocab; ++id) params.logit_bias[id] = 1;
  EXPECT_EQ(refusal(params), "");
  for (int64_t id = 0; id < 1000000; ++id) params.logit_bias[id] = 1;
  EXPECT_EQ(refusal(params), "logit_bias: more entries than the vocabulary has tokens (got 1000000, limit 96)");
}

TEST(TokenRules, fault_086_bad_words_need_tokens_and_a_tokenizer) {
  SamplingParams params = greedy(2);
  params.bad_words = {"b"};
  EXPECT_EQ(refusal(params), "");
  EXPECT_EQ(refusal(params, nullptr), "bad_words: they need a tokenizer, and skip_tokenizer_init is set");
  params.bad_words = {"b", " \t"};
  EXPECT_EQ(refusal(params), "bad_words: ' \\x09' has no tokens (got 0, needed 1)");
}

TEST(TokenRules, OutputsOfOneRequestDifferAndComeAgain) {
  SamplingParams params;
  params.n = 4;
  params.seed = 11;
  params.max_tokens = 12;
  const auto tokens_of = [&] {
    FakeEngine engine;
    std::vector<std::vector<int32_t>> out;
    for (const CompletionOutput& output : engine.run(test_prompt(20), params).outputs) out.push_back(output.token_ids);
    return out;
  };
  const auto first = tokens_of();
  EXPECT_EQ(tokens_of(), first);
  for (size_t i = 0; i < 4; ++i) {
    for (size_t k = 0; k < i; ++k) EXPECT_NE(first[i], first[k]);
  }
  params.n = 2;  // an output does not depend on how many there are
  const auto fewer = tokens_of();
  EXPECT_EQ(fewer, (Sequences{first[0], first[1]}));
  params.seed = 12;
  EXPECT_NE(tokens_of(), fewer);
}

}  // namespace
}  // namespace packhorse
