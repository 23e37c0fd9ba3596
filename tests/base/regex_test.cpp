#include "base/regex.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace packhorse {
namespace {

TEST(Regex, MatchesAtTheStartAlone) {
  const Regex attention("(?!.*k_proj).*self_attn\\.[qkv]_proj", "config.json: targets");
  EXPECT_TRUE(attention.matches_start_of("model.layers.0.self_attn.q_proj"));
  EXPECT_TRUE(attention.matches_start_of("model.layers.0.self_attn.q_proj.more"));
  EXPECT_FALSE(attention.matches_start_of("model.layers.0.self_attn.k_proj"));
  EXPECT_FALSE(attention.matches_start_of("model.layers.0.self_attn.o_proj"));
  EXPECT_FALSE(Regex("layers", "t").matches_start_of("model.layers"));
  EXPECT_TRUE(Regex(".*head$", "t").matches_start_of("lm_head"));
  EXPECT_FALSE(Regex("lm$", "t").matches_start_of("lm_head"));
}

void expect_error(const std::string& expression, const std::string& text, const std::string& part) {
  try {
    Regex(expression, "config.json: targets").matches_start_of(text);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("config.json: targets: "), 0u) << error.what();
  }
}

TEST(Regex, FaultsNameThePlace) {
  expect_error("a(b", "ab", "expression 'a(b': missing closing parenthesis at byte 3");
  expect_error(std::string(20000, 'a'), "a", "expression of 20000 bytes (limit 16384)");
  expect_error("(a+)+x", std::string(60, 'a') + "yx", "too many steps");
}

}  // namespace
}  // namespace packhorse
