#include "app/server/api/messages_format.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>
#include <vector>

#include "app/server/api/chat_blocks.h"
#include "app/server/api/json_text.h"

namespace packhorse::server {
namespace {

std::string_view type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

std::string event(std::string_view type, std::string_view members) {
  return fmt::format("event: {0}\ndata: {{\"type\":\"{0}\"{1}{2}}}\n\n", type, members.empty() ? "" : ",", members);
}

/// Tokens that came from the cache are no input tokens; what is put into it is not charged for.
std::string usage_json(const Usage& usage) {
  return fmt::format(R"({{"input_tokens":{},"output_tokens":{},"cache_creation_input_tokens":0,)"
                     R"("cache_read_input_tokens":{}}})",
                     usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens, usage.cached_tokens);
}

/// Of an answer whose blocks and end are known.
std::string stop_members(const ChatNews& last, const std::vector<Block>& blocks) {
  const bool has_call = !blocks.empty() && blocks.back().kind == BlockKind::call;
  std::string_view reason = "end_turn";
  if (last.finish_reason == "length") {
    reason = "max_tokens";
  } else if (has_call) {
    reason = "tool_use";
  } else if (last.stop_string) {
    reason = "stop_sequence";
  }
  return fmt::format(R"("stop_reason":"{}","stop_sequence":{})", reason,
                     last.stop_string ? json_string(*last.stop_string) : "null");
}

std::string message_json(const std::string& id, const std::string& model, std::string_view content,
                         std::string_view stop, std::string_view usage) {
  return fmt::format(R"({{"id":{},"type":"message","role":"assistant","model":{},"content":[{}],{},"usage":{}}})",
                     safe_json_string(id), safe_json_string(model), content, stop, usage);
}

constexpr std::string_view kNoStop = R"("stop_reason":null,"stop_sequence":null)";

std::string call_json(const Block& call, std::string_view input) {
  return fmt::format(R"({{"type":"tool_use","id":{},"name":{},"input":{}}})", json_string(call.id),
                     json_string(call.name), input);
}

std::string block_json(const Block& block) {
  switch (block.kind) {
    case BlockKind::reasoning:
      return fmt::format(R"({{"type":"thinking","thinking":{},"signature":""}})", json_string(block.text));
    case BlockKind::text:
      return fmt::format(R"({{"type":"text","text":{}}})", json_string(block.text));
    case BlockKind::call:
      return call_json(block, block.text.empty() ? "{}" : std::string_view(block.text));
  }
  return {};
}

/// Whether a call can be shown as a block: one that max_tokens cut off has no complete input.
bool is_complete(const Block& block) {
  return block.kind != BlockKind::call || block.text.empty() || Json::accept(block.text);
}

class MessagesWholeWriter : public ChatWriter {
 public:
  MessagesWholeWriter(std::string id, std::string model, ReplyPtr reply)
      : id_(std::move(id)), model_(std::move(model)), reply_(std::move(reply)) {}

  void prompt(RequestOutput&) override {}
  void write(ChatNews&& news) override {
    blocks_.add(news.delta);
    last_ = std::move(news);
  }
  void end(const Usage& usage) override {
    std::string content;
    for (const Block& block : blocks_.blocks()) {
      if (!is_complete(block)) continue;
      if (!content.empty()) content += ',';
      content += block_json(block);
    }
    reply_json(*reply_, message_json(id_, model_, content, stop_members(last_, blocks_.blocks()), usage_json(usage)));
  }
  void fail(const std::exception_ptr& error) override { send(*reply_, messages_error(error)); }

 private:
  const std::string id_, model_;
  const ReplyPtr reply_;
  BlockStream blocks_;
  ChatNews last_;
};

class MessagesStreamWriter : public ChatWriter {
 public:
  MessagesStreamWriter(std::string id, std::string model, ReplyPtr reply)
      : id_(std::move(id)), model_(std::move(model)), reply_(std::move(reply)) {}

  void start() override { reply_->start_stream(); }

  void prompt(RequestOutput& first) override {
    const Usage usage{.prompt_tokens = static_cast<int64_t>(first.prompt_token_ids.size()),
                      .cached_tokens = first.num_cached_tokens};
    const std::string message = message_json(id_, model_, "", kNoStop, usage_json(usage));
    reply_->write(event("message_start", R"("message":)" + message) + event("ping", ""));
  }

  void write(ChatNews&& news) override {
    std::string events;
    for (const BlockEvent& change : blocks_.add(news.delta)) append(events, change);
    if (!events.empty()) reply_->write(std::move(events));
    last_ = std::move(news);
  }

  void end(const Usage& usage) override {
    std::string events;
    for (const BlockEvent& change : blocks_.finish()) append(events, change);
    events += event("message_delta", fmt::format(R"("delta":{{{}}},"usage":{})", stop_members(last_, blocks_.blocks()),
                                                 usage_json(usage)));
    reply_->write(events += event("message_stop", ""));
    reply_->end();
  }

  void fail(const std::exception_ptr& error) override {
    reply_->write(fmt::format("event: error\ndata: {}\n\n", messages_error(error).body));
    reply_->end();
  }

 private:
  void append(std::string& out, const BlockEvent& change) const {
    const Block& block = blocks_.blocks()[change.index];
    switch (change.what) {
      case BlockEvent::What::open: {
        Block empty = block;
        empty.text.clear();
        out += event("content_block_start",
                     fmt::format(R"("index":{},"content_block":{})", change.index, block_json(empty)));
        break;
      }
      case BlockEvent::What::add:
        out += event("content_block_delta", delta_members(change, block.kind));
        break;
      case BlockEvent::What::close:
        out += event("content_block_stop", fmt::format(R"("index":{})", change.index));
    }
  }

  static std::string delta_members(const BlockEvent& change, BlockKind kind) {
    constexpr std::string_view kTypes[] = {R"("thinking_delta","thinking")", R"("text_delta","text")",
                                           R"("input_json_delta","partial_json")"};
    std::string out =
        fmt::format(R"("index":{},"delta":{{"type":{}:)", change.index, kTypes[static_cast<size_t>(kind)]);
    append_json_string(out, change.text);
    return out += '}';
  }

  const std::string id_, model_;
  const ReplyPtr reply_;
  BlockStream blocks_;
  ChatNews last_;
};

}  // namespace

std::shared_ptr<ChatWriter> messages_stream_writer(std::string id, std::string model, ReplyPtr reply) {
  return std::make_shared<MessagesStreamWriter>(std::move(id), std::move(model), std::move(reply));
}

std::shared_ptr<ChatWriter> messages_whole_writer(std::string id, std::string model, ReplyPtr reply) {
  return std::make_shared<MessagesWholeWriter>(std::move(id), std::move(model), std::move(reply));
}

Response messages_error(const std::exception_ptr& error) {
  ErrorAnswer answer = describe_error(error);
  std::string body = fmt::format(R"({{"type":"error","error":{{"type":"{}","message":{}}}}})", type_of(answer.status),
                                 safe_json_string(answer.message));
  return error_response(std::move(answer), std::move(body));
}

}  // namespace packhorse::server
