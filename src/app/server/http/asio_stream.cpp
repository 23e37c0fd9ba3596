#include "app/server/http/asio_stream.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>

namespace packhorse::server {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

int64_t unacknowledged_bytes(Socket& socket) {
  int n = 0;
  return ::ioctl(socket.native_handle(), SIOCOUTQ, &n) == 0 ? n : 0;
}

class PlainStream final : public Stream {
 public:
  PlainStream(Socket socket, std::vector<char>& scratch) : socket_(std::move(socket)), scratch_(scratch) {
    error_code ignored;
    socket_.non_blocking(true, ignored);
  }

  void handshake(std::function<void(std::error_code)> done) override {
    asio::post(socket_.get_executor(), [done = std::move(done)] { done({}); });
  }
  /// Waits first, so that idle connections hold no buffer.
  void receive(Received received) override {
    socket_.async_wait(Socket::wait_read, [this, received = std::move(received)](error_code error) mutable {
      size_t n = 0;
      if (!error) n = socket_.read_some(asio::buffer(scratch_), error);
      if (error == asio::error::would_block || error == asio::error::try_again) return receive(std::move(received));
      received(error, {scratch_.data(), n});
    });
  }
  void send(std::string_view data, Sent sent) override {
    socket_.async_write_some(asio::buffer(data), std::move(sent));
  }
  void end_sending(std::function<void()> done) override {
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    done();
  }
  void close() override {
    error_code ignored;
    socket_.close(ignored);
  }
  int64_t num_unacknowledged() override { return unacknowledged_bytes(socket_); }

 private:
  Socket socket_;
  std::vector<char>& scratch_;
};

class TlsStream final : public Stream {
 public:
  TlsStream(Socket socket, asio::ssl::context& context) : stream_(std::move(socket), context) {}

  void handshake(std::function<void(std::error_code)> done) override {
    stream_.async_handshake(asio::ssl::stream_base::server, std::move(done));
  }
  void receive(Received received) override {
    stream_.async_read_some(asio::buffer(buffer_), [this, received = std::move(received)](error_code error, size_t n) {
      received(error, {buffer_.data(), n});
    });
  }
  void send(std::string_view data, Sent sent) override {
    stream_.async_write_some(asio::buffer(data), std::move(sent));
  }
  /// Says so within TLS; ends when the peer does too, or at `close`.
  void end_sending(std::function<void()> done) override {
    stream_.async_shutdown([done = std::move(done)](error_code) { done(); });
  }
  void close() override {
    error_code ignored;
    stream_.next_layer().close(ignored);
  }
  int64_t num_unacknowledged() override { return unacknowledged_bytes(stream_.next_layer()); }

 private:
  asio::ssl::stream<Socket> stream_;
  std::array<char, 16 << 10> buffer_;
};

}  // namespace

std::unique_ptr<Stream> make_plain_stream(Socket socket, std::vector<char>& scratch) {
  return std::make_unique<PlainStream>(std::move(socket), scratch);
}
std::unique_ptr<Stream> make_tls_stream(Socket socket, asio::ssl::context& context) {
  return std::make_unique<TlsStream>(std::move(socket), context);
}

}  // namespace packhorse::server
