#pragma once
// HTTP/1.1 as far as downloads need it: one request at a time, the connection kept for the next one to the same server.

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/hub/connection.h"

namespace packhorse::hub {

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case; of equal ones the last
  Url url;                                                  // that answered, after redirects

  /// Empty when there is no such header.
  std::string_view header(std::string_view name) const;
  /// Value of a header that holds a number; nothing otherwise.
  std::optional<uint64_t> number(std::string_view name) const;
  bool is_redirect() const;
};

enum class Redirects : uint8_t {
  relative,  // only those within the server; others are the answer
  all
};

struct HttpRequest {
  std::string_view method = "GET";
  Url url;
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string authorization{};  // sent to the origin of `url` alone, wherever redirects lead
  Redirects redirects = Redirects::all;
  /// What becomes of the answer; redirects that are followed are not shown. May throw, which drops the connection.
  std::function<void(const HttpResponse&)> on_header{};
  std::function<void(std::span<const std::byte>)> on_body{};
};

class HttpClient {
 public:
  explicit HttpClient(Waiting waiting) : waiting_(std::move(waiting)) {}

  /// Returns once the body was received whole. Throws NetworkError.
  HttpResponse send(const HttpRequest& request);

 private:
  HttpResponse send_once(const HttpRequest& request, const Url& url);
  HttpResponse exchange(const HttpRequest& request, const Url& url);

  Waiting waiting_;
  std::unique_ptr<Connection> connection_;  // to `server_`, ready for a request
  Url server_;
};

}  // namespace packhorse::hub
