#pragma once
// OpenAI's error object, and which status an error is.

#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include "app/server/http/http.h"

namespace packhorse::server {

/// An answer with an error status, where Error{request} (400) does not say enough.
class HttpError : public std::exception {
 public:
  HttpError(int status, std::string message, std::optional<std::string> param = {}, Headers headers = {});
  const char* what() const noexcept override { return message.c_str(); }

  int status;
  std::string message;
  std::optional<std::string> param;  // the field of the body that is wrong
  Headers headers;
};

/// {"error":{"message","type","param","code"}}; type as vLLM's for the status, code = status.
std::string error_body(int status, std::string_view message, std::optional<std::string_view> param = {});

struct ErrorAnswer {
  int status = 500;
  std::string body;
  Headers headers;
};
/// Status and body for any exception: HttpError as it says, Error{request} 400 (param = the word before the first colon
/// or space where it names a field), Error{resource} 503, all else 500 without details.
ErrorAnswer describe_error(const std::exception_ptr& error);
void send_error(Reply& reply, const std::exception_ptr& error);
/// The last events of an OpenAI stream that fails: the error, then [DONE].
std::string error_events(const std::exception_ptr& error);

}  // namespace packhorse::server
