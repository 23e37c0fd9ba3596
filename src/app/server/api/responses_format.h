#pragma once
// Answers in the notation of the Responses API.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "app/server/api/chat_run.h"
#include "app/server/http/http.h"

namespace packhorse::server {

struct ResponseShape {
  std::string id{}, model{};
  int64_t created = 0;   // Unix time
  std::string settings;  // members that repeat the request, as JSON text without braces
  int64_t top_logprobs = 0;
  /// Gets the response object and the answer as a message of a chat; empty = it is not kept.
  std::function<void(const std::string& json, const Json& message)> keep{};
};

std::shared_ptr<ChatWriter> responses_stream_writer(ResponseShape shape, ReplyPtr reply);
std::shared_ptr<ChatWriter> responses_whole_writer(ResponseShape shape, ReplyPtr reply);

}  // namespace packhorse::server
