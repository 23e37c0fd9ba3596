#pragma once
// The Responses API's notation of a chat.

#include "app/server/api/chat_request.h"

namespace packhorse::server {

struct ResponsesRequest {
  ChatRequest chat;
  Json conversation;  // the messages without the instructions: what a later response goes on from
  Json settings;      // members of the response object that repeat the request
};

/// A body of /v1/responses. `earlier` is the conversation of its previous_response_id, or null. Throws HttpError{400}.
ResponsesRequest read_responses_chat(const ServerContext& context, const Fields& body, const Json& earlier);

}  // namespace packhorse::server
