#pragma once
// Answers in OpenAI's notation: chat.completion and chat.completion.chunk, with vLLM's additions.

#include <cstdint>
#include <memory>
#include <string>

#include "app/server/api/answer_text.h"
#include "app/server/api/chat_run.h"
#include "app/server/http/http.h"

namespace packhorse::server {

/// What a client wants to be told, and what the answer is called.
struct ChatShape {
  std::string id{}, model{}, role{};
  int64_t created = 0;  // Unix time
  std::string echo{};   // goes before each answer's content
  size_t n = 1;
  UsageDetails details{};
  StreamOptions stream{};
  bool return_token_ids = false;
  bool has_logprobs = false;
  int64_t top_logprobs = 0;
  bool tokens_as_ids = false;  // tokens of logprobs as "token_id:N"
  bool is_named_call = false;  // whose finish_reason stays "stop", as OpenAI's does
};

std::shared_ptr<ChatWriter> chat_stream_writer(ChatShape shape, ReplyPtr reply);
std::shared_ptr<ChatWriter> chat_whole_writer(ChatShape shape, ReplyPtr reply);

/// "tool_calls" where an answer that stopped by itself holds calls.
std::string_view chat_finish_reason(const ChatShape& shape, std::string_view reason, bool has_calls);

}  // namespace packhorse::server
