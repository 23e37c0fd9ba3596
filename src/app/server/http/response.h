#pragma once
// The bytes of answers.

#include <string>
#include <string_view>

#include "app/server/http/http.h"

namespace packhorse::server {

struct Response {
  int status = 200;
  std::string content_type;
  std::string body;
  Headers headers;
};

/// Status line and headers, with the empty line. Line ends and other control characters in values become spaces.
std::string response_head(int status, const Headers& headers);

/// `data` as one chunk of a chunked body.
void append_chunk(std::string& out, std::string_view data);
constexpr std::string_view kLastChunk = "0\r\n\r\n";

void send(Reply& reply, Response response);

}  // namespace packhorse::server
