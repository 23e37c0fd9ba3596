// The JSON of completions, whole and in events.
#include "app/server/api/completions_format.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "app/server/api/logprob_lists.h"
#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using testing::SmallServer;

class CompletionsFormat : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<SmallServer>(); }
  static void TearDownTestSuite() { server_.reset(); }

  static CompletionShape shape() {
    CompletionShape out;
    out.id = "cmpl-1";
    out.model = "tiny";
    out.created = 7;
    return out;
  }
  static CompletionFormat format(const CompletionShape& shape, std::vector<std::string> echo = {}, size_t n = 1) {
    return {shape, std::move(echo), n, server_->engine->engine()};
  }
  static CompletionOutput part(std::string text, std::vector<int32_t> ids, std::string finish_reason = "") {
    CompletionOutput out;
    out.text = std::move(text);
    out.token_ids = std::move(ids);
    out.finish_reason = std::move(finish_reason);
    return out;
  }
  static RequestOutput output(std::vector<CompletionOutput> parts) {
    RequestOutput out;
    out.prompt_token_ids = {5, 6, 7};
    out.num_cached_tokens = 2;
    out.outputs = std::move(parts);
    return out;
  }
  /// The JSON of each event.
  static std::vector<Json> events(const std::string& text) {
    std::vector<Json> out;
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find("\n\n", at);
      const std::string event = text.substr(at, end - at);
      EXPECT_EQ(event.substr(0, 6), "data: ");
      if (event != "data: [DONE]") out.push_back(Json::parse(event.substr(6)));
      at = end + 2;
    }
    return out;
  }

  inline static std::unique_ptr<SmallServer> server_;
};

Logprob entry(float logprob, int64_t rank, std::string text) { return {logprob, rank, std::move(text)}; }

TEST_F(CompletionsFormat, whole_answer) {
  CompletionFormat f = format(shape(), {}, 2);
  CompletionOutput stopped = part("b", {8, 9}, "stop");
  stopped.stop_string = "END";
  f.keep(1, output({stopped}));
  f.keep(0, output({part("a\n\"", {8}, "length")}));
  EXPECT_EQ(
      f.answer({.prompt_tokens = 6, .completion_tokens = 3}),
      R"({"id":"cmpl-1","object":"text_completion","created":7,"model":"tiny","choices":[)"
      R"({"index":0,"text":"a\n\"","logprobs":null,"finish_reason":"length","stop_reason":null,"prompt_logprobs":null},)"
      R"({"index":1,"text":"b","logprobs":null,"finish_reason":"stop","stop_reason":"END","prompt_logprobs":null}],)"
      R"("service_tier":null,"system_fingerprint":null,"usage":{"prompt_tokens":6,"total_tokens":9,)"
      R"("completion_tokens":3,"prompt_tokens_details":null}})");
}

