// Values of the server's flags that no range tells, and that each flag reaches what it is for.
#include "app/server/serve_flags.h"

#include <gmock/gmock.h>

#include <map>
#include <set>
#include <string>

namespace packhorse::server {
namespace {

using ::testing::HasSubstr;

ApiOptions structured(const std::string& config, const std::string& reasoning_parser = "") {
  ServeFlags flags;
  flags.structured_outputs_config = config;
  flags.api.reasoning_parser = reasoning_parser;
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

TEST(ServeFlags, older_name_of_disable_any_whitespace) {
  ServeFlags flags;
  flags.api.disable_any_whitespace = true;
  EXPECT_TRUE(api_options(flags, {}).disable_any_whitespace);
  flags.structured_outputs_config = R"({"disable_any_whitespace": false})";
  EXPECT_FALSE(api_options(flags, {}).disable_any_whitespace);
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

/// All that the flags are for, but what serve.cpp reads from them itself.
struct AllOptions {
  explicit AllOptions(const ServeFlags& flags)
      : http(http_options(flags)), api(api_options(flags, {})), access_log(access_log_format(flags)) {
    const EngineOptions engine = engine_options(flags, {});
    template_steps = engine.template_steps, template_output_mb = engine.template_output_mb;
  }
  bool operator==(const AllOptions&) const = default;

  HttpOptions http;
  ApiOptions api;
  AccessLogFormat access_log;
  int64_t template_steps, template_output_mb;
};

/// A value that is not the default.
template <class Member>
std::string other_value(const app::Flag& flag, const Member& member) {
  static const std::map<std::string_view, std::string> kTexts = {
      {"root-path", "/x"},
      {"chat-template-content-format", "openai"},
      {"default-chat-template-kwargs", R"({"a": 1})"},
      {"tool-call-parser", "hermes"},
      {"reasoning-parser", "qwen3"},
      {"structured-outputs-config", R"({"enable_in_reasoning": true})"},
      {"pooler-config", R"({"pooling_type": "MEAN"})"},
      {"access-log-format", "json"},
      {"log-level", "error"},
  };
  if (const auto found = kTexts.find(flag.name); found != kTexts.end()) return found->second;
  if constexpr (std::is_same_v<Member, bool>)
    return member ? "false" : "true";
  else if constexpr (std::is_arithmetic_v<Member>)
    return fmt::format("{}", member + 1);
  else
    return "x";
}

TEST(ServeFlags, each_reaches_its_option) {
  const std::set<std::string_view> read_by_themselves = {"shutdown-timeout", "disable-access-log-for-endpoints",
                                                         "disable-log-stats"};
  ServeFlags base;
  base.http.cors.origins = {"https://a.example"};  // the other CORS flags need it
  const AllOptions usual(base);
  ServeFlags flags = base;
  visit_serve_flags(flags, [&](const app::Flag& flag, std::string_view, auto& member) {
    if (read_by_themselves.contains(flag.name)) return;
    const std::string text = other_value(flag, member);
    set_from_text(flag, flag.long_name(), text, member);
    EXPECT_FALSE(AllOptions(flags) == usual) << flag.long_name() << "=" << text;
    flags = base;
  });
}

TEST(ServeFlags, defaults_are_those_of_the_options) {
  EXPECT_EQ(http_options({}), HttpOptions());
  ApiOptions named;
  named.served_model_names = {"m"};
  EngineOptions engine;
  engine.model = "m";
  EXPECT_EQ(api_options({}, engine), named);
}

TEST(ServeFlags, units) {
  ServeFlags flags;
  flags.max_body_mb = 3, flags.max_bodies_mb = 5, flags.max_header_kb = 7, flags.max_send_buffer_kb = 20;
  flags.header_timeout = 0.5, flags.body_timeout = 1.5, flags.send_timeout = 2, flags.idle_timeout = 4;
  flags.sse_keep_alive_interval = 0.25;
  flags.http.root_path = "/api//";
  using std::chrono::milliseconds;
  HttpOptions expected;
  expected.limits = {.max_body_bytes = 3 << 20,
                     .max_bodies_bytes = 5 << 20,
                     .max_header_bytes = 7 << 10,
                     .header_timeout = milliseconds(500),
                     .body_timeout = milliseconds(1500),
                     .send_timeout = milliseconds(2000),
                     .idle_timeout = milliseconds(4000),
                     .max_send_buffer_bytes = 20 << 10};
  expected.sse_keep_alive = milliseconds(250);
  expected.root_path = "/api";
  EXPECT_EQ(http_options(flags), expected);
}

}  // namespace
}  // namespace packhorse::server
