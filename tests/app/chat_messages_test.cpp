// Rows 82 and 90 of the fault catalogue: what the messages of a chat may be.
#include <gmock/gmock.h>

#include "app/server/api/chat_request.h"
#include "app/server/api/chat_run.h"
#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using ::testing::HasSubstr;
using testing::refusal;

Json messages_of(const std::string& messages, const TemplateTraits& traits = {}) {
  const Json body = Json::parse(R"({"messages": )" + messages + "}");
  return read_messages(Fields(body), "messages", traits);
}

HttpError refused_messages(const std::string& messages) {
  return refusal([&] { messages_of(messages); });
}

TEST(ChatMessages, text_parts_become_one_text_or_stay_parts) {
  const std::string message = R"([{"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"}, "b"]}])";
  EXPECT_EQ(messages_of(message), Json::parse(R"([{"role": "user", "content": "a\nb", "name": "ann"}])"));
  EXPECT_EQ(messages_of(message, {.wants_parts = true})[0]["content"],
            Json::parse(R"([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])"));
  EXPECT_EQ(messages_of(R"([{"role": "user", "content": "a"}])", {.wants_parts = true})[0]["content"],
            Json::parse(R"([{"type": "text", "text": "a"}])"));
}

TEST(ChatMessages, arguments_of_calls_become_objects) {
  const Json messages = messages_of(R"([{"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type":
      "function", "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": [2]}"}}, {"function": {"name": "g",
      "arguments": ""}}]}, {"role": "tool", "tool_call_id": "c1", "content": "3"}])");
  EXPECT_EQ(messages, Json::parse(R"([{"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function":
      {"name": "f", "arguments": {"b": 1, "a": [2]}}}, {"type": "function", "function": {"name": "g", "arguments":
      {}}}], "content": ""}, {"role": "tool", "content": "3", "tool_call_id": "c1"}])"));
  const HttpError error = refused_messages(R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f",
      "arguments": "[1]"}}]}])");
  EXPECT_EQ(error.param, "messages[0].tool_calls[0].function.arguments");
}

TEST(ChatMessages, an_answer_without_content_has_an_empty_one) {
  for (const char* message :
       {R"([{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f"}}]}])",
        R"([{"role": "assistant", "reasoning": "hm"}])", R"([{"role": "assistant", "content": null}])",
        R"([{"role": "assistant"}])", R"([{"role": "assistant", "content": []}])",
        R"([{"role": "tool", "tool_call_id": "c", "content": null}])", R"([{"role": "tool", "content": []}])"}) {
    EXPECT_EQ(messages_of(message)[0]["content"], "") << message;
    EXPECT_EQ(messages_of(message, {.wants_parts = true})[0]["content"], Json::array()) << message;
  }
}

TEST(ChatMessages, the_template_decides_about_roles) {
  const std::string longest(64, 'k');
  for (const std::string& role : {std::string("king"), longest}) {
    EXPECT_EQ(messages_of(R"([{"role": ")" + role + R"(", "content": "x"}])")[0]["role"], role);
  }
  EXPECT_EQ(refused_messages(R"([{"role": "k)" + longest + R"(", "content": "x"}])").param, "messages[0].role");
}

TEST(ChatMessages, developer_is_system_where_the_template_knows_no_better) {
  const std::string message = R"([{"role": "developer", "content": "x"}])";
  EXPECT_EQ(messages_of(message)[0]["role"], "system");
  EXPECT_EQ(messages_of(message, {.knows_developer = true})[0]["role"], "developer");
}

TEST(ChatMessages, the_template_shows_whether_it_wants_parts) {
  EXPECT_TRUE(template_traits("{%- for part in message['content'] -%}", "auto").wants_parts);
  EXPECT_TRUE(template_traits("{% for part in message.content %}", "").wants_parts);
  EXPECT_FALSE(template_traits("{% for m in messages %}{{ m.content }}{% endfor %}", "auto").wants_parts);
  EXPECT_TRUE(template_traits("", "openai").wants_parts);
  EXPECT_FALSE(template_traits("{% for part in message.content %}", "string").wants_parts);
}

TEST(ChatMessages, fault_082_messages_that_are_none) {
  struct Case {
    const char* messages;
    const char* param;
  };
  const Case cases[] = {
      {"[]", "messages"},
      {"null", "messages"},
      {"{}", "messages"},
      {"[1]", "messages[0]"},
      {R"([{"content": "x"}])", "messages[0].role"},
      {R"([{"role": "", "content": "x"}])", "messages[0].role"},
      {R"([{"role": 1, "content": "x"}])", "messages[0].role"},
      {R"([{"role": "user"}])", "messages[0].content"},
      {R"([{"role": "user", "content": null}])", "messages[0].content"},
      {R"([{"role": "assistant", "content": 5}])", "messages[0].content"},
      {R"([{"role": "system", "content": null}])", "messages[0].content"},
      {R"([{"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}}])",
       "messages[0].function_call"},
      {R"([{"role": "user", "content": []}])", "messages[0].content"},
      {R"([{"role": "user", "content": 5}])", "messages[0].content"},
      {R"([{"role": "user", "content": [5]}])", "messages[0].content[0]"},
      {R"([{"role": "user", "content": [{"type": "text"}]}])", "messages[0].content[0].text"},
      {R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])", "messages[0].tool_calls[0].function.name"},
  };
  for (const Case& c : cases) {
    const HttpError error = refused_messages(c.messages);
    EXPECT_EQ(error.status, 400) << c.messages;
    EXPECT_EQ(error.param, c.param) << c.messages;
  }
}

TEST(ChatMessages, fault_090_nothing_is_fetched) {
  for (const char* part :
       {R"({"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}})",
        R"({"type": "input_audio", "input_audio": {}})", R"({"type": "file", "file": "file://x"})"}) {
    const HttpError error = refused_messages(R"([{"role": "user", "content": [)" + std::string(part) + "]}]");
    EXPECT_EQ(error.status, 400);
    EXPECT_THAT(error.message, HasSubstr("is not supported"));
    EXPECT_EQ(error.param, "messages[0].content[0].type");
  }
}

}  // namespace
}  // namespace packhorse::server
