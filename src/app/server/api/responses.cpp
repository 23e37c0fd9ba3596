// /v1/responses, and what was stored of earlier ones.

#include <fmt/format.h>

#include <ctime>
#include <memory>
#include <utility>

#include "app/server/api/errors.h"
#include "app/server/api/handlers.h"
#include "app/server/api/json_text.h"
#include "app/server/api/response_store.h"
#include "app/server/api/responses_format.h"
#include "app/server/api/responses_request.h"

namespace packhorse::server {
namespace {

using StorePtr = std::shared_ptr<ResponseStore>;

StoredResponse stored(ResponseStore& store, const std::string& id, std::optional<std::string> field = {}) {
  if (auto response = store.find(id)) return *std::move(response);
  throw HttpError(404, fmt::format("Response with id '{}' not found.", printable(id)), std::move(field));
}

/// Id as the client may ask for it again: an id that it chose must not replace another's response.
std::string response_id(ResponseStore& store, const HttpRequest& request, const Fields& body) {
  std::string id = answer_id("resp_", request, body);
  if (store.find(id)) body.fail("request_id", "a response of that id exists");
  return id;
}

Json earlier_conversation(ResponseStore& store, const Fields& body) {
  const auto id = body.text("previous_response_id");
  if (!id) return nullptr;
  return Json::parse(stored(store, *id, "previous_response_id").conversation);
}

/// What is inside of an array's brackets or an object's braces.
std::string elements_of(const Json& container) {
  const std::string text = container.dump();
  return text.substr(1, text.size() - 2);
}

void create_response(ServerContext& context, const StorePtr& store, const HttpRequestPtr& request,
                     const ReplyPtr& reply) {
  require_room(context, 1);
  const Json json = parse_body(*request);
  const Fields body(json);
  std::string model = requested_model(context, body);
  const bool is_stream = body.flag("stream").value_or(false);
  ResponsesRequest read = read_responses_chat(context, body, earlier_conversation(*store, body));
  ResponseShape shape{.id = response_id(*store, *request, body),
                      .model = std::move(model),
                      .created = std::time(nullptr),
                      .settings = elements_of(read.settings),
                      .top_logprobs = read.chat.params.logprobs.value_or(0)};
  if (body.flag("store").value_or(true)) {
    shape.keep = [store, id = shape.id, earlier = elements_of(read.conversation)](const std::string& response,
                                                                                  const Json& message) {
      store->put(id, {response, '[' + earlier + ',' + message.dump() + ']'});
    };
  }
  auto writer =
      is_stream ? responses_stream_writer(std::move(shape), reply) : responses_whole_writer(std::move(shape), reply);
  run_chat(context, request, reply, std::move(read.chat), is_stream, std::move(writer));
}

}  // namespace

void add_response_routes(HttpServer& server, ServerContext& context) {
  const auto store = std::make_shared<ResponseStore>();
  const auto add = [&](const char* method, const char* path, Handler handler) {
    server.add_route({.method = method, .path = path, .handler = std::move(handler)});
  };
  add("POST", "/v1/responses", [&context, store](const HttpRequestPtr& request, const ReplyPtr& reply) {
    create_response(context, store, request, reply);
  });
  add("GET", "/v1/responses/{response_id}", [store](const HttpRequestPtr& request, const ReplyPtr& reply) {
    reply_json(*reply, stored(*store, request->path_parameters.at(0)).json);
  });
  add("DELETE", "/v1/responses/{response_id}", [store](const HttpRequestPtr& request, const ReplyPtr& reply) {
    const std::string& id = request->path_parameters.at(0);
    stored(*store, id);
    store->erase(id);
    reply_json(*reply, fmt::format(R"({{"id":{},"object":"response","deleted":true}})", safe_json_string(id)));
  });
  add("POST", "/v1/responses/{response_id}/cancel", [store](const HttpRequestPtr& request, const ReplyPtr&) {
    stored(*store, request->path_parameters.at(0));
    throw HttpError(400, "Cannot cancel a synchronous response: it ends when its client leaves.");
  });
}

}  // namespace packhorse::server
