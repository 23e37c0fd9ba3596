// A chat completion, chunk by chunk.

#include <fmt/format.h>

#include <iterator>
#include <utility>
#include <vector>

#include "app/server/api/chat_format.h"
#include "app/server/api/chat_logprobs.h"
#include "app/server/api/errors.h"
#include "app/server/api/json_text.h"

namespace packhorse::server {
namespace {

/// Members with commas between them.
class Members {
 public:
  explicit Members(std::string& out) : out_(out) {}
  void name(std::string_view key) {
    fmt::format_to(std::back_inserter(out_), R"({}"{}":)", std::exchange(separator_, ","), key);
  }
  void text(std::string_view key, std::string_view value) {
    name(key);
    append_json_string(out_, value);
  }

 private:
  std::string& out_;
  std::string_view separator_;
};

void append_tool_call(std::string& out, const ToolCallDelta& call) {
  fmt::format_to(std::back_inserter(out), R"({{"index":{},)", call.index);
  if (!call.id.empty()) {
    out += R"("id":)";
    append_json_string(out, call.id);
    out += R"(,"type":"function",)";
  }
  out += R"("function":{)";
  Members function(out);
  if (!call.name.empty()) function.text("name", call.name);
  function.text("arguments", call.arguments);
  out += "}}";
}

void append_delta(std::string& out, const OutputDelta& delta) {
  out += '{';
  Members members(out);
  if (!delta.reasoning.empty()) {
    members.text("reasoning", delta.reasoning);
    members.text("reasoning_content", delta.reasoning);
  }
  if (!delta.content.empty()) members.text("content", delta.content);
  if (!delta.tool_calls.empty()) {
    members.name("tool_calls");
    out += '[';
    for (size_t i = 0; i < delta.tool_calls.size(); ++i) {
      if (i > 0) out += ',';
      append_tool_call(out, delta.tool_calls[i]);
    }
    out += ']';
  }
  out += '}';
}

class ChatStreamWriter : public ChatWriter {
 public:
  ChatStreamWriter(ChatShape shape, ReplyPtr reply)
      : shape_(std::move(shape)),
        reply_(std::move(reply)),
        head_(fmt::format(R"(data: {{"id":{},"object":"chat.completion.chunk","created":{},"model":{},)",
                          safe_json_string(shape_.id), shape_.created, safe_json_string(shape_.model))),
        answers_(shape_.n) {}

  void start() override { reply_->start_stream(); }

  /// First the role, and what `echo` asks for.
  void prompt(RequestOutput& first) override {
    n_prompt_ = static_cast<int64_t>(first.prompt_token_ids.size());
    std::string events;
    for (size_t i = 0; i < shape_.n; ++i) {
      begin_choice(events, i);
      events += R"({"role":)";
      append_json_string(events, shape_.role);
      events += R"(,"content":""},"logprobs":null,"finish_reason":null}])";
      if (shape_.return_token_ids) {
        events += R"(,"prompt_token_ids":)";
        append_token_ids(events, first.prompt_token_ids);
      }
      end_chunk(events, 0);
    }
    if (!shape_.echo.empty()) append_echo(events);
    reply_->write(std::move(events));
  }

  void write(ChatNews&& news) override {
    Answer& answer = answers_[news.index];
    answer.n_tokens += news.n_tokens;
    answer.has_calls |= !news.delta.tool_calls.empty();
    const bool is_over = !news.finish_reason.empty();
    const bool has_details = !news.token_ids.empty() && (shape_.return_token_ids || shape_.has_logprobs);
    if (news.delta.empty() && !is_over && !has_details) return;
    std::string event;
    begin_choice(event, news.index);
    append_delta(event, news.delta);
    append_logprobs(event, news);
    append_finish(event, news, answer.has_calls);
    if (shape_.return_token_ids) {
      event += R"(,"token_ids":)";
      append_token_ids(event, news.token_ids);
    }
    event += "}]";
    end_chunk(event, answer.n_tokens);
    reply_->write(std::move(event));
  }

  void end(const Usage& usage) override {
    std::string events;
    if (shape_.stream.include_usage) {
      events = head_ + R"("choices":[],"usage":)";
      append_usage(events, usage, shape_.details);
      events += "}\n\n";
    }
    reply_->write(events.append(kSseDone));
    reply_->end();
  }

  void fail(const std::exception_ptr& error) override {
    reply_->write(error_events(error));
    reply_->end();
  }

 private:
  struct Answer {
    int64_t n_tokens = 0;
    bool has_calls = false;
  };

  void begin_choice(std::string& out, size_t index) const {
    out += head_;
    fmt::format_to(std::back_inserter(out), R"("choices":[{{"index":{},"delta":)", index);
  }

  void end_chunk(std::string& out, int64_t n_tokens) const {
    if (shape_.stream.continuous_usage) {
      out += R"(,"usage":)";
      append_usage(out, {.prompt_tokens = n_prompt_, .completion_tokens = n_tokens}, {});
    } else if (shape_.stream.include_usage) {
      out += R"(,"usage":null)";
    }
    out += "}\n\n";
  }

  void append_echo(std::string& out) const {
    OutputDelta delta;
    delta.content = shape_.echo;
    for (size_t i = 0; i < shape_.n; ++i) {
      begin_choice(out, i);
      append_delta(out, delta);
      out += R"(,"logprobs":null,"finish_reason":null}])";
      end_chunk(out, 0);
    }
  }

  void append_logprobs(std::string& out, const ChatNews& news) const {
    if (!shape_.has_logprobs || !news.logprobs || news.token_ids.empty()) {
      out += R"(,"logprobs":null)";
      return;
    }
    out += R"(,"logprobs":{"content":[)";
    append_chat_logprobs(out, news.token_ids, *news.logprobs, shape_.top_logprobs, shape_.tokens_as_ids);
    out += "]}";
  }

  void append_finish(std::string& out, const ChatNews& news, bool has_calls) const {
    if (news.finish_reason.empty()) {
      out += R"(,"finish_reason":null)";
      return;
    }
    fmt::format_to(std::back_inserter(out), R"(,"finish_reason":"{}","stop_reason":)",
                   chat_finish_reason(shape_, news.finish_reason, has_calls));
    append_stop_reason(out, news.stop_string, news.stop_token_id);
  }

  const ChatShape shape_;
  const ReplyPtr reply_;
  const std::string head_;  // of each event
  std::vector<Answer> answers_;
  int64_t n_prompt_ = 0;
};

}  // namespace

std::shared_ptr<ChatWriter> chat_stream_writer(ChatShape shape, ReplyPtr reply) {
  return std::make_shared<ChatStreamWriter>(std::move(shape), std::move(reply));
}

std::string_view chat_finish_reason(const ChatShape& shape, std::string_view reason, bool has_calls) {
  return has_calls && reason == "stop" && !shape.is_named_call ? "tool_calls" : reason;
}

}  // namespace packhorse::server
