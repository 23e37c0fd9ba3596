// What the server says about itself: models, health, version, load, metrics.

#include <fmt/format.h>

#include <algorithm>

#include "app/server/api/errors.h"
#include "app/server/api/fields.h"
#include "app/server/api/handlers.h"
#include "app/server/metrics.h"

namespace packhorse::server {
namespace {

/// vLLM's ModelCard; clients look for max_model_len in it.
Json model_card(const ServerContext& context, const std::string& name) {
  const Json permission = {{"id", "modelperm-" + name},
                           {"object", "model_permission"},
                           {"created", context.created},
                           {"allow_create_engine", false},
                           {"allow_sampling", true},
                           {"allow_logprobs", true},
                           {"allow_search_indices", false},
                           {"allow_view", true},
                           {"allow_fine_tuning", false},
                           {"organization", "*"},
                           {"group", nullptr},
                           {"is_blocking", false}};
  return {{"id", name},
          {"object", "model"},
          {"created", context.created},
          {"owned_by", "vllm"},
          {"root", context.engine.engine().options().model},
          {"parent", nullptr},
          {"max_model_len", context.engine.engine().max_model_len()},
          {"permission", Json::array({permission})}};
}

void send_json(Reply& reply, const Json& json) {
  reply_json(reply, json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void list_models(const ServerContext& context, Reply& reply) {
  Json cards = Json::array();
  for (const std::string& name : context.options.served_model_names) cards.push_back(model_card(context, name));
  send_json(reply, {{"object", "list"}, {"data", std::move(cards)}});
}

void show_model(const ServerContext& context, const std::string& name, Reply& reply) {
  require_model(context, name);
  send_json(reply, model_card(context, name));
}

/// While the server drains, the connection answers 503 by itself.
void show_health(const ServerContext& context, Reply& reply) {
  if (context.engine.failure()) throw HttpError(503, "the engine has stopped");
  reply.send(200, "text/plain; charset=utf-8", "");
}

}  // namespace

void add_status_routes(HttpServer& server, ServerContext& context) {
  const auto add = [&](const char* method, const char* path, auto handle, bool is_open = false) {
    server.add_route({.method = method,
                      .path = path,
                      .handler = [&context, handle](const HttpRequestPtr& request,
                                                    const ReplyPtr& reply) { handle(context, *request, *reply); },
                      .is_open = is_open,
                      .is_quick = true});
  };
  const auto health = [](ServerContext& c, const HttpRequest&, Reply& reply) { show_health(c, reply); };
  add("GET", "/health", health, true);
  add("GET", "/ping", health, true);
  add("POST", "/ping", health, true);
  add("GET", "/v1/models", [](ServerContext& c, const HttpRequest&, Reply& reply) { list_models(c, reply); });
  add("GET", "/v1/models/{id...}", [](ServerContext& c, const HttpRequest& request, Reply& reply) {
    show_model(c, request.path_parameters.at(0), reply);
  });
  add("GET", "/version", [](ServerContext&, const HttpRequest&, Reply& reply) {
    send_json(reply, {{"version", version()}});
  });
  add("GET", "/load", [](ServerContext& c, const HttpRequest&, Reply& reply) {
    send_json(reply, {{"server_load", c.n_prompts.load()}});
  });
  add("GET", "/metrics", [](ServerContext& c, const HttpRequest&, Reply& reply) {
    reply.send(200, "text/plain; version=0.0.4; charset=utf-8",
               c.metrics.text(c.engine.stats(), c.engine.engine().options()));
  });
}

}  // namespace packhorse::server
