#pragma once
// One HTTP request: its head, and its body as the head says.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "app/server/http/http.h"

namespace packhorse::server {

struct RequestHead {
  std::string method, target;
  bool is_http_10 = false;
  bool is_keep_alive = true;
  bool expects_continue = false;
  bool has_body = false;
  std::optional<uint64_t> n_body_bytes;  // where the head says it
  Headers headers;
};

class RequestParser {
 public:
  explicit RequestParser(int64_t max_body_bytes);
  ~RequestParser();

  /// `head` is complete (head_scanner.h). Throws HttpError: 431 for too many headers, 417 for expectations, else 400.
  RequestHead parse_head(std::string_view head);

  /// Moves what it can from the front of `input` to `body`; true when the body is complete. Throws HttpError 400, 413.
  bool parse_body(std::string& input, std::string& body);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse::server
