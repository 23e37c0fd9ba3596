// Compiled grammars, and the tokens that they leave.
#include "engine/structured/grammar_compiler.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <regex>
#include <thread>

#include "base/json.h"
#include "engine/structured/output_matcher.h"
#include "engine/structured_testing.h"
#include "testing.h"
#include "text/tokenizer.h"

namespace packhorse {
namespace {

Tokenizer llama_tokenizer() {
  const auto file = testing::golden_dir() / "tokenizer/llama2/tokenizer.json";
  return Tokenizer::from_tokenizer_json(parse_json(testing::read_text(file), "tokenizer.json", 64), Json(), "llama2");
}

TEST(Structured, GrammarsAreCompiledOnceForAllThreads) {
  const Tokenizer tokenizer = llama_tokenizer();
  const GrammarCompiler compiler(tokenizer, tokenizer.vocab_size() + 5, {2});
  const auto first = compiler.compile(pattern("[a-z]+"));
  EXPECT_EQ(compiler.compile(pattern("[a-z]+")), first);
  EXPECT_EQ(compiler.n_compiled(), 1);
  EXPECT_NE(compiler.compile(grammar("root ::= [a-z]+")), first);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 6; ++j) {
        OutputMatcher matcher(compiler.compile(schema(fmt::format(R"({{"enum": ["{}"]}})", j % 3))), {2});
        std::vector<float> logits(static_cast<size_t>(tokenizer.vocab_size()) + 5);
        matcher.mask(logits, false);
        EXPECT_GT(std::ranges::count(logits, 0.0f), 0);
        EXPECT_EQ(logits[2], -std::numeric_limits<float>::infinity());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(compiler.n_compiled(), 2 + 3 * 4);
  EXPECT_GE(compiler.n_compiled(), 2 + 3);
}

TEST(Structured, MasksAllowWhatTheGrammarDoes) {
  const Tokenizer tokenizer = llama_tokenizer();
  const GrammarCompiler compiler(tokenizer, tokenizer.vocab_size() + 5, {2});
  OutputMatcher matcher(compiler.compile(pattern("[ab]{2}")), {2});
  const auto allowed = [&] {
    std::vector<float> logits(static_cast<size_t>(tokenizer.vocab_size()) + 5);
    matcher.mask(logits, true);
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] == 0) tokens.push_back(static_cast<int32_t>(i));
    }
    return tokens;
  };
  for (const int32_t token : allowed()) {
    EXPECT_TRUE(std::regex_match(tokenizer.token_bytes(token), std::regex("[ab]{1,2}"))) << token;
  }
  ASSERT_TRUE(matcher.accept(*tokenizer.find("a")));
  EXPECT_FALSE(matcher.accept(*tokenizer.find("c")));
  EXPECT_FALSE(matcher.accept(2));
  ASSERT_TRUE(matcher.accept(*tokenizer.find("b")));
  EXPECT_EQ(allowed(), std::vector<int32_t>{2});
  EXPECT_TRUE(matcher.only_stop_left());
  EXPECT_FALSE(matcher.ended());
  EXPECT_TRUE(matcher.accept(2));
  EXPECT_TRUE(matcher.ended());
  EXPECT_TRUE(allowed().empty());
}

TEST(Structured, TokenBytesAreThoseOfTexts) {
  const Tokenizer tokenizer = llama_tokenizer();
  EXPECT_EQ(tokenizer.token_bytes(*tokenizer.find("<0xC3>")), "\xc3");
  EXPECT_EQ(tokenizer.token_bytes(*tokenizer.find("\xe2\x96\x81the")), " the");
  EXPECT_EQ(tokenizer.token_bytes(2), "");
  EXPECT_EQ(tokenizer.token_bytes(-1), "");
  EXPECT_EQ(tokenizer.token_bytes(static_cast<int32_t>(tokenizer.vocab_size())), "");
}

}  // namespace
}  // namespace packhorse
