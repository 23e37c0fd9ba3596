// How answers look in the notations of the three chat APIs, whole and in pieces.
#include "app/server/api/chat_format.h"

#include <gmock/gmock.h>

#include "app/server/api/base64.h"
#include "app/server/api/chat_blocks.h"
#include "app/server/api/messages_format.h"
#include "app/server/api/response_store.h"
#include "app/server/api/responses_format.h"
#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RecordingReply;

OutputDelta reasoning(std::string text) {
  OutputDelta delta;
  delta.reasoning = std::move(text);
  return delta;
}

OutputDelta content(std::string text) {
  OutputDelta delta;
  delta.content = std::move(text);
  return delta;
}

OutputDelta call(int index, std::string name, std::string arguments) {
  OutputDelta delta;
  const std::string id = name.empty() ? "" : "call-" + std::to_string(index);
  delta.tool_calls.push_back({index, id, std::move(name), std::move(arguments)});
  return delta;
}

ChatNews news(OutputDelta delta, std::string finish_reason = "") {
  ChatNews out;
  out.delta = std::move(delta);
  out.n_tokens = 1;
  out.token_ids = {7};
  out.finish_reason = std::move(finish_reason);
  return out;
}

/// An answer that thinks, speaks and calls twice.
std::vector<ChatNews> long_answer() {
  std::vector<ChatNews> all;
  all.push_back(news(reasoning("h")));
  all.push_back(news(reasoning("m")));
  all.push_back(news(content("I \"ask\"\n")));
  all.push_back(news(call(0, "f", "")));
  all.push_back(news(call(0, "", "{\"x\":")));
  all.push_back(news(call(0, "", "1}")));
  all.push_back(news(call(1, "g", "{}"), "stop"));
  return all;
}

const Usage kUsage{.prompt_tokens = 3, .completion_tokens = 7, .cached_tokens = 1, .reasoning_tokens = 2};

/// Lets a writer tell `answer`; what it wrote.
std::string told(ChatWriter& writer, RecordingReply& reply, std::vector<ChatNews> answer) {
  writer.start();
  RequestOutput first;
  first.prompt_token_ids = {1, 2, 3};
  writer.prompt(first);
  for (ChatNews& piece : answer) writer.write(std::move(piece));
  writer.end(kUsage);
  EXPECT_EQ(reply.n_ends, 1);
  return reply.body;
}

/// Data of each event.
std::vector<Json> events_of(const std::string& stream) {
  std::vector<Json> events;
  for (size_t at = stream.find("data: "); at != std::string::npos; at = stream.find("data: ", at)) {
    const size_t end = stream.find("\n\n", at);
    const std::string data = stream.substr(at + 6, end - at - 6);
    if (data != "[DONE]") events.push_back(Json::parse(data));
    at = end;
  }
  return events;
}

std::vector<std::string> types_of(const std::vector<Json>& events) {
  std::vector<std::string> types;
  for (const Json& event : events) types.push_back(event.at("type"));
  return types;
}

ChatShape shape() {
  ChatShape out;
  out.id = "chatcmpl-1";
  out.model = "m";
  out.role = "assistant";
  out.details = {.cached_tokens = true, .reasoning_tokens = true};
  return out;
}

