#pragma once
// Which requests no handler sees.

#include <optional>

#include "app/server/http/http_error.h"
#include "app/server/http/request_parser.h"
#include "app/server/http/response.h"
#include "app/server/http/service.h"

namespace packhorse::server {

/// The answer that the head of a request alone asks for, where no handler is to give it. Throws HttpError for a
/// stranger, a path or method that is not there, while the server drains, and for a body that would not be taken.
std::optional<Response> answer_early(const Service& service, const HttpRequest& request, const RequestHead& head,
                                     const Match& match);

/// Throws 413 for a body that is too large for the route.
void require_body_size(const Service& service, const Route& route, uint64_t n_bytes);

/// 503 while the bodies of other requests take what there is for them.
HttpError no_room_for_body();

}  // namespace packhorse::server
