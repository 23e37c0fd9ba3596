#pragma once
// Answers and errors in Anthropic's notation.

#include <memory>
#include <string>

#include "app/server/api/chat_run.h"
#include "app/server/api/errors.h"
#include "app/server/http/http.h"

namespace packhorse::server {

std::shared_ptr<ChatWriter> messages_stream_writer(std::string id, std::string model, ReplyPtr reply);
std::shared_ptr<ChatWriter> messages_whole_writer(std::string id, std::string model, ReplyPtr reply);

/// {"type":"error","error":{"type","message"}}, with the status that the error has elsewhere.
Response messages_error(const std::exception_ptr& error);

}  // namespace packhorse::server
