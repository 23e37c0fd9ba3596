#pragma once
// The routes of the API. Each function adds its own; the context outlives the server.

#include "app/server/context.h"
#include "app/server/http/http_server.h"

namespace packhorse::server {

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
