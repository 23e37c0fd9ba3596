#include "app/server/api/errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

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

ErrorAnswer answer(int status, std::string_view message, std::optional<std::string_view> param = {}) {
  return {.status = status, .message = std::string(message), .param = std::optional<std::string>(param), .headers = {}};
}

ErrorAnswer describe(const Error& error) {
  if (error.kind() == ErrorKind::request) return answer(400, error.what(), field_of(error.what()));
  if (error.kind() == ErrorKind::resource) return answer(503, error.what());
  return answer(500, "internal error");
}

}  // namespace

ErrorAnswer describe_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const HttpError& http) {
    return static_cast<const ErrorAnswer&>(http);
  } catch (const Error& known) {
    return describe(known);
  } catch (const std::bad_alloc&) {
    return answer(503, "not enough memory for this request");
  } catch (...) {
    return answer(500, "internal error");
  }
}

Response error_response(ErrorAnswer answer, std::string body) {
  return {.status = answer.status,
          .content_type = std::string(kJsonType),
          .body = std::move(body),
          .headers = std::move(answer.headers)};
}

std::string error_body(const ErrorAnswer& answer) {
  return fmt::format(R"({{"error":{{"message":{},"type":"{}","param":{},"code":{}}}}})",
                     safe_json_string(answer.message), type_of(answer.status),
                     answer.param ? safe_json_string(*answer.param) : "null", answer.status);
}

Response error_response(const std::exception_ptr& error) {
  ErrorAnswer answer = describe_error(error);
  std::string body = error_body(answer);
  return error_response(std::move(answer), std::move(body));
}

void send_error(Reply& reply, const std::exception_ptr& error) { send(reply, error_response(error)); }

std::string error_events(const std::exception_ptr& error) {
  return sse_event(error_body(describe_error(error))).append(kSseDone);
}

}  // namespace packhorse::server
