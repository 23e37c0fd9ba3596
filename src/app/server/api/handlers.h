#pragma once
// The routes of the API. Each function adds its own; the context outlives the server.

#include <string>

#include "app/server/context.h"
#include "app/server/http/http_server.h"

namespace packhorse::server {

using ApiHandler = void (*)(ServerContext&, const HttpRequestPtr&, const ReplyPtr&);

/// A route for POST; its errors are OpenAI's without an `error_format`.
inline void add_post(HttpServer& server, ServerContext& context, std::string path, ApiHandler answer,
                     ErrorFormat error_format = nullptr) {
  server.add_route({.method = "POST",
                    .path = std::move(path),
                    .handler = [&context, answer](const HttpRequestPtr& request,
                                                  const ReplyPtr& reply) { answer(context, request, reply); },
                    .error_format = error_format});
}

/// /v1/models, /v1/models/{id}, /version, /health, /ping, /load, /metrics.
void add_status_routes(HttpServer& server, ServerContext& context);
/// /v1/completions.
void add_completion_routes(HttpServer& server, ServerContext& context);
/// /tokenize, /detokenize, /tokenizer_info.
void add_tokenizer_routes(HttpServer& server, ServerContext& context);
/// /v1/embeddings.
void add_embedding_routes(HttpServer& server, ServerContext& context);
/// /v1/chat/completions.
void add_chat_routes(HttpServer& server, ServerContext& context);
/// /v1/responses.
void add_response_routes(HttpServer& server, ServerContext& context);
/// /v1/messages, /v1/messages/count_tokens.
void add_message_routes(HttpServer& server, ServerContext& context);
/// / and its files, and from the root path without a '/' behind it the way there.
void add_chat_page(HttpServer& server, std::string_view root_path);

}  // namespace packhorse::server
