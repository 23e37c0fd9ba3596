#pragma once
// What handlers see of HTTP: a request that is complete, and a reply that may be written from any thread.

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace packhorse::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string id;             // the client's X-Request-Id where it is short and printable, else a random one
  std::string method;         // "GET"
  std::string path;           // percent-decoded, without query and root path
  std::string query;          // after '?', as it came
  bool is_bare_root = false;  // the root path without a '/' behind it, where relative links would lead elsewhere
  Headers headers;
  std::string body;                          // until the handler returns
  std::string client;                        // address of the peer
  std::string route;                         // path of the routes for this path, as they were added; empty without
  bool has_route = false;                    // one of these is for the method
  std::vector<std::string> path_parameters;  // what the {} of the route matched

  /// Value of the first header of that name, in any case; empty without.
  std::string_view header(std::string_view name) const;
};
using HttpRequestPtr = std::shared_ptr<const HttpRequest>;

/// The answer to one request: either `send`, or `start_stream`, any number of `write`, and `end`. Functions may be
/// called from any thread, in that order, and return at once; once the client has gone they do nothing. A reply whose
/// last owner drops it unanswered becomes status 500; a stream dropped before its end is cut off.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void send(int status, std::string_view content_type, std::string body, Headers headers = {}) = 0;
  /// Status 200 and the headers of a stream of server-sent events.
  virtual void start_stream(Headers headers = {}) = 0;
  /// Whole events. While none is written for the keep-alive interval, the connection sends comments.
  virtual void write(std::string events) = 0;
  virtual void end() = 0;
  /// `gone` is called at most once, on an I/O thread: when the client leaves, or has stopped reading for too long,
  /// before the answer is complete. Called at once when that has happened already.
  virtual void on_gone(std::function<void()> gone) = 0;
};
using ReplyPtr = std::shared_ptr<Reply>;

struct Response;  // response.h
/// What a client is told of an exception, in the API's notation.
using ErrorFormat = Response (*)(const std::exception_ptr&);

inline constexpr std::string_view kJsonType = "application/json";
/// The answer in JSON, with status 200.
void reply_json(Reply& reply, std::string json);

/// May answer later and from elsewhere. What it throws is answered in the route's ErrorFormat.
using Handler = std::function<void(const HttpRequestPtr&, const ReplyPtr&)>;

struct Route {
  std::string method;
  std::string path;  // segments as "{id}" match one segment, a last one as "{id...}" all that follow
  Handler handler;
  ErrorFormat error_format = nullptr;  // of its handler's errors and of those before it runs; none = the server's
  bool is_open = false;                // needs no API key
  bool is_quick = false;               // runs on the I/O thread; others on a worker
  bool is_closing_ok = false;          // answered while the server drains; others get 503
};

}  // namespace packhorse::server
