// /tokenize, /detokenize, /tokenizer_info: what clients need to count and cut prompts as the model does.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "app/server/api/chat_request.h"
#include "app/server/api/chat_run.h"
#include "app/server/api/errors.h"
#include "app/server/api/fields.h"
#include "app/server/api/handlers.h"
#include "app/server/api/json_text.h"
#include "app/server/api/prompt_tokens.h"

namespace packhorse::server {
namespace {

/// Tokens of the body's prompt, or of its messages as the chat template renders them.
std::vector<int32_t> tokens_of(const ServerContext& context, const Fields& body) {
  if (!body.find("messages")) {
    const auto text = body.text("prompt");
    if (!text) body.fail("prompt", "is missing, and so is messages");
    return context.engine.engine().tokenize(*text, body.flag("add_special_tokens").value_or(true));
  }
  if (body.find("prompt")) body.fail("prompt", "is given beside messages");
  const Prompt prompt = render_prompt(context, read_chat(context, body));
  return {prompt.token_ids->begin(), prompt.token_ids->end()};
}

std::string token_texts(const Engine& engine, const std::vector<int32_t>& tokens) {
  std::string list = "[";
  for (const int32_t token : tokens) {
    if (list.size() > 1) list += ',';
    append_json_string(list, engine.detokenize({token}, false));
  }
  return list += ']';
}

void tokenize(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply) {
  const Json json = parse_body(*request);
  const Fields body(json);
  requested_model(context, body);
  const bool wants_texts = body.flag("return_token_strs").value_or(false);
  const Engine& engine = context.engine.engine();
  const std::vector<int32_t> tokens = tokens_of(context, body);
  reply_json(*reply, fmt::format(R"({{"count":{},"max_model_len":{},"tokens":[{}],"token_strs":{}}})", tokens.size(),
                                 engine.max_model_len(), fmt::join(tokens, ","),
                                 wants_texts ? token_texts(engine, tokens) : "null"));
}

void detokenize(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply) {
  const Json json = parse_body(*request);
  const Fields body(json);
  requested_model(context, body);
  const Json* given = body.array("tokens");
  if (!given) body.fail("tokens", "is missing");
  const Engine& engine = context.engine.engine();
  const std::vector<int64_t> ids = read_token_ids(context, body, *given, "tokens");
  const std::string text = engine.detokenize({ids.begin(), ids.end()}, false);
  reply_json(*reply, fmt::format(R"({{"prompt":{}}})", json_string(text)));
}

Json token_text(const Engine& engine, std::optional<int32_t> token) {
  if (!token) return nullptr;
  return engine.detokenize({*token}, false);
}

/// What of a tokenizer_config.json clients such as lm-eval look for.
void show_tokenizer(const ServerContext& context, Reply& reply) {
  const Engine& engine = context.engine.engine();
  const std::string& chat_template = engine.chat_template();
  const Json info = {{"tokenizer_class", "PackhorseTokenizer"},
                     {"model_max_length", engine.max_model_len()},
                     {"vocab_size", engine.vocab_size()},
                     {"bos_token", token_text(engine, engine.bos_token_id())},
                     {"eos_token", token_text(engine, engine.eos_token_id())},
                     {"pad_token", token_text(engine, engine.eos_token_id())},
                     {"chat_template", chat_template.empty() ? Json() : Json(chat_template)}};
  reply_json(reply, info.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

void add_tokenizer_routes(HttpServer& server, ServerContext& context) {
  add_post(server, context, "/tokenize", tokenize);
  add_post(server, context, "/detokenize", detokenize);
  if (!context.options.enable_tokenizer_info_endpoint) return;
  server.add_route(
      {.method = "GET", .path = "/tokenizer_info", .handler = [&context](const HttpRequestPtr&, const ReplyPtr& reply) {
         show_tokenizer(context, *reply);
       }});
}

}  // namespace packhorse::server