TEST(ChatFormat, a_whole_answer) {
  const auto reply = std::make_shared<RecordingReply>();
  const Json answer = Json::parse(told(*chat_whole_writer(shape(), reply), *reply, long_answer()));
  EXPECT_EQ(answer["id"], "chatcmpl-1");
  EXPECT_EQ(answer["object"], "chat.completion");
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  const Json& message = choice["message"];
  EXPECT_EQ(message["role"], "assistant");
  EXPECT_EQ(message["content"], "I \"ask\"\n");
  EXPECT_EQ(message["reasoning"], "hm");
  EXPECT_EQ(message["reasoning_content"], "hm");
  EXPECT_EQ(message["tool_calls"], Json::parse(R"([
      {"id": "call-0", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
      {"id": "call-1", "type": "function", "function": {"name": "g", "arguments": "{}"}}])"));
  EXPECT_EQ(answer["usage"], Json::parse(R"({"prompt_tokens": 3, "total_tokens": 10, "completion_tokens": 7,
      "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2}})"));
}

TEST(ChatFormat, plain_answers) {
  auto reply = std::make_shared<RecordingReply>();
  ChatShape with_echo = shape();
  with_echo.echo = "so ";
  std::vector<ChatNews> short_answer;
  short_answer.push_back(news(content("x"), "length"));
  Json answer = Json::parse(told(*chat_whole_writer(with_echo, reply), *reply, std::move(short_answer)));
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "so x");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_FALSE(answer["choices"][0]["message"].contains("tool_calls"));

  reply = std::make_shared<RecordingReply>();
  std::vector<ChatNews> nothing;
  nothing.push_back(news({}, "stop"));
  answer = Json::parse(told(*chat_whole_writer(shape(), reply), *reply, std::move(nothing)));
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "");
}

TEST(ChatFormat, a_named_call_stops) {
  ChatShape named = shape();
  named.is_named_call = true;
  EXPECT_EQ(chat_finish_reason(named, "stop", true), "stop");
  EXPECT_EQ(chat_finish_reason(shape(), "stop", true), "tool_calls");
  EXPECT_EQ(chat_finish_reason(shape(), "stop", false), "stop");
  EXPECT_EQ(chat_finish_reason(shape(), "length", true), "length");
}

TEST(ChatFormat, a_stream_says_the_same) {
  const auto reply = std::make_shared<RecordingReply>();
  ChatShape streamed = shape();
  streamed.stream.include_usage = true;
  const std::string text = told(*chat_stream_writer(streamed, reply), *reply, long_answer());
  EXPECT_TRUE(reply->is_stream);
  EXPECT_TRUE(text.ends_with("data: [DONE]\n\n"));
  const std::vector<Json> chunks = events_of(text);
  ASSERT_EQ(chunks.size(), 9u);
  EXPECT_EQ(chunks[0]["choices"][0]["delta"], Json::parse(R"({"role": "assistant", "content": ""})"));
  EXPECT_EQ(chunks[1]["choices"][0]["delta"], Json::parse(R"({"reasoning": "h", "reasoning_content": "h"})"));
  EXPECT_EQ(chunks[3]["choices"][0]["delta"], Json::parse(R"({"content": "I \"ask\"\n"})"));
  EXPECT_EQ(chunks[4]["choices"][0]["delta"]["tool_calls"], Json::parse(R"([{"index": 0, "id": "call-0", "type":
      "function", "function": {"name": "f", "arguments": ""}}])"));
  EXPECT_EQ(chunks[5]["choices"][0]["delta"]["tool_calls"],
            Json::parse(R"([{"index": 0, "function": {"arguments": "{\"x\":"}}])"));
  EXPECT_EQ(chunks[6]["choices"][0]["finish_reason"], nullptr);
  EXPECT_EQ(chunks[7]["choices"][0]["finish_reason"], "tool_calls");
  EXPECT_EQ(chunks[7]["usage"], nullptr);
  EXPECT_EQ(chunks[8]["choices"], Json::array());
  EXPECT_EQ(chunks[8]["usage"]["total_tokens"], 10);
  for (const Json& chunk : chunks) EXPECT_EQ(chunk["object"], "chat.completion.chunk");
}

TEST(ChatFormat, held_back_text_makes_no_chunk_unless_tokens_are_shown) {
  auto reply = std::make_shared<RecordingReply>();
  const auto answer = [] {
    std::vector<ChatNews> all;
    all.push_back(news({}));
    all.push_back(news(content("x"), "stop"));
    return all;
  };
  EXPECT_EQ(events_of(told(*chat_stream_writer(shape(), reply), *reply, answer())).size(), 2u);
  reply = std::make_shared<RecordingReply>();
  ChatShape with_ids = shape();
  with_ids.return_token_ids = true;
  with_ids.stream.include_usage = with_ids.stream.continuous_usage = true;
  const std::vector<Json> chunks = events_of(told(*chat_stream_writer(with_ids, reply), *reply, answer()));
  ASSERT_EQ(chunks.size(), 4u);
  EXPECT_EQ(chunks[0]["prompt_token_ids"], Json::parse("[1, 2, 3]"));
  EXPECT_EQ(chunks[1]["choices"][0]["token_ids"], Json::parse("[7]"));
  EXPECT_EQ(chunks[2]["usage"]["completion_tokens"], 2);
}

