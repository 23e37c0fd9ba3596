#pragma once
// Which pages of other origins a browser may let use this server: none, unless configured.

#include <optional>

#include "app/server/http/http.h"
#include "app/server/http/http_server.h"
#include "app/server/http/response.h"

namespace packhorse::server {

class Cors {
 public:
  explicit Cors(CorsOptions options) : options_(std::move(options)) {}

  /// Headers for any answer to `request`.
  Headers headers(const HttpRequest& request) const;
  /// The answer to a browser that asks whether it may send a request; nothing where `request` is something else. Throws
  /// HttpError 400 where it may not.
  std::optional<Response> answer_preflight(const HttpRequest& request) const;

 private:
  bool allows_origin(std::string_view origin) const;

  CorsOptions options_;
};

}  // namespace packhorse::server
