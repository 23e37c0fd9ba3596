#pragma once
// The HTTP/1.1 server: one thread for all sockets, a few workers for handlers.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/server/http/http.h"

namespace packhorse::server {

/// Limits against slow, large and many clients; each is a flag of `packhorse serve`.
struct HttpLimits {
  int64_t max_connections = 4096;
  int64_t max_body_bytes = int64_t{32} << 20;
  int64_t max_bodies_bytes = int64_t{256} << 20;  // of all requests together, but for small ones
  int64_t max_header_bytes = int64_t{64} << 10;
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds send_timeout{30'000};
  std::chrono::milliseconds idle_timeout{75'000};
  int64_t max_send_buffer_bytes = int64_t{4} << 20;  // of one connection; a client that reads slower is gone

  bool operator==(const HttpLimits&) const = default;
};

struct CorsOptions {  // off while `origins` is empty
  std::vector<std::string> origins, methods, headers;
  bool allow_credentials = false;

  bool operator==(const CorsOptions&) const = default;
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8000;                    // 0 = any free one
  std::string uds;                    // path of a Unix socket, instead of host and port
  std::string ssl_certfile;           // PEM file: TLS
  std::string ssl_keyfile;            // likewise; empty = the key stands in ssl_certfile
  std::string ssl_keyfile_password;   // empty = the key is not encrypted
  std::string ssl_ca_certs;           // PEM file of those who may have signed clients' certificates
  std::string ssl_ciphers;            // of TLS 1.2, as OpenSSL names them; empty = its own choice
  int ssl_cert_reqs = 0;              // Python's ssl.CERT_*: 2 asks clients for certificates
  std::string root_path;              // prefix that a proxy leaves on paths
  std::vector<std::string> api_keys;  // none = open
  CorsOptions cors;
  HttpLimits limits;
  std::chrono::milliseconds sse_keep_alive{15'000};  // 0 = no comments
  int n_workers = 2;
  bool request_id_headers = false;  // X-Request-Id on every answer

  bool operator==(const HttpOptions&) const = default;
};

/// What the access log and the metrics learn of each answered request.
struct AccessRecord {
  HttpRequestPtr request;
  int status = 0;  // 499 when the client left first
  int64_t n_bytes_sent = 0;
  double seconds = 0;
};

class HttpServer {
 public:
  /// Binds, and reads certificates; nobody is listened to yet. Throws Error{io} "cannot bind HOST:PORT: reason" and
  /// Error{usage} for certificates. `error_format` is for routes without one and for requests without a route.
  HttpServer(HttpOptions options, ErrorFormat error_format);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Port bound to; 0 for a Unix socket. What a user would open: "http://127.0.0.1:8000".
  int port() const;
  std::string url() const;

  void add_route(Route route);
  /// Called on the I/O thread after each answer; set before `start`.
  void on_access(std::function<void(const AccessRecord&)> log);

  /// Listens and serves, on threads of its own.
  void start();
  /// From now on routes that are not `is_closing_ok` answer 503 with Retry-After. Returns at once.
  void begin_drain();
  /// Requests whose heads are accepted and whose answers are not sent. Once this is 0 after `begin_drain`, no handler
  /// begins but those of `is_closing_ok` routes.
  int64_t num_active() const;
  int64_t num_connections() const;
  /// What bodies take that are being received or parsed, but for small ones.
  int64_t num_body_bytes() const;
  /// What whole answers take that are not sent yet, but for small ones.
  int64_t num_unread_bytes() const;
  /// Closes everything and joins the threads.
  void stop();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace packhorse::server
