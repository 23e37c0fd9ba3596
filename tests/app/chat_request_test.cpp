// Row 65 of the fault catalogue, and what becomes of the requests of the three notations for chats.
#include "app/server/api/chat_request.h"

#include <gmock/gmock.h>

#include "app/chat_testing.h"
#include "app/server/api/chat_run.h"
#include "app/server/api/messages_request.h"
#include "app/server/api/responses_request.h"
#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using ::testing::HasSubstr;
using testing::refusal;
using testing::SmallServer;

class ChatRequests : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<SmallServer>(); }
  static void TearDownTestSuite() { server_.reset(); }
  static ServerContext& context() { return server_->context; }

  static ChatRequest chat(const std::string& more) {
    const Json body = Json::parse(R"({"messages": [{"role": "user", "content": "Hi"}])" + more + "}");
    return read_chat(context(), Fields(body));
  }
  static std::string text(const std::string& more) { return render_text(context(), chat(more)); }
  static Prompt prompt(const std::string& more) { return render_prompt(context(), chat(more)); }
  static HttpError refused(const std::string& more) {
    return refusal([&] { prompt(more); });
  }

 private:
  inline static std::unique_ptr<SmallServer> server_;
};

TEST_F(ChatRequests, the_prompt_is_what_the_template_makes) {
  EXPECT_THAT(text(""), HasSubstr("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
  EXPECT_EQ(prompt("").token_ids->size(), context().engine.engine().tokenize(text(""), false).size());
  EXPECT_EQ(prompt(R"(, "truncate_prompt_tokens": 3)").token_ids->size(), 3u);
  EXPECT_EQ(prompt(R"(, "truncate_prompt_tokens": 3, "truncation_side": "left")").token_ids->size(), 3u);
  EXPECT_EQ(refused(R"(, "truncation_side": "right")").param, "truncation_side");
  EXPECT_EQ(prompt(R"(, "cache_salt": "s")").cache_salt, "s");
}

TEST_F(ChatRequests, token_limits_and_logprobs) {
  EXPECT_EQ(chat(R"(, "max_tokens": 5)").params.max_tokens, 5);
  EXPECT_EQ(chat(R"(, "max_tokens": 5, "max_completion_tokens": 7)").params.max_tokens, 7);
  EXPECT_EQ(chat("").params.max_tokens, std::nullopt);
  EXPECT_EQ(chat(R"(, "logprobs": true, "top_logprobs": 2)").params.logprobs, 2);
  EXPECT_EQ(chat(R"(, "logprobs": true)").params.logprobs, 0);
  EXPECT_EQ(chat(R"(, "logprobs": false)").params.logprobs, std::nullopt);
  EXPECT_EQ(refused(R"(, "top_logprobs": 2)").param, "top_logprobs");
  EXPECT_EQ(refused(R"(, "logprobs": true, "top_logprobs": -2)").param, "top_logprobs");
  EXPECT_EQ(refused(R"(, "logprobs": true, "top_logprobs": 21)").param, "top_logprobs");
  EXPECT_EQ(refused(R"(, "logprobs": 3)").param, "logprobs");
  EXPECT_EQ(refused(R"(, "max_tokens": 0)").param, "max_tokens");
  EXPECT_EQ(refused(R"(, "max_completion_tokens": 0)").param, "max_completion_tokens");
  EXPECT_EQ(chat(R"(, "max_completion_tokens": 5)").words.max_tokens, "max_completion_tokens");
}

TEST_F(ChatRequests, the_last_message_may_be_continued) {
  const Json body = Json::parse(R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content":
      "Well"}], "continue_final_message": true})");
  const ChatRequest chat = read_chat(context(), Fields(body));
  EXPECT_FALSE(chat.add_generation_prompt);
  EXPECT_TRUE(render_text(context(), chat).ends_with("<|im_start|>assistant\nWell"));
  EXPECT_EQ(refused(R"(, "continue_final_message": true, "add_generation_prompt": true)").param,
            "continue_final_message");
}