TEST(ChatFormat, logprobs) {
  ChatShape with_logprobs = shape();
  with_logprobs.has_logprobs = true;
  with_logprobs.top_logprobs = 1;
  const auto answer = [] {
    std::vector<ChatNews> all;
    all.push_back(news(content("\xc3\xa9"), "stop"));
    all[0].logprobs = std::vector<TokenLogprobs>{{{5, {-0.25f, 1, "a"}}, {7, {-20000.0f, 2, "\xc3\xa9"}}}};
    return all;
  };
  const Json expected = Json::parse(R"([{"token": "\u00e9", "logprob": -9999.0, "bytes": [195, 169], "top_logprobs":
      [{"token": "a", "logprob": -0.25, "bytes": [97]}]}])");
  auto reply = std::make_shared<RecordingReply>();
  Json whole = Json::parse(told(*chat_whole_writer(with_logprobs, reply), *reply, answer()));
  EXPECT_EQ(whole["choices"][0]["logprobs"]["content"], expected);
  reply = std::make_shared<RecordingReply>();
  const auto chunks = events_of(told(*chat_stream_writer(with_logprobs, reply), *reply, answer()));
  EXPECT_EQ(chunks[1]["choices"][0]["logprobs"]["content"], expected);
  reply = std::make_shared<RecordingReply>();
  with_logprobs.tokens_as_ids = true;
  whole = Json::parse(told(*chat_whole_writer(with_logprobs, reply), *reply, answer()));
  EXPECT_EQ(whole["choices"][0]["logprobs"]["content"][0]["token"], "token_id:7");
  EXPECT_EQ(whole["choices"][0]["logprobs"]["content"][0]["bytes"], Json::array({195, 169}));
}

TEST(ChatFormat, an_error_ends_a_stream_and_is_a_status_elsewhere) {
  const auto error = std::make_exception_ptr(HttpError(503, "no room"));
  auto reply = std::make_shared<RecordingReply>();
  chat_stream_writer(shape(), reply)->fail(error);
  EXPECT_EQ(events_of(reply->body).at(0)["error"]["message"], "no room");
  EXPECT_TRUE(reply->body.ends_with("data: [DONE]\n\n"));
  reply = std::make_shared<RecordingReply>();
  chat_whole_writer(shape(), reply)->fail(error);
  EXPECT_EQ(reply->status, 503);
}

TEST(MessagesFormat, a_whole_answer) {
  const auto reply = std::make_shared<RecordingReply>();
  const Json answer = Json::parse(told(*messages_whole_writer("msg_1", "m", reply), *reply, long_answer()));
  EXPECT_EQ(answer, Json::parse(R"({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [
      {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "I \"ask\"\n"},
      {"type": "tool_use", "id": "call-0", "name": "f", "input": {"x": 1}},
      {"type": "tool_use", "id": "call-1", "name": "g", "input": {}}], "stop_reason": "tool_use", "stop_sequence": null,
      "usage": {"input_tokens": 2, "output_tokens": 7, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 1}})"));
}

TEST(MessagesFormat, stop_reasons_and_calls_that_were_cut_off) {
  auto reply = std::make_shared<RecordingReply>();
  std::vector<ChatNews> stopped;
  stopped.push_back(news(content("x"), "stop"));
  stopped[0].stop_string = "end";
  Json answer = Json::parse(told(*messages_whole_writer("i", "m", reply), *reply, std::move(stopped)));
  EXPECT_EQ(answer["stop_reason"], "stop_sequence");
  EXPECT_EQ(answer["stop_sequence"], "end");
  reply = std::make_shared<RecordingReply>();
  std::vector<ChatNews> cut;
  cut.push_back(news(call(0, "f", "{\"x\":"), "length"));
  answer = Json::parse(told(*messages_whole_writer("i", "m", reply), *reply, std::move(cut)));
  EXPECT_EQ(answer["stop_reason"], "max_tokens");
  EXPECT_EQ(answer["content"], Json::array());
}

