#pragma once
// An answer with an error status, in no notation yet.

#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "app/server/http/http.h"

namespace packhorse::server {

struct ErrorAnswer {
  int status = 500;
  std::string message;
  std::optional<std::string> param;  // the field of the body that is wrong
  Headers headers;
};

/// Where Error{request} (400) does not say enough.
class HttpError : public std::exception, public ErrorAnswer {
 public:
  HttpError(int error_status, std::string text, std::optional<std::string> field = {}, Headers extra_headers = {})
      : ErrorAnswer{error_status, std::move(text), std::move(field), std::move(extra_headers)} {}
  const char* what() const noexcept override { return message.c_str(); }
};

}  // namespace packhorse::server
