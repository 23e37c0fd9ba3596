#include "app/server/api/responses_format.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "app/server/api/errors.h"
#include "app/server/api/json_text.h"
#include "app/server/api/response_answer.h"

namespace packhorse::server {
namespace {

class ResponsesWholeWriter : public ChatWriter {
 public:
  ResponsesWholeWriter(ResponseShape shape, ReplyPtr reply) : answer_(std::move(shape)), reply_(std::move(reply)) {}

  void prompt(RequestOutput&) override {}
  void write(ChatNews&& news) override { answer_.add(std::move(news)); }
  void end(const Usage& usage) override {
    answer_.finish();
    std::string json = answer_.object(answer_.status(), &usage);
    answer_.keep(json);
    reply_json(*reply_, std::move(json));
  }
  void fail(const std::exception_ptr& error) override { send_error(*reply_, error); }

 private:
  ResponseAnswer answer_;
  const ReplyPtr reply_;
};

class ResponsesStreamWriter : public ChatWriter {
 public:
  ResponsesStreamWriter(ResponseShape shape, ReplyPtr reply) : answer_(std::move(shape)), reply_(std::move(reply)) {}

  void start() override { reply_->start_stream(); }

  void prompt(RequestOutput&) override {
    const std::string response = R"("response":)" + answer_.object("in_progress", nullptr);
    std::string events;
    append_event(events, "response.created", response);
    append_event(events, "response.in_progress", response);
    reply_->write(std::move(events));
  }

  void write(ChatNews&& news) override {
    std::string events;
    for (const BlockEvent& change : answer_.add(std::move(news))) append(events, change);
    if (!events.empty()) reply_->write(std::move(events));
  }

  void end(const Usage& usage) override {
    std::string events;
    for (const BlockEvent& change : answer_.finish()) append(events, change);
    const std::string json = answer_.object(answer_.status(), &usage);
    answer_.keep(json);
    append_event(events, fmt::format("response.{}", answer_.status()), R"("response":)" + json);
    reply_->write(std::move(events));
    reply_->end();
  }

  void fail(const std::exception_ptr& error) override {
    const std::string message = safe_json_string(describe_error(error).message);
    std::string events;
    append_event(events, "error", fmt::format(R"("code":"server_error","message":{},"param":null)", message));
    const Usage none;
    append_event(events, "response.failed",
                 R"("response":)" + answer_.object("failed", &none,
                                                   fmt::format(R"({{"code":"server_error","message":{}}})", message)));
    reply_->write(std::move(events));
    reply_->end();
  }

 private:
  void append_event(std::string& out, std::string_view type, std::string_view members) {
    fmt::format_to(std::back_inserter(out), "event: {0}\ndata: {{\"type\":\"{0}\",\"sequence_number\":{1},{2}}}\n\n",
                   type, n_events_++, members);
  }

  void append(std::string& out, const BlockEvent& change) {
    const std::string place =
        fmt::format(R"("item_id":{},"output_index":{})", safe_json_string(answer_.item_id(change.index)), change.index);
    switch (change.what) {
      case BlockEvent::What::open:
        return append_open(out, change.index, place);
      case BlockEvent::What::add:
        return append_delta(out, change, place);
      case BlockEvent::What::close:
        return append_close(out, change.index, place);
    }
  }

  BlockKind kind(size_t index) const { return answer_.blocks()[index].kind; }

  void append_open(std::string& out, size_t index, const std::string& place) {
    append_event(out, "response.output_item.added",
                 fmt::format(R"("output_index":{},"item":{})", index, answer_.item(index, true)));
    if (kind(index) == BlockKind::call) return;
    append_event(out, "response.content_part.added",
                 fmt::format(R"({},"content_index":0,"part":{})", place, answer_.part(index, true)));
  }

  void append_delta(std::string& out, const BlockEvent& change, const std::string& place) {
    const std::string delta = json_string(change.text);
    switch (kind(change.index)) {
      case BlockKind::reasoning:
        return append_event(out, "response.reasoning_text.delta",
                            fmt::format(R"({},"content_index":0,"delta":{})", place, delta));
      case BlockKind::text:
        return append_event(
            out, "response.output_text.delta",
            fmt::format(R"({},"content_index":0,"delta":{},"logprobs":{})", place, delta, answer_.news_logprobs()));
      case BlockKind::call:
        return append_event(out, "response.function_call_arguments.delta",
                            fmt::format(R"({},"delta":{})", place, delta));
    }
  }

  void append_close(std::string& out, size_t index, const std::string& place) {
    const Block& block = answer_.blocks()[index];
    const std::string text = json_string(block.text);
    if (block.kind == BlockKind::call) {
      append_event(out, "response.function_call_arguments.done",
                   fmt::format(R"({},"name":{},"arguments":{})", place, json_string(block.name), text));
    } else {
      const bool is_text = block.kind == BlockKind::text;
      append_event(out, is_text ? "response.output_text.done" : "response.reasoning_text.done",
                   fmt::format(R"({},"content_index":0,"text":{}{})", place, text,
                               is_text ? fmt::format(R"(,"logprobs":{})", answer_.all_logprobs()) : ""));
      append_event(out, "response.content_part.done",
                   fmt::format(R"({},"content_index":0,"part":{})", place, answer_.part(index, false)));
    }
    append_event(out, "response.output_item.done",
                 fmt::format(R"("output_index":{},"item":{})", index, answer_.item(index, false)));
  }

  ResponseAnswer answer_;
  const ReplyPtr reply_;
  int64_t n_events_ = 0;
};

}  // namespace

std::shared_ptr<ChatWriter> responses_stream_writer(ResponseShape shape, ReplyPtr reply) {
  return std::make_shared<ResponsesStreamWriter>(std::move(shape), std::move(reply));
}

std::shared_ptr<ChatWriter> responses_whole_writer(ResponseShape shape, ReplyPtr reply) {
  return std::make_shared<ResponsesWholeWriter>(std::move(shape), std::move(reply));
}

}  // namespace packhorse::server