TEST_F(ChatRequests, fault_065_templates_of_requests) {
  EXPECT_EQ(refused(R"(, "chat_template": "x")").param, "chat_template");
  EXPECT_EQ(refused(R"(, "chat_template_kwargs": {"tokenize": true})").param, "chat_template_kwargs");
  EXPECT_EQ(refused(R"(, "chat_template_kwargs": {"messages": []})").param, "chat_template_kwargs");
  context().options.trust_request_chat_template = true;
  EXPECT_EQ(text(R"(, "chat_template": "{{ messages[0].content }}{{ x }}", "chat_template_kwargs": {"x": 7})"), "Hi7");
  EXPECT_EQ(refused(R"(, "chat_template": "{{ broken ")").status, 400);
  context().options.trust_request_chat_template = false;
}

TEST_F(ChatRequests, kwargs_of_the_request_go_over_those_of_the_server) {
  context().options.default_chat_template_kwargs = R"({"a": 1, "b": 2})";
  const Json kwargs = chat(R"(, "chat_template_kwargs": {"b": 3}, "documents": [{"title": "t"}],
                              "reasoning_effort": "none")")
                          .template_kwargs;
  context().options.default_chat_template_kwargs.clear();
  EXPECT_EQ(kwargs["a"], 1);
  EXPECT_EQ(kwargs["b"], 3);
  EXPECT_EQ(kwargs["documents"][0]["title"], "t");
  EXPECT_EQ(kwargs["enable_thinking"], false);
  EXPECT_EQ(kwargs["reasoning_effort"], "none");
  EXPECT_EQ(refused(R"(, "reasoning_effort": "huge")").param, "reasoning_effort");
}

TEST_F(ChatRequests, kwargs_are_as_few_as_other_names) {
  Json kwargs = Json::object();
  for (size_t i = 0; i <= kMaxFields; ++i) kwargs["k" + std::to_string(i)] = 1;
  EXPECT_EQ(refused(R"(, "chat_template_kwargs": )" + kwargs.dump()).param, "chat_template_kwargs");
  kwargs.erase("k0");
  EXPECT_EQ(chat(R"(, "chat_template_kwargs": )" + kwargs.dump()).template_kwargs.size(), kMaxFields);
}

TEST_F(ChatRequests, tools_that_may_not_be_called_can_be_kept_from_the_template) {
  context().options.trust_request_chat_template = true;
  const auto sees_tools = [](const std::string& choice) {
    return text(R"(, "chat_template": "{{ tools[0].function.name if tools else 'none' }}", "tools": [)" +
                std::string(kWeather) + R"(], "tool_choice": )" + choice) != "none";
  };
  EXPECT_TRUE(sees_tools(R"("none")"));
  context().options.exclude_tools_when_tool_choice_none = true;
  EXPECT_FALSE(sees_tools(R"("none")"));
  EXPECT_TRUE(sees_tools(R"("required")"));
  EXPECT_TRUE(sees_tools(R"("auto")"));
  context().options.exclude_tools_when_tool_choice_none = false;
  context().options.trust_request_chat_template = false;
}

TEST_F(ChatRequests, auto_needs_to_know_how_the_model_calls) {
  ChatRequest with_tools = chat(R"(, "tools": [)" + std::string(kWeather) + "]");
  EXPECT_EQ(refusal([&] { parser_options(context(), with_tools); }).param, "tool_choice");
  context().options.tool_call_parser = "hermes";
  const OutputParserOptions parser = parser_options(context(), with_tools);
  EXPECT_EQ(parser.tool_parser, "hermes");
  EXPECT_EQ(parser.tools, ToolMode::parsed);
  context().options.enable_auto_tool_choice = false;
  EXPECT_EQ(refusal([&] { parser_options(context(), with_tools); }).param, "tool_choice");
  context().options.enable_auto_tool_choice = true;
  context().options.tool_call_parser.clear();
}

TEST_F(ChatRequests, items_of_responses_become_messages) {
  const Json body = Json::parse(R"({"instructions": "Be brief.", "max_output_tokens": 9, "input": [
      {"role": "user", "content": [{"type": "input_text", "text": "q"}]},
      {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
      {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"x\":1}"},
      {"type": "function_call", "call_id": "d", "name": "g", "arguments": "{}"},
      {"type": "function_call_output", "call_id": "c", "output": "1"},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]}]})");
  const ResponsesRequest request = read_responses_chat(context(), Fields(body), Json::parse(R"([{"role": "user",
      "content": "before"}])"));
  EXPECT_EQ(request.chat.messages, Json::parse(R"([{"role": "system", "content": "Be brief."},
      {"role": "user", "content": "before"}, {"role": "user", "content": "q"},
      {"role": "assistant", "reasoning": "hm", "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
        {"id": "d", "type": "function", "function": {"name": "g", "arguments": {}}}], "content": ""},
      {"role": "tool", "content": "1", "tool_call_id": "c"}, {"role": "assistant", "content": "a"}])"));
  EXPECT_EQ(request.conversation.size(), request.chat.messages.size() - 1);
  EXPECT_EQ(request.chat.params.max_tokens, 9);
  EXPECT_EQ(request.settings["instructions"], "Be brief.");
}

