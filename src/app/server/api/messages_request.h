#pragma once
// Anthropic's notation of a chat.

#include "app/server/api/chat_request.h"

namespace packhorse::server {

/// A body of /v1/messages, or of count_tokens, which has no `max_tokens`. Throws HttpError{400}.
ChatRequest read_messages_chat(const ServerContext& context, const Fields& body, bool needs_max_tokens);

}  // namespace packhorse::server
