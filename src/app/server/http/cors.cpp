#include "app/server/http/cors.h"

#include <algorithm>

#include "app/server/http/http_error.h"
#include "app/server/http/text.h"

namespace packhorse::server {
namespace {

bool has(const std::vector<std::string>& list, std::string_view wanted) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& element) {
    return element == "*" || equal_ignoring_case(element, wanted);
  });
}

std::string join(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& element : list) out += (out.empty() ? "" : ", ") + element;
  return out;
}

}  // namespace

bool Cors::allows_origin(std::string_view origin) const { return !origin.empty() && has(options_.origins, origin); }

Headers Cors::headers(const HttpRequest& request) const {
  const std::string_view origin = request.header("Origin");
  if (!allows_origin(origin)) return {};
  Headers out;
  // A browser that is to send cookies wants to see its origin, not "*".
  if (has(options_.origins, "*") && !options_.allow_credentials) {
    out.emplace_back("Access-Control-Allow-Origin", "*");
  } else {
    out.emplace_back("Access-Control-Allow-Origin", origin);
    out.emplace_back("Vary", "Origin");
  }
  if (options_.allow_credentials) out.emplace_back("Access-Control-Allow-Credentials", "true");
  return out;
}

std::optional<Response> Cors::answer_preflight(const HttpRequest& request) const {
  const std::string_view method = request.header("Access-Control-Request-Method");
  if (options_.origins.empty() || request.method != "OPTIONS" || request.header("Origin").empty() || method.empty()) {
    return std::nullopt;
  }
  const std::string_view asked = request.header("Access-Control-Request-Headers");
  bool is_allowed = allows_origin(request.header("Origin")) && has(options_.methods, method);
  for_each_element(asked, [&](std::string_view name) { is_allowed = is_allowed && has(options_.headers, name); });
  if (!is_allowed) throw HttpError(400, "this origin, method or header is not allowed (--allowed-origins)");
  const bool is_any_method = std::find(options_.methods.begin(), options_.methods.end(), "*") != options_.methods.end();
  Response out{.status = 200, .content_type = "text/plain; charset=utf-8", .body = "OK", .headers = {}};
  out.headers = {{"Access-Control-Allow-Methods",
                  is_any_method ? "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT" : join(options_.methods)},
                 {"Access-Control-Max-Age", "600"}};
  if (!asked.empty()) out.headers.emplace_back("Access-Control-Allow-Headers", asked);
  return out;
}

}  // namespace packhorse::server