TEST(MessagesFormat, a_stream_says_the_same) {
  const auto reply = std::make_shared<RecordingReply>();
  const auto events = events_of(told(*messages_stream_writer("msg_1", "m", reply), *reply, long_answer()));
  EXPECT_THAT(
      types_of(events),
      ElementsAre("message_start", "ping", "content_block_start", "content_block_delta", "content_block_delta",
                  "content_block_stop", "content_block_start", "content_block_delta", "content_block_stop",
                  "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
                  "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"));
  EXPECT_EQ(events[0]["message"]["usage"]["input_tokens"], 3);
  EXPECT_EQ(events[2]["content_block"]["type"], "thinking");
  EXPECT_EQ(events[3]["delta"], Json::parse(R"({"type": "thinking_delta", "thinking": "h"})"));
  EXPECT_EQ(events[9]["content_block"],
            Json::parse(R"({"type": "tool_use", "id": "call-0", "name": "f", "input": {}})"));
  EXPECT_EQ(events[10]["delta"], Json::parse(R"({"type": "input_json_delta", "partial_json": "{\"x\":"})"));
  EXPECT_EQ(events[16]["delta"]["stop_reason"], "tool_use");
  EXPECT_THAT(reply->body, HasSubstr("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
}

TEST(MessagesFormat, errors) {
  const Response refused = messages_error(std::make_exception_ptr(HttpError(400, "bad", "x")));
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(Json::parse(refused.body),
            Json::parse(R"({"type": "error", "error": {"type": "invalid_request_error", "message": "bad"}})"));
  const Response full = messages_error(std::make_exception_ptr(HttpError(503, "full")));
  EXPECT_EQ(Json::parse(full.body)["error"]["type"], "overloaded_error");
}

ResponseShape response_shape() {
  ResponseShape out;
  out.id = "resp_1";
  out.model = "m";
  out.settings = R"("store":true)";
  return out;
}

TEST(ResponsesFormat, a_whole_answer_is_kept) {
  const auto reply = std::make_shared<RecordingReply>();
  ResponseShape kept = response_shape();
  std::string json;
  Json message;
  kept.keep = [&](const std::string& text, const Json& said) {
    json = text;
    message = said;
  };
  const Json answer = Json::parse(told(*responses_whole_writer(kept, reply), *reply, long_answer()));
  EXPECT_EQ(json, reply->body);
  EXPECT_EQ(answer["status"], "completed");
  EXPECT_EQ(answer["store"], true);
  const Json& output = answer["output"];
  ASSERT_EQ(output.size(), 4u);
  EXPECT_EQ(output[0]["type"], "reasoning");
  EXPECT_EQ(output[0]["content"][0]["text"], "hm");
  EXPECT_EQ(output[1]["content"], Json::parse(R"([{"type": "output_text", "annotations": [], "logprobs": [], "text":
      "I \"ask\"\n"}])"));
  EXPECT_EQ(output[2], Json::parse(R"({"id": "fc_1_2", "status": "completed", "type": "function_call", "call_id":
      "call-0", "name": "f", "arguments": "{\"x\":1}"})"));
  EXPECT_EQ(answer["usage"]["output_tokens_details"]["reasoning_tokens"], 2);
  EXPECT_EQ(message, Json::parse(R"({"role": "assistant", "reasoning": "hm", "tool_calls": [
      {"id": "call-0", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
      {"id": "call-1", "type": "function", "function": {"name": "g", "arguments": {}}}], "content": "I \"ask\"\n"})"));
}

TEST(ResponsesFormat, a_stream_says_the_same) {
  const auto reply = std::make_shared<RecordingReply>();
  const auto events = events_of(told(*responses_stream_writer(response_shape(), reply), *reply, long_answer()));
  EXPECT_THAT(
      types_of(events),
      ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                  "response.content_part.added", "response.reasoning_text.delta", "response.reasoning_text.delta",
                  "response.reasoning_text.done", "response.content_part.done", "response.output_item.done",
                  "response.output_item.added", "response.content_part.added", "response.output_text.delta",
                  "response.output_text.done", "response.content_part.done", "response.output_item.done",
                  "response.output_item.added", "response.function_call_arguments.delta",
                  "response.function_call_arguments.delta", "response.function_call_arguments.done",
                  "response.output_item.done", "response.output_item.added", "response.function_call_arguments.delta",
                  "response.function_call_arguments.done", "response.output_item.done", "response.completed"));
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
  EXPECT_EQ(events[0]["response"]["status"], "in_progress");
  EXPECT_EQ(events[0]["response"]["usage"], nullptr);
  EXPECT_EQ(events[9]["item"]["content"], Json::array());
  EXPECT_EQ(events[18]["arguments"], "{\"x\":1}");
  EXPECT_EQ(events.back()["response"]["output"].size(), 4u);
}

TEST(ResponsesFormat, an_answer_without_end_is_incomplete) {
  const auto reply = std::make_shared<RecordingReply>();
  std::vector<ChatNews> cut;
  cut.push_back(news(content("x"), "length"));
  const auto events = events_of(told(*responses_stream_writer(response_shape(), reply), *reply, std::move(cut)));
  EXPECT_EQ(events.back()["type"], "response.incomplete");
  EXPECT_EQ(events.back()["response"]["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(events.back()["response"]["output"][0]["status"], "incomplete");
  EXPECT_EQ(events[events.size() - 2]["type"], "response.output_item.done");
  EXPECT_EQ(events[events.size() - 2]["item"]["status"], "incomplete");
}

TEST(ResponsesFormat, an_error_ends_a_stream) {
  const auto reply = std::make_shared<RecordingReply>();
  responses_stream_writer(response_shape(), reply)->fail(std::make_exception_ptr(HttpError(500, "oh")));
  const auto events = events_of(reply->body);
  EXPECT_THAT(types_of(events), ElementsAre("error", "response.failed"));
  EXPECT_EQ(events[0]["message"], "oh");
  EXPECT_EQ(events[1]["response"]["status"], "failed");
  EXPECT_EQ(events[1]["response"]["error"]["message"], "oh");
}

TEST(ResponseStore, the_least_recently_used_goes_first) {
  ResponseStore store(2, 1000);
  store.put("a", {"1", ""});
  store.put("b", {"2", ""});
  EXPECT_TRUE(store.find("a"));
  store.put("c", {"3", ""});
  EXPECT_FALSE(store.find("b"));
  EXPECT_EQ(store.find("a")->json, "1");
  EXPECT_TRUE(store.erase("a"));
  EXPECT_FALSE(store.erase("a"));
  EXPECT_FALSE(store.find("a"));
}

TEST(ResponseStore, bytes_are_bounded) {
  ResponseStore store(10, 100);
  store.put("a", {std::string(40, 'x'), ""});
  store.put("b", {"", std::string(40, 'x')});
  EXPECT_TRUE(store.find("a"));
  store.put("c", {std::string(40, 'x'), ""});
  EXPECT_FALSE(store.find("b"));
  EXPECT_TRUE(store.find("a"));
  store.put("big", {std::string(200, 'x'), ""});
  EXPECT_FALSE(store.find("big"));
}

TEST(ResponseStore, the_same_id_replaces) {
  ResponseStore store(10, 100);
  for (int i = 0; i < 5; ++i) store.put("a", {std::string(60, 'x'), ""});
  EXPECT_TRUE(store.find("a"));
}

TEST(Base64, rfc_4648) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("\xff\xfe\xfd\xfc"), "//79/A==");
}

}  // namespace
}  // namespace packhorse::server