TEST_F(ChatRequests, a_tool_may_give_nothing_out) {
  const Json body = Json::parse(R"({"input": [{"role": "user", "content": "q"},
      {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
      {"type": "function_call_output", "call_id": "c", "output": []}]})");
  EXPECT_EQ(read_responses_chat(context(), Fields(body), nullptr).chat.messages[2]["content"], "");
}

TEST_F(ChatRequests, earlier_responses_have_the_shape_that_the_template_takes) {
  context().options.chat_template_content_format = "openai";
  const Json earlier = Json::parse(R"([{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [
      {"id": "c", "type": "function", "function": {"name": "f", "arguments": {}}}], "content": ""}])");
  const Json body = Json::parse(R"({"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}]})");
  const ResponsesRequest request = read_responses_chat(context(), Fields(body), earlier);
  context().options.chat_template_content_format = "auto";
  for (const Json& message : request.chat.messages) EXPECT_TRUE(message["content"].is_array()) << message;
  EXPECT_EQ(request.chat.messages[2]["content"], Json::parse(R"([{"type": "text", "text": "1"}])"));
  const ResponsesRequest again = read_responses_chat(context(), Fields(body), request.conversation);
  EXPECT_EQ(again.chat.messages.size(), 4u);
}

TEST_F(ChatRequests, responses_that_are_refused) {
  struct Case {
    const char* body;
    const char* param;
  };
  const Case cases[] = {
      {R"({"input": ""})", "input"},
      {R"({"input": []})", "input"},
      {R"({"input": 1})", "input"},
      {R"({"input": [{"type": "item_reference", "id": "x"}]})", "input[0].type"},
      {R"({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]})",
       "input[0].content[0].type"},
      {R"({"input": "x", "background": true})", "background"},
      {R"({"input": "x", "max_output_tokens": 0})", "max_output_tokens"},
      {R"({"input": "x", "top_logprobs": 21})", "top_logprobs"},
      {R"({"input": "x", "truncation": "auto"})", "truncation"},
      {R"({"input": "x", "text": {"format": {"type": "json_object"}}, "response_format": {"type": "json_object"}})",
       "text"},
      {R"({"input": "x", "n": 2})", "n"},
      {R"({"input": "x", "tools": [{"type": "web_search"}]})", "tools[0].type"},
      {R"({"input": "x", "tool_choice": "required"})", "tool_choice"},
      {R"({"input": "x", "reasoning": {"effort": "huge"}})", "reasoning.effort"},
      {R"({"input": "x", "metadata": 1})", "metadata"},
  };
  for (const Case& c : cases) {
    const Json body = Json::parse(c.body);
    const HttpError error = refusal([&] { read_responses_chat(context(), Fields(body), nullptr); });
    EXPECT_EQ(error.status, 400) << c.body;
    EXPECT_EQ(error.param, c.param) << c.body;
  }
}

