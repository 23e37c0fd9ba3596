#include "app/server/http/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "app/server/http/text.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {
namespace {

void refuse_stranger(const Service& service, const HttpRequest& request, const Match& match) {
  if ((match.route && match.route->is_open) || service.api_keys.allow(request)) return;
  throw HttpError(401, "the API key is missing or wrong", {}, {{"WWW-Authenticate", "Bearer"}});
}

/// The way to the path without the '/' at its end, where there is such a path.
std::optional<Response> drop_slash(const Service& service, const HttpRequest& request, std::string_view target) {
  const size_t end = std::min(target.find('?'), target.size());
  if (end == 0 || target[end - 1] != '/') return std::nullopt;
  const std::string_view path = std::string_view(request.path).substr(0, request.path.size() - 1);
  if (service.router.find(request.method, path).pattern.empty()) return std::nullopt;
  std::string location(target);
  location.erase(end - 1, 1);
  return Response{.status = 307, .content_type = {}, .body = {}, .headers = {{"Location", std::move(location)}}};
}

}  // namespace

void require_body_size(const Service& service, const Route& route, uint64_t n_bytes) {
  const auto limit = static_cast<uint64_t>(service.options.limits.max_body_bytes);
  if (n_bytes > limit) throw HttpError(413, fmt::format("the body is larger than {} bytes (--max-body-mb)", limit));
  if (route.is_open && n_bytes > BodyBudget::kSmall) {  // strangers take no room from those with a key
    throw HttpError(413, fmt::format("the body is larger than {} bytes", BodyBudget::kSmall));
  }
}

HttpError no_room_for_body() {
  return {503, "too many large bodies at a time (--max-bodies-mb); try again later", {}, {{"Retry-After", "1"}}};
}

std::optional<Response> answer_early(const Service& service, const HttpRequest& request, const RequestHead& head,
                                     const Match& match) {
  if (std::optional<Response> preflight = service.cors.answer_preflight(request)) return preflight;
  refuse_stranger(service, request, match);
  if (!match.route) {
    std::string allowed = "OPTIONS";
    for (const std::string& method : match.allowed) allowed += ", " + method;
    const bool is_known = !match.allowed.empty() || request.path == "*";
    if (!is_known) {
      if (std::optional<Response> moved = drop_slash(service, request, head.target)) return moved;
      throw HttpError(404, "there is no " + printable(request.path));
    }
    if (request.method == "OPTIONS") {
      return Response{.status = 204, .content_type = {}, .body = {}, .headers = {{"Allow", allowed}}};
    }
    throw HttpError(405, "the method is not one of " + allowed, {}, {{"Allow", allowed}});
  }
  if (service.is_draining && !match.route->is_closing_ok) {
    throw HttpError(503, "the server is shutting down", {}, {{"Retry-After", "5"}});
  }
  const std::string_view coding = request.header("Content-Encoding");
  if (!coding.empty() && !equal_ignoring_case(coding, "identity")) {
    throw HttpError(415, "compressed bodies are not accepted (Content-Encoding)", {},
                    {{"Accept-Encoding", "identity"}});
  }
  require_body_size(service, *match.route, head.n_body_bytes.value_or(0));
  if (!service.bodies->has_room(head.n_body_bytes.value_or(0))) throw no_room_for_body();
  return std::nullopt;
}

}  // namespace packhorse::server
