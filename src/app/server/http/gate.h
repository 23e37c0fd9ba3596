#pragma once
// Which requests no handler sees.

#include <optional>

#include "app/server/http/request_parser.h"
#include "app/server/http/response.h"
#include "app/server/http/service.h"

namespace packhorse::server {

/// The answer that the head of a request alone asks for: to a browser's preflight, a stranger, a path or method that is
/// not there, while the server drains, or to a body that would not be taken. Nothing where a handler is to answer.
std::optional<Response> answer_early(const Service& service, const HttpRequest& request, const RequestHead& head,
                                     const Match& match);

/// 503 while the bodies of other requests take what there is for them.
Response no_room_for_body();

}  // namespace packhorse::server
