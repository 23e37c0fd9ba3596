#pragma once
// One connection to a server: TCP, with TLS for https, through a proxy where the environment names one.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "engine/hub/url.h"

namespace packhorse::hub {

/// How connections wait: at most `timeout` for the next byte; `tick`, which may throw, is called about ten times a
/// second meanwhile.
struct Waiting {
  std::chrono::milliseconds timeout{10'000};
  std::function<void()> tick;
};

class Connection {
 public:
  /// Connects. The server's certificate must be valid for the host, by the system's authorities or SSL_CERT_FILE. All
  /// members throw NetworkError.
  Connection(const Url& url, const Waiting& waiting);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void write(std::string_view data);
  /// Bytes read, at least one; 0 when the other side closed the connection.
  size_t read_some(std::span<char> buffer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse::hub
