#include "app/server/http/http.h"

#include "app/server/http/text.h"

namespace packhorse::server {

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [field, value] : headers) {
    if (equal_ignoring_case(field, name)) return value;
  }
  return {};
}

void reply_json(Reply& reply, std::string json) { reply.send(200, kJsonType, std::move(json)); }

}  // namespace packhorse::server