TEST_F(ChatRequests, blocks_of_messages_become_messages) {
  const Json body = Json::parse(R"({"max_tokens": 9, "system": [{"type": "text", "text": "Be brief."}], "messages": [
      {"role": "user", "content": "q"},
      {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text":
        "1"}]}, {"type": "text", "text": "and?"}]}], "stop_sequences": ["end"],
      "tools": [{"name": "f", "input_schema": {"type": "object"}}],
      "tool_choice": {"type": "any", "disable_parallel_tool_use": true}, "thinking": {"type": "disabled"}})");
  const ChatRequest chat = read_messages_chat(context(), Fields(body), true);
  EXPECT_EQ(chat.messages, Json::parse(R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"},
      {"role": "assistant", "reasoning": "hm", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f",
        "arguments": {"x": 1}}}], "content": "a"},
      {"role": "tool", "content": "1", "tool_call_id": "c"}, {"role": "user", "content": "and?"}])"));
  EXPECT_EQ(chat.tools.mode, ToolMode::required);
  EXPECT_FALSE(chat.tools.is_parallel);
  EXPECT_EQ(chat.params.stop, std::vector<std::string>{"end"});
  EXPECT_EQ(chat.template_kwargs["enable_thinking"], false);
  EXPECT_TRUE(chat.add_generation_prompt);
}

/// What a body of /v1/messages with these becomes.
Json conversation_of(const ServerContext& context, const std::string& messages, const std::string& system = "null") {
  const Json body = Json::parse(R"({"max_tokens": 9, "system": )" + system + R"(, "messages": )" + messages + "}");
  return read_messages_chat(context, Fields(body), true).messages;
}

TEST_F(ChatRequests, later_system_messages_end_the_turn_of_the_user) {
  EXPECT_EQ(
      conversation_of(context(), R"([{"role": "system", "content": "b"}, {"role": "user", "content": "q"}])", R"("a")"),
      Json::parse(R"([{"role": "system", "content": "a\n\nb"}, {"role": "user", "content": "q"}])"));
  EXPECT_EQ(conversation_of(context(), R"([{"role": "user", "content": "q"}, {"role": "system", "content": [
                {"type": "text", "text": "x"}]}, {"role": "system", "content": "y"}])"),
            Json::parse(R"([{"role": "user", "content": "q\n\nx\n\ny"}])"));
  EXPECT_EQ(conversation_of(context(), R"([{"role": "ctx", "content": "q"}, {"role": "assistant", "content": "a"},
                {"role": "system", "content": "x"}, {"role": "system", "content": ""},
                {"role": "msg", "content": "r"}])"),
            Json::parse(R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
                {"role": "user", "content": "r\n\nx"}])"));
}

TEST_F(ChatRequests, a_system_message_never_stands_between_a_call_and_its_result) {
  const Json messages = conversation_of(context(), R"([{"role": "user", "content": "q"},
      {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
      {"role": "system", "content": "x"},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "1"}]}])");
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[2], Json::parse(R"({"role": "tool", "content": "1\n\nx", "tool_call_id": "c"})"));
}

TEST_F(ChatRequests, a_system_message_after_an_answer_is_a_turn_of_its_own) {
  const std::string answer = R"({"role": "assistant", "content": "a"})", note = R"({"role": "system", "content": "x"})";
  const Json as_user = Json::parse(R"({"role": "user", "content": "x"})");
  const std::string begin = R"([{"role": "user", "content": "q"}, )" + answer + ", " + note;
  EXPECT_EQ(conversation_of(context(), begin + "]")[2], as_user);
  const Json between = conversation_of(context(), begin + ", " + answer + "]");
  ASSERT_EQ(between.size(), 4u);
  EXPECT_EQ(between[2], as_user);
}

TEST_F(ChatRequests, signatures_of_requests_are_no_prompt) {
  const char* system = R"([{"type": "text", "text": "x-anthropic-billing-header: cch=1;"},
      {"type": "text", "text": "a"}, {"type": "text", "text": "b"}])";
  const char* user = R"([{"role": "user", "content": "q"}])";
  EXPECT_EQ(conversation_of(context(), user, system)[0], Json::parse(R"({"role": "system", "content": "a\nb"})"));
  EXPECT_EQ(conversation_of(context(), user, R"([{"type": "text", "text": "x-anthropic-billing-header: 1"}])").size(),
            1u);
}

