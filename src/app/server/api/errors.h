#pragma once
// Which status an error is, and OpenAI's error object.

#include <exception>
#include <string>

#include "app/server/http/http.h"
#include "app/server/http/http_error.h"
#include "app/server/http/response.h"

namespace packhorse::server {

/// What any exception is to a client: HttpError as it says, Error{request} 400 (param = the word before the first colon
/// or space where it names a field), Error{resource} 503, all else 500 without details.
ErrorAnswer describe_error(const std::exception_ptr& error);
/// `body` tells `answer` in one notation.
Response error_response(ErrorAnswer answer, std::string body);

// OpenAI's notation.
/// {"error":{"message","type","param","code"}}; type as vLLM's for the status, code = status.
std::string error_body(const ErrorAnswer& answer);
Response error_response(const std::exception_ptr& error);
void send_error(Reply& reply, const std::exception_ptr& error);
/// The last events of an OpenAI stream that fails: the error, then [DONE].
std::string error_events(const std::exception_ptr& error);

}  // namespace packhorse::server
