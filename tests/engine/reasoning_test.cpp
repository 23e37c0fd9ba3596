// Outputs that may think before they have to match: free up to the end of the reasoning, and nothing but a match
// behind.

#include "engine/structured/reasoning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <regex>

#include "base/json.h"
#include "engine/engine_testing.h"
#include "engine/structured/grammar_compiler.h"
#include "engine/structured/output_matcher.h"
#include "packhorse/packhorse.h"
#include "testing.h"

namespace packhorse {
namespace {

constexpr int32_t kEos = 2;

StructuredOutputs thinking(std::string regex, std::vector<std::string> ends, std::vector<std::string> starts = {}) {
  StructuredOutputs wanted;
  wanted.regex = std::move(regex);
  wanted.reasoning_ends = std::move(ends);
  wanted.reasoning_starts = std::move(starts);
  return wanted;
}

/// A matcher for a small part of Llama 2's vocabulary, which spells markers in several tokens.
class Reasoning : public ::testing::Test {
 protected:
  void begin(const StructuredOutputs& wanted) {
    matcher_ = std::make_unique<OutputMatcher>(compiler_.compile(wanted), std::vector<int32_t>{kEos},
                                               compiler_.markers(wanted, /*skip_special_tokens=*/true));
  }
  std::vector<float> mask() {
    std::vector<float> logits(static_cast<size_t>(tokenizer_.vocab_size()));
    matcher_->mask(logits, /*avoid_stop=*/false);
    return logits;
  }
  bool allows(std::string_view token) { return allows(tokenizer_.find(token).value()); }
  bool allows(int32_t token) { return mask()[static_cast<size_t>(token)] == 0; }
  int64_t n_allowed() { return std::ranges::count(mask(), 0.0F); }
  /// Takes the token when the mask allows it.
  bool take(std::string_view token) { return allows(token) && matcher_->accept(*tokenizer_.find(token)); }
  bool take_all(std::initializer_list<std::string_view> tokens) {
    return std::ranges::all_of(tokens, [&](std::string_view token) { return take(token); });
  }

