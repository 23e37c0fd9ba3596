// Values of the server's flags that no range tells.
#include "app/server/serve_flags.h"

#include <gmock/gmock.h>

namespace packhorse::server {
namespace {

using ::testing::HasSubstr;

ApiOptions structured(const std::string& config, const std::string& reasoning_parser = "") {
  ServeFlags flags;
  flags.structured_outputs_config = config;
  flags.reasoning_parser = reasoning_parser;
  return api_options(flags, {});
}

TEST(ServeFlags, structured_outputs_config) {
  for (const char* nothing : {"", "null", "{}"}) {
    const ApiOptions options = structured(nothing);
    EXPECT_FALSE(options.disable_any_whitespace || options.enable_in_reasoning) << nothing;
    EXPECT_EQ(options.reasoning_parser, "");
  }
  const ApiOptions all = structured(R"({"backend": "xgrammar", "disable_fallback": true, "disable_any_whitespace": true,
      "disable_additional_properties": true, "enable_in_reasoning": true, "reasoning_parser": "qwen3"})");
  EXPECT_TRUE(all.disable_any_whitespace);
  EXPECT_TRUE(all.enable_in_reasoning);
  EXPECT_EQ(all.reasoning_parser, "qwen3");
  EXPECT_EQ(structured(R"({"reasoning_parser": ""})", "mistral").reasoning_parser, "mistral");
  EXPECT_EQ(structured(R"({"reasoning_parser": "mistral"})", "mistral").reasoning_parser, "mistral");
}

TEST(ServeFlags, structured_outputs_config_that_is_none) {
  struct Case {
    const char *config, *message;
  };
  for (const auto& [config, message] : {
           Case{"[1]", "not a JSON object (got '[1]')"},
           Case{"{", "not a JSON object"},
           Case{R"({"backend": "outlines"})", R"(backend must be "auto" or "xgrammar" (got "outlines"))"},
           Case{R"({"enable_in_reasoning": 1})", "enable_in_reasoning must be true or false (got 1)"},
           Case{R"({"reasoning_parser": "mistral"})", "same as --reasoning-parser"},
           Case{R"({"reasoning_parser_plugin": "x.py"})", "there are no plugins"},
           Case{R"({"wish": true})", "no setting 'wish'"},
       }) {
    try {
      structured(config, "qwen3");
      ADD_FAILURE() << config;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_THAT(error.what(), AllOf(HasSubstr("--structured-outputs-config"), HasSubstr(message)));
    }
  }
  EXPECT_THROW(structured(R"({"reasoning_parser": "x"})"), Error);
}

}  // namespace
}  // namespace packhorse::server
