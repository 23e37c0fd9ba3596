// /v1/chat/completions.

#include <ctime>
#include <utility>

#include "app/server/api/chat_format.h"
#include "app/server/api/chat_run.h"
#include "app/server/api/errors.h"
#include "app/server/api/handlers.h"

namespace packhorse::server {
namespace {

/// The last message's text where the answer goes on in its role.
std::string read_echo(const Fields& body, const ChatRequest& chat, std::string_view role) {
  if (!body.flag("echo").value_or(false)) return "";
  const Json& last = chat.messages.back();
  const auto content = last.find("content");
  if (last.at("role") != role || content == last.end()) return "";
  return text_of_content(*content, "messages");
}

ChatShape read_shape(const ServerContext& context, const HttpRequest& request, const Fields& body,
                     const ChatRequest& chat, std::string model, bool is_stream) {
  ChatShape shape{.id = answer_id("chatcmpl-", request, body),
                  .model = std::move(model),
                  .role = chat.add_generation_prompt ? context.options.response_role
                                                     : chat.messages.back().at("role").get<std::string>(),
                  .created = std::time(nullptr),
                  .n = static_cast<size_t>(chat.params.n),
                  .has_logprobs = chat.params.logprobs.has_value(),
                  .top_logprobs = chat.params.logprobs.value_or(0),
                  .is_named_call = chat.tools.mode == ToolMode::named};
  shape.echo = read_echo(body, chat, shape.role);
  shape.details = {.cached_tokens = context.options.enable_prompt_tokens_details,
                   .reasoning_tokens = !parser_options(context, chat).reasoning_parser.empty()};
  shape.return_token_ids = body.flag("return_token_ids").value_or(false);
  shape.tokens_as_ids = body.flag("return_tokens_as_token_ids").value_or(context.options.return_tokens_as_token_ids);
  shape.stream = read_stream_options(context, body, is_stream);
  return shape;
}

void answer_chat(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply) {
  require_room(context, 1);
  const Json json = parse_body(*request);
  const Fields body(json);
  std::string model = requested_model(context, body);  // before all else: the rest depends on it
  const bool is_stream = body.flag("stream").value_or(false);
  ChatRequest chat = read_chat(context, body);
  if (is_stream && chat.params.prompt_logprobs) body.fail("prompt_logprobs", "is not available in a stream");
  ChatShape shape = read_shape(context, *request, body, chat, std::move(model), is_stream);
  auto writer = is_stream ? chat_stream_writer(std::move(shape), reply) : chat_whole_writer(std::move(shape), reply);
  run_chat(context, request, reply, std::move(chat), is_stream, std::move(writer));
}

}  // namespace

void add_chat_routes(HttpServer& server, ServerContext& context) {
  add_post(server, context, "/v1/chat/completions", answer_chat);
}

}  // namespace packhorse::server
