#include "app/server/api/errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "app/server/api/json_text.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {
namespace {

std::string_view type_of(int status) {
  switch (status) {
    case 400:
      return "BadRequestError";
    case 401:
      return "AuthenticationError";
    case 403:
      return "PermissionDeniedError";
    case 404:
      return "NotFoundError";
    case 405:
      return "MethodNotAllowedError";
    case 408:
      return "RequestTimeoutError";
    case 413:
      return "RequestEntityTooLargeError";
    case 415:
      return "UnsupportedMediaTypeError";
    case 429:
      return "RateLimitError";
    case 501:
      return "NotImplementedError";
    case 503:
      return "ServiceUnavailableError";
    default:
      return status >= 500 ? "InternalServerError" : "BadRequestError";
  }
}

/// The field that a message of the engine is about: its messages begin with the parameter's name.
std::optional<std::string_view> field_of(std::string_view message) {
  constexpr std::array<std::string_view, 25> kFields = {"n",
                                                        "presence_penalty",
                                                        "frequency_penalty",
                                                        "repetition_penalty",
                                                        "temperature",
                                                        "top_p",
                                                        "top_k",
                                                        "min_p",
                                                        "seed",
                                                        "stop",
                                                        "stop_token_ids",
                                                        "ignore_eos",
                                                        "max_tokens",
                                                        "min_tokens",
                                                        "logprobs",
                                                        "prompt_logprobs",
                                                        "logit_bias",
                                                        "allowed_token_ids",
                                                        "bad_words",
                                                        "structured_outputs",
                                                        "prompt",
                                                        "messages",
                                                        "tools",
                                                        "chat_template",
                                                        "dimensions"};
  std::string_view word = message.substr(0, message.find_first_of(": ="));
  if (word == "prompt_token_ids") word = "prompt";  // that is how requests call them
  if (std::find(kFields.begin(), kFields.end(), word) == kFields.end()) return std::nullopt;
  return word;
}

ErrorAnswer answer(int status, std::string_view message, std::optional<std::string_view> param = {},
                   Headers headers = {}) {
  return {status, error_body(status, message, param), std::move(headers)};
}

ErrorAnswer describe(const Error& error) {
  if (error.kind() == ErrorKind::request) return answer(400, error.what(), field_of(error.what()));
  if (error.kind() == ErrorKind::resource) return answer(503, error.what());
  return answer(500, "internal error");
}

}  // namespace

HttpError::HttpError(int status_code, std::string text, std::optional<std::string> field, Headers extra_headers)
    : status(status_code), message(std::move(text)), param(std::move(field)), headers(std::move(extra_headers)) {}

std::string error_body(int status, std::string_view message, std::optional<std::string_view> param) {
  return fmt::format(R"({{"error":{{"message":{},"type":"{}","param":{},"code":{}}}}})", safe_json_string(message),
                     type_of(status), param ? safe_json_string(*param) : "null", status);
}

ErrorAnswer describe_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const HttpError& http) {
    return answer(http.status, http.message, http.param, http.headers);
  } catch (const Error& known) {
    return describe(known);
  } catch (const std::bad_alloc&) {
    return answer(503, "not enough memory for this request");
  } catch (...) {
    return answer(500, "internal error");
  }
}

void send_error(Reply& reply, const std::exception_ptr& error) {
  ErrorAnswer described = describe_error(error);
  reply.send(described.status, "application/json", std::move(described.body), std::move(described.headers));
}

std::string error_events(const std::exception_ptr& error) {
  return sse_event(describe_error(error).body).append(kSseDone);
}

}  // namespace packhorse::server
