// A chat completion in one piece.

#include <fmt/format.h>

#include <iterator>
#include <utility>
#include <vector>

#include "app/server/api/chat_answer.h"
#include "app/server/api/chat_format.h"
#include "app/server/api/chat_logprobs.h"
#include "app/server/api/errors.h"
#include "app/server/api/json_text.h"
#include "app/server/api/logprob_lists.h"

namespace packhorse::server {
namespace {

void append_tool_calls(std::string& out, const std::vector<ToolCallDelta>& calls) {
  for (size_t i = 0; i < calls.size(); ++i) {
    out += i == 0 ? R"(,"tool_calls":[{"id":)" : R"(,{"id":)";
    append_json_string(out, calls[i].id);
    out += R"(,"type":"function","function":{"name":)";
    append_json_string(out, calls[i].name);
    out += R"(,"arguments":)";
    append_json_string(out, calls[i].arguments);
    out += "}}";
  }
  if (!calls.empty()) out += ']';
}

void append_text_or_null(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "null";
  } else {
    append_json_string(out, text);
  }
}

class ChatWholeWriter : public ChatWriter {
 public:
  ChatWholeWriter(ChatShape shape, ReplyPtr reply)
      : shape_(std::move(shape)), reply_(std::move(reply)), answers_(shape_.n) {}

  void prompt(RequestOutput& first) override {
    prompt_ids_ = std::move(first.prompt_token_ids);
    prompt_logprobs_ = std::move(first.prompt_logprobs);
  }

  void write(ChatNews&& news) override {
    if (!shape_.has_logprobs) news.logprobs.reset();
    answers_[news.index].add(std::move(news));
  }

  void end(const Usage& usage) override {
    std::string out = fmt::format(R"({{"id":{},"object":"chat.completion","created":{},"model":{},"choices":[)",
                                  safe_json_string(shape_.id), shape_.created, safe_json_string(shape_.model));
    for (size_t i = 0; i < answers_.size(); ++i) append_choice(out, i);
    out += R"(],"service_tier":null,"system_fingerprint":null,"usage":)";
    append_usage(out, usage, shape_.details);
    out += R"(,"prompt_logprobs":)";
    out += prompt_logprobs_ ? prompt_logprobs_json(*prompt_logprobs_) : "null";
    if (shape_.return_token_ids) {
      out += R"(,"prompt_token_ids":)";
      append_token_ids(out, prompt_ids_);
    }
    reply_json(*reply_, std::move(out += '}'));
  }

  void fail(const std::exception_ptr& error) override { send_error(*reply_, error); }

 private:
  void append_choice(std::string& out, size_t index) const {
    const ChatAnswer& answer = answers_[index];
    fmt::format_to(std::back_inserter(out), R"({}{{"index":{},"message":)", index > 0 ? "," : "", index);
    append_message(out, answer.said);
    out += R"(,"logprobs":)";
    if (answer.logprobs) {
      out += R"({"content":[)";
      append_chat_logprobs(out, answer.token_ids, *answer.logprobs, shape_.top_logprobs, shape_.tokens_as_ids);
      out += "]}";
    } else {
      out += "null";
    }
    fmt::format_to(std::back_inserter(out), R"(,"finish_reason":"{}","stop_reason":)",
                   chat_finish_reason(shape_, answer.finish_reason, !answer.said.tool_calls.empty()));
    append_stop_reason(out, answer.stop_string, answer.stop_token_id);
    if (shape_.return_token_ids) {
      out += R"(,"token_ids":)";
      append_token_ids(out, answer.token_ids);
    }
    out += '}';
  }

  void append_message(std::string& out, const OutputDelta& said) const {
    out += R"({"role":)";
    append_json_string(out, shape_.role);
    out += R"(,"content":)";
    const std::string content = shape_.echo + said.content;
    const bool is_all = said.tool_calls.empty() && said.reasoning.empty();
    if (is_all) {
      append_json_string(out, content);
    } else {
      append_text_or_null(out, content);
    }
    out += R"(,"refusal":null,"annotations":null,"audio":null,"function_call":null)";
    append_tool_calls(out, said.tool_calls);
    for (const std::string_view name : {"reasoning", "reasoning_content"}) {
      fmt::format_to(std::back_inserter(out), R"(,"{}":)", name);
      append_text_or_null(out, said.reasoning);
    }
    out += '}';
  }

  const ChatShape shape_;
  const ReplyPtr reply_;
  std::vector<ChatAnswer> answers_;
  std::vector<int32_t> prompt_ids_;
  std::optional<std::vector<std::optional<TokenLogprobs>>> prompt_logprobs_;
};

}  // namespace

std::shared_ptr<ChatWriter> chat_whole_writer(ChatShape shape, ReplyPtr reply) {
  return std::make_shared<ChatWholeWriter>(std::move(shape), std::move(reply));
}

}  // namespace packhorse::server
