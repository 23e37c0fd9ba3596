#include "app/server/http/gate.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "app/server/http/text.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {
namespace {

std::optional<Response> refuse_stranger(const Service& service, const HttpRequest& request, const Match& match) {
  if ((match.route && match.route->is_open) || service.api_keys.allow(request)) return std::nullopt;
  return error_response(401, "the API key is missing or wrong", {{"WWW-Authenticate", "Bearer"}});
}

}  // namespace

Response no_room_for_body() {
  return error_response(503, "too many large bodies at a time (--max-bodies-mb); try again later",
                        {{"Retry-After", "1"}});
}

std::optional<Response> answer_early(const Service& service, const HttpRequest& request, const RequestHead& head,
                                     const Match& match) {
  if (std::optional<Response> preflight = service.cors.answer_preflight(request)) return preflight;
  if (std::optional<Response> refused = refuse_stranger(service, request, match)) return refused;
  if (!match.route) {
    std::string allowed = "OPTIONS";
    for (const std::string& method : match.allowed) allowed += ", " + method;
    const bool is_known = !match.allowed.empty() || request.path == "*";
    if (!is_known) return error_response(404, "there is no " + printable(request.path));
    if (request.method == "OPTIONS") {
      return Response{.status = 204, .content_type = {}, .body = {}, .headers = {{"Allow", allowed}}};
    }
    return error_response(405, "the method is not one of " + allowed, {{"Allow", allowed}});
  }
  if (service.is_draining && !match.route->is_closing_ok) {
    return error_response(503, "the server is shutting down", {{"Retry-After", "5"}});
  }
  const std::string_view coding = request.header("Content-Encoding");
  if (!coding.empty() && !equal_ignoring_case(coding, "identity")) {
    return error_response(415, "compressed bodies are not accepted (Content-Encoding)",
                          {{"Accept-Encoding", "identity"}});
  }
  const int64_t max_body_bytes = service.options.limits.max_body_bytes;
  if (head.n_body_bytes.value_or(0) > static_cast<uint64_t>(max_body_bytes)) {
    return error_response(413, fmt::format("the body is larger than {} bytes (--max-body-mb)", max_body_bytes));
  }
  if (!service.bodies->has_room(head.n_body_bytes.value_or(0))) return no_room_for_body();
  return std::nullopt;
}

}  // namespace packhorse::server
