#pragma once
// The bytes of one connection, plain or through TLS. All calls and callbacks are on the I/O thread.

#include <cstdint>
#include <functional>
#include <string_view>
#include <system_error>

namespace packhorse::server {

class Stream {
 public:
  using Received = std::function<void(std::error_code, std::string_view)>;
  using Sent = std::function<void(std::error_code, size_t)>;

  virtual ~Stream() = default;
  /// To be called first; the other calls wait for its end.
  virtual void handshake(std::function<void(std::error_code)> done) = 0;
  /// The next bytes, valid during the callback. One receive and one send may be under way.
  virtual void receive(Received received) = 0;
  /// Sends a part of `data`, which has to live until then.
  virtual void send(std::string_view data, Sent sent) = 0;
  /// Nothing more will be sent; still receives. `done` may be called much later.
  virtual void end_sending(std::function<void()> done) = 0;
  /// What is under way ends with an error.
  virtual void close() = 0;
  /// Bytes that the peer's machine has not taken yet.
  virtual int64_t num_unacknowledged() = 0;
};

}  // namespace packhorse::server
