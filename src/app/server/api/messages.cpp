// /v1/messages and /v1/messages/count_tokens.

#include <fmt/format.h>

#include <utility>

#include "app/server/api/handlers.h"
#include "app/server/api/messages_format.h"
#include "app/server/api/messages_request.h"

namespace packhorse::server {
namespace {

void answer_messages(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply) {
  require_room(context, 1);
  const Json json = parse_body(*request);
  const Fields body(json);
  std::string model = requested_model(context, body);
  const bool is_stream = body.flag("stream").value_or(false);
  ChatRequest chat = read_messages_chat(context, body, true);
  std::string id = answer_id("msg_", *request, body);
  auto writer = is_stream ? messages_stream_writer(std::move(id), std::move(model), reply)
                          : messages_whole_writer(std::move(id), std::move(model), reply);
  run_chat(context, request, reply, std::move(chat), is_stream, std::move(writer));
}

void count_tokens(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply) {
  const Json json = parse_body(*request);
  const Fields body(json);
  requested_model(context, body);
  const Prompt prompt = render_prompt(context, read_messages_chat(context, body, false));
  reply_json(*reply, fmt::format(R"({{"input_tokens":{}}})", prompt.token_ids->size()));
}

}  // namespace

void add_message_routes(HttpServer& server, ServerContext& context) {
  add_post(server, context, "/v1/messages", answer_messages, messages_error);
  add_post(server, context, "/v1/messages/count_tokens", count_tokens, messages_error);
}

}  // namespace packhorse::server