TEST_F(ChatRequests, output_config_is_effort_and_format) {
  Json body = Json::parse(R"({"max_tokens": 9, "messages": [{"role": "user", "content": "q"}], "output_config":
      {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}})");
  const ChatRequest chat = read_messages_chat(context(), Fields(body), true);
  EXPECT_EQ(chat.template_kwargs.value("reasoning_effort", ""), "low");
  ASSERT_TRUE(chat.params.structured_outputs);
  EXPECT_EQ(chat.params.structured_outputs->json, R"({"type":"object"})");
  body["response_format"] = Json{{"type", "json_object"}};
  EXPECT_EQ(refusal([&] { read_messages_chat(context(), Fields(body), true); }).param, "output_config");
  body["output_config"]["effort"] = "huge";
  EXPECT_EQ(refusal([&] { read_messages_chat(context(), Fields(body), true); }).param, "output_config.effort");
}

TEST_F(ChatRequests, an_answer_that_was_begun_is_continued) {
  const Json body = Json::parse(R"({"max_tokens": 9, "messages": [{"role": "user", "content": "q"},
      {"role": "assistant", "content": "Well"}]})");
  const ChatRequest chat = read_messages_chat(context(), Fields(body), true);
  EXPECT_TRUE(chat.continue_final_message);
  EXPECT_TRUE(render_text(context(), chat).ends_with("assistant\nWell"));
}

TEST_F(ChatRequests, thoughts_and_calls_alone_are_no_beginning_of_an_answer) {
  const Json body = Json::parse(R"({"max_tokens": 9, "messages": [{"role": "user", "content": "q"},
      {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]}]})");
  const ChatRequest chat = read_messages_chat(context(), Fields(body), true);
  EXPECT_EQ(chat.messages[1]["content"], "");
  EXPECT_FALSE(chat.continue_final_message);
}

TEST_F(ChatRequests, errors_speak_of_the_routes_own_choices) {
  const Json body = Json::parse(R"({"max_tokens": 9, "messages": [{"role": "user", "content": "q"}],
      "tools": [{"name": "f"}]})");
  const ChatRequest chat = read_messages_chat(context(), Fields(body), true);
  EXPECT_THAT(refusal([&] { parser_options(context(), chat); }).message, HasSubstr(R"({"type": "any"})"));
}

TEST_F(ChatRequests, messages_that_are_refused) {
  struct Case {
    const char* body;
    const char* param;
  };
  const Case cases[] = {
      {R"({"max_tokens": 1})", "messages"},
      {R"({"max_tokens": 1, "messages": []})", "messages"},
      {R"({"messages": [{"role": "user", "content": "x"}]})", "max_tokens"},
      {R"({"max_tokens": 1, "messages": [{"role": "tool", "content": "x"}]})", "messages[0].role"},
      {R"({"max_tokens": 1, "messages": [{"role": "system"}]})", "messages[0].content"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text"}]}]})",
       "messages[0].content[0].text"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "output_config": {"format": {"type":
          "json_schema"}}})",
       "output_config.format.json_schema.schema"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": ""}]})", "messages[0].content"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": []}]})", "messages[0].content"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]})",
       "messages[0].content[0].type"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "tool_use", "name": "f"}]}]})",
       "messages[0].content[0].type"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tool_choice": {"type": "any"}})",
       "tool_choice"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "thinking": {"type": "maybe"}})",
       "thinking"},
      {R"({"max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f", "input_schema":
          []}]})",
       "tools[0].input_schema"},
  };
  for (const Case& c : cases) {
    const Json body = Json::parse(c.body);
    const HttpError error = refusal([&] { read_messages_chat(context(), Fields(body), true); });
    EXPECT_EQ(error.status, 400) << c.body;
    EXPECT_EQ(error.param, c.param) << c.body;
  }
}

}  // namespace
}  // namespace packhorse::server