TEST_F(CompletionsFormat, choices_are_numbered_over_prompts_and_answers) {
  CompletionShape two = shape();
  two.n = 2;
  two.return_token_ids = two.details.cached_tokens = true;
  CompletionFormat f = format(two, {}, 2);
  CompletionOutput second = part("b", {2}, "stop");
  second.index = 1;
  second.stop_token_id = 2;
  f.keep(0, output({part("a", {1}, "stop"), second}));
  f.keep(1, output({part("c", {3}, "stop"), second}));
  const Json answer = Json::parse(f.answer({.prompt_tokens = 6, .completion_tokens = 4, .cached_tokens = 4}));
  ASSERT_EQ(answer.at("choices").size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(answer.at("choices")[i].at("index"), i);
  EXPECT_EQ(answer.at("choices")[2].at("text"), "c");
  EXPECT_EQ(answer.at("choices")[3].at("stop_reason"), 2);
  EXPECT_EQ(answer.at("choices")[0].at("token_ids"), Json({1}));
  EXPECT_EQ(answer.at("choices")[0].at("prompt_token_ids"), Json({5, 6, 7}));
  EXPECT_EQ(answer.at("usage").at("prompt_tokens_details").at("cached_tokens"), 4);
}

TEST_F(CompletionsFormat, echo_with_logprobs_begins_at_the_prompt) {
  CompletionShape echo = shape();
  echo.echo = true;
  echo.logprobs = 1;
  CompletionFormat f = format(echo, {"prömpt"});
  RequestOutput result = output({part("x", {9}, "length")});
  result.prompt_logprobs = {std::nullopt, TokenLogprobs{{6, entry(-0.5f, 1, "ré")}},
                            TokenLogprobs{{4, entry(-0.25f, 1, "four")}, {7, entry(-2.0f, 3, "t")}}};
  result.outputs[0].logprobs = {{{9, entry(-1.0f, 1, "x")}}};
  f.keep(0, std::move(result));
  const Json choice = Json::parse(f.answer({})).at("choices")[0];
  EXPECT_EQ(choice.at("text"), "prömptx");
  const Json& lists = choice.at("logprobs");
  EXPECT_EQ(lists.at("token_logprobs"), Json::parse("[null,-0.5,-2,-1]"));
  const std::string first = server_->engine->engine().detokenize({5}, false);
  EXPECT_EQ(lists.at("tokens"), Json({first, "ré", "t", "x"}));
  EXPECT_EQ(lists.at("top_logprobs"), Json::parse(R"([null,{"ré":-0.5},{"four":-0.25,"t":-2},{"x":-1}])"));
  const auto n =
      static_cast<int64_t>(std::count_if(first.begin(), first.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  EXPECT_EQ(lists.at("text_offset"), Json({0, n, n + 2, n + 3}));
}

TEST_F(CompletionsFormat, max_tokens_0_leaves_the_prompt_alone) {
  CompletionShape only = shape();
  only.echo = only.is_echo_only = true;
  only.stream.include_usage = true;
  CompletionFormat f = format(only, {"prompt"});
  f.keep(0, output({part("x", {9}, "stop")}));
  const Json answer = Json::parse(f.answer({.prompt_tokens = 3, .completion_tokens = 1}));
  EXPECT_EQ(answer.at("choices")[0].at("text"), "prompt");
  EXPECT_EQ(answer.at("choices")[0].at("finish_reason"), "length");
  EXPECT_EQ(answer.at("usage").at("completion_tokens"), 0);

  CompletionFormat stream = format(only, {"prompt"});
  const auto chunks = events(stream.chunks(0, output({part("x", {9}, "length")})));
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].at("choices")[0].at("text"), "prompt");
  EXPECT_EQ(events(stream.last_events({.prompt_tokens = 3, .completion_tokens = 1}))[0].at("usage").at("total_tokens"),
            3);
}

TEST_F(CompletionsFormat, chunks) {
  CompletionShape s = shape();
  s.echo = s.stream.include_usage = true;
  CompletionFormat f = format(s, {"P"});
  EXPECT_EQ(f.chunks(0, output({})), "");
  EXPECT_EQ(
      f.chunks(0, output({part("a", {1})})),
      R"(data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"tiny","choices":[{"index":0,"text":"Pa",)"
      R"("logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null})"
      "\n\n");
  const auto held_back = events(f.chunks(0, output({part("", {2})})));
  EXPECT_EQ(held_back.at(0).at("choices")[0].at("text"), "");
  EXPECT_EQ(events(f.chunks(0, output({part("b", {3}, "stop")})))[0].at("choices")[0].at("finish_reason"), "stop");
  const std::string end = f.last_events({.prompt_tokens = 3, .completion_tokens = 3});
  EXPECT_TRUE(end.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(events(end)[0].at("choices"), Json::array());
  EXPECT_EQ(events(end)[0].at("usage").at("total_tokens"), 6);
}

TEST_F(CompletionsFormat, chunks_with_running_counts_and_offsets) {
  CompletionShape s = shape();
  s.n = 2;
  s.logprobs = 0;
  s.stream.include_usage = s.stream.continuous_usage = s.tokens_as_ids = s.return_token_ids = true;
  CompletionFormat f = format(s);
  const auto with_logprob = [](std::string text, int32_t id, int64_t index) {
    CompletionOutput out = part(text, {id});
    out.index = index;
    out.logprobs = {{{id, entry(-1, 1, text)}}};
    return out;
  };
  f.chunks(0, output({with_logprob("aé", 1, 0)}));
  const auto chunks = events(f.chunks(0, output({with_logprob("b", 2, 0), with_logprob("c", 3, 1)})));
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[0].at("choices")[0].at("logprobs"),
            Json::parse(R"({"text_offset":[2],"token_logprobs":[-1],"tokens":["token_id:2"],)"
                        R"("top_logprobs":[{"token_id:2":-1}]})"));
  EXPECT_FALSE(chunks[0].at("choices")[0].contains("prompt_token_ids"));
  EXPECT_EQ(chunks[0].at("usage").at("completion_tokens"), 2);
  EXPECT_EQ(chunks[1].at("choices")[0].at("index"), 1);
  EXPECT_EQ(chunks[1].at("choices")[0].at("prompt_token_ids"), Json({5, 6, 7}));
  EXPECT_EQ(chunks[1].at("usage").at("completion_tokens"), 1);
  EXPECT_EQ(chunks[1].at("usage").at("prompt_tokens"), 3);
  CompletionShape plain = shape();
  EXPECT_EQ(format(plain).last_events({}), "data: [DONE]\n\n");
}

TEST_F(CompletionsFormat, texts_that_tokens_share_keep_the_likeliest) {
  LogprobLists lists(0, false);
  lists.add(2, {{1, entry(-0.5f, 1, "\ufffd")}, {2, entry(-3, 2, "\ufffd")}});
  EXPECT_EQ(lists.json(),
            "{\"text_offset\":[0],\"token_logprobs\":[-3],\"tokens\":[\"\ufffd\"],"
            "\"top_logprobs\":[{\"\ufffd\":-0.5}]}");
}

TEST_F(CompletionsFormat, prompt_logprobs) {
  EXPECT_EQ(
      prompt_logprobs_json({std::nullopt, TokenLogprobs{{6, entry(-0.5f, 1, "\"")}, {7, entry(-2, 4, "b")}}}),
      R"([null,{"6":{"logprob":-0.5,"rank":1,"decoded_token":"\""},"7":{"logprob":-2,"rank":4,"decoded_token":"b"}}])");
}

}  // namespace
}  // namespace packhorse::server