  const Tokenizer tokenizer_ = Tokenizer::from_tokenizer_json(
      parse_json(testing::read_text(testing::golden_dir() / "tokenizer/llama2/tokenizer.json"), "tokenizer.json", 64),
      Json(), "llama2");
  const GrammarCompiler compiler_{tokenizer_, tokenizer_.vocab_size(), {kEos}};
  std::unique_ptr<OutputMatcher> matcher_;
};

TEST_F(Reasoning, IsFreeUpToItsEnd) {
  begin(thinking("[ab]{2}", {"</think>"}));
  EXPECT_GT(n_allowed(), 1'000);
  EXPECT_FALSE(allows(kEos));  // that would be an answer without the match
  ASSERT_TRUE(take_all({"ing", "</", "ther", "</", "th", "ink"}));
  EXPECT_TRUE(allows("ing"));
  EXPECT_FALSE(matcher_->ended());
  ASSERT_TRUE(take(">"));
  EXPECT_FALSE(allows("ing"));
  ASSERT_TRUE(take_all({"a", "b"}));
  EXPECT_EQ(n_allowed(), 1);
  EXPECT_TRUE(matcher_->only_stop_left());
  EXPECT_TRUE(matcher_->accept(kEos));
  EXPECT_TRUE(matcher_->ended());
}

TEST_F(Reasoning, NoTokenCarriesTextOverItsEnd) {
  begin(thinking("[ab]{2}", {"</th"}));
  for (const char* token : {"th", "ther", "thod", "t"}) EXPECT_TRUE(allows(token)) << token;
  ASSERT_TRUE(take("</"));
  for (const char* token : {"th", "t", "in"}) EXPECT_TRUE(allows(token)) << token;
  for (const char* token : {"ther", "thod"}) EXPECT_FALSE(allows(token)) << token;
  EXPECT_FALSE(matcher_->accept(*tokenizer_.find("ther")));  // also where nobody asked for the mask
}

TEST_F(Reasoning, ASkippedSpecialTokenIsAnEndAsWell) {
  begin(thinking("yes", {"<s>"}));
  ASSERT_TRUE(take_all({"ing", "<s>"}));
  EXPECT_FALSE(allows("ing"));
  EXPECT_TRUE(allows("y"));
}

TEST_F(Reasoning, AnOpeningIsOneMoreWayToBegin) {
  const StructuredOutputs wanted = thinking("yes", {"</think>"}, {"<think>"});
  begin(wanted);
  EXPECT_TRUE(allows("y"));
  EXPECT_TRUE(allows("<"));
  EXPECT_FALSE(allows("</"));
  EXPECT_FALSE(allows("ing"));
  EXPECT_FALSE(allows(kEos));
  ASSERT_TRUE(take_all({"y", "es"}));
  EXPECT_EQ(n_allowed(), 1);

  begin(wanted);
  ASSERT_TRUE(take("<"));
  EXPECT_FALSE(allows("y"));
  ASSERT_TRUE(take("th"));
  EXPECT_FALSE(allows("ing"));
  ASSERT_TRUE(take("ink"));
  ASSERT_TRUE(take(">"));
  EXPECT_GT(n_allowed(), 1'000);
  ASSERT_TRUE(take_all({"y", "es", "</", "th", "ink", ">"}));
  EXPECT_FALSE(allows("<"));  // only once
  ASSERT_TRUE(take_all({"y", "es"}));
  EXPECT_EQ(n_allowed(), 1);
}

TEST_F(Reasoning, WhatMatchesMayBeginLikeAnOpening) {
  const StructuredOutputs wanted = thinking("<[a-z]{4}(k>){0,2}", {"</think>"}, {"<think>"});
  begin(wanted);
  ASSERT_TRUE(take_all({"<", "th", "at"}));
  EXPECT_TRUE(allows(kEos));
  begin(wanted);
  ASSERT_TRUE(take_all({"<", "th", "in", "k"}));
  EXPECT_TRUE(allows(">"));
  ASSERT_TRUE(take(">"));
  EXPECT_FALSE(allows(kEos));  // as the text is read, this is reasoning
  ASSERT_TRUE(take_all({"ing", "</", "th", "ink", ">"}));
  EXPECT_FALSE(allows("at"));  // the answer begins anew
  ASSERT_TRUE(take_all({"<", "th", "at"}));
  EXPECT_TRUE(allows(kEos));
}

TEST_F(Reasoning, MarkersAreLookedUpOnce) {
  const StructuredOutputs wanted = thinking("yes", {"</think>"});
  EXPECT_EQ(compiler_.markers(wanted, true), compiler_.markers(wanted, true));
  EXPECT_NE(compiler_.markers(wanted, true), compiler_.markers(wanted, false));
  EXPECT_EQ(compiler_.markers(thinking("yes", {}), true), nullptr);
}

EngineOptions small_options() {
  EngineOptions options;
  options.model = (testing::golden_dir() / "formats" / "ct-w4a16-g128").string();
  options.max_model_len = 512;
  options.threads = 2;
  return options;
}

std::vector<CompletionOutput> answers(Engine& engine, const StructuredOutputs& wanted, SamplingParams params = {}) {
  params.structured_outputs = wanted;
  params.max_tokens = 150;
  params.n = 2;
  for (params.seed = 1; *params.seed <= 5; ++*params.seed) engine.add({.text = "Once upon a time"}, params);
  std::vector<CompletionOutput> all;
  while (engine.has_unfinished()) {
    for (RequestOutput& output : engine.step()) {
      if (!output.finished) continue;
      for (CompletionOutput& part : output.outputs) all.push_back(std::move(part));
    }
  }
  EXPECT_EQ(all.size(), 10U);
  return all;
}

TEST(ReasoningOutputs, EndWithTheMatch) {
  Engine engine(small_options());
  SamplingParams params;
  params.logprobs = 1;
  params.logit_bias = {{*engine.eos_token_id(), 30.0}};  // it would end at once
  for (const std::string end : {"I I", "and", " ("}) {
    int n_stopped = 0, n_thought = 0;
    for (const CompletionOutput& output : answers(engine, thinking("[0-9]{3}", {end}), params)) {
      EXPECT_EQ(output.logprobs->size(), output.token_ids.size());
      const size_t at = output.text.find(end);
      if (output.finish_reason != "stop") continue;
      ++n_stopped;
      n_thought += static_cast<int>(at > 0);
      ASSERT_NE(at, std::string::npos) << output.text;
      EXPECT_TRUE(std::regex_match(output.text.substr(at + end.size()), std::regex("[0-9]{3}"))) << output.text;
    }
    EXPECT_GT(n_stopped, 0) << end;
    EXPECT_GT(n_thought, 0) << end;
  }
}

TEST(ReasoningOutputs, BeginWithAStartOrTheMatch) {
  Engine engine(small_options());
  const std::regex thought("( I| \\()[^]*?and[0-9]{3}"), matched("[0-9]{3}");
  for (const bool is_likely : {false, true}) {
    SamplingParams params;
    params.temperature = is_likely ? 1.0 : 2.0;
    if (is_likely) params.logit_bias = {{engine.tokenize(" I", false).back(), 100.0}};
    for (const CompletionOutput& output : answers(engine, thinking("[0-9]{3}", {"and"}, {" I", " ("}), params)) {
      if (output.finish_reason == "stop") {
        EXPECT_TRUE(std::regex_match(output.text, matched) || std::regex_match(output.text, thought)) << output.text;
      }
      if (is_likely) {
        EXPECT_TRUE(output.text.starts_with(" I")) << output.text;
      }
    }
  }
}

TEST(ReasoningOutputs, NeitherChunksNorPreemptionShow) {
  const auto tokens = [](const EngineOptions& options, int64_t& n_preemptions) {
    Engine engine(options);
    std::vector<std::vector<int32_t>> all;
    for (const CompletionOutput& output : answers(engine, thinking("([a-z]{3} ){20}", {"and"})))
      all.push_back(output.token_ids);
    n_preemptions = engine.stats().n_preemptions;
    std::ranges::sort(all);
    return all;
  };
  int64_t none = 0, some = 0;
  const auto expected = tokens(small_options(), none);
  EXPECT_EQ(tokens(testing::crowded(small_options(), 20), some), expected);
  EXPECT_EQ(none, 0);
  EXPECT_GT(some, 0);
}

TEST(ReasoningOutputs, StopStringsEndReasoningToo) {
  Engine engine(small_options());
  SamplingParams params;
  params.stop = {"."};
  int n_stopped = 0;
  for (const CompletionOutput& output : answers(engine, thinking("[0-9]{3}", {"</think>"}), params)) {
    n_stopped += static_cast<int>(output.stop_string == ".");
    EXPECT_EQ(output.text.find('.'), std::string::npos);
  }
  EXPECT_GT(n_stopped, 0);
}

TEST(ReasoningOutputs, MarkersAreChecked) {
  for (const StructuredOutputs& wanted :
       {thinking("a", {""}), thinking("a", {"x"}, {""}), thinking("a", {}, {"x"}), thinking("a", {"\xff"})}) {
    SamplingParams params;
    params.structured_outputs = wanted;
    EXPECT_THROW(params.validate_and_normalize(), Error);
  }
}

}  // namespace
}  // namespace packhorse
