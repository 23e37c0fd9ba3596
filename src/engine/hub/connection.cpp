#include "engine/hub/connection.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.h"
#include "engine/hub/network_error.h"

namespace packhorse::hub {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxProxyAnswer = 16 << 10;
constexpr std::chrono::milliseconds kTick{100};

/// The authorities that the system trusts. OpenSSL knows the place of the system that it was built for alone.
void load_authorities(asio::ssl::context& context) {
  error_code ignored;
  context.set_default_verify_paths(ignored);
  if (std::getenv("SSL_CERT_FILE")) return;
  for (const char* bundle : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                             "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}) {
    std::error_code error;
    if (std::filesystem::exists(bundle, error)) {
      context.load_verify_file(bundle, ignored);
      return;
    }
  }
}

asio::ssl::context make_context() {
  asio::ssl::context context(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  context.set_verify_mode(asio::ssl::verify_peer);
  load_authorities(context);
  return context;
}

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(n));
  return out;
}

}  // namespace

struct Connection::Impl {
  explicit Impl(const Waiting& how) : waiting(how), resolver(io), socket(io) {}

  Waiting waiting;
  asio::io_context io;
  Tcp::resolver resolver;
  Tcp::socket socket;
  std::optional<asio::ssl::context> context;
  std::optional<asio::ssl::stream<Tcp::socket&>> tls;

  /// Starts an operation, start(handler of (error, result...)), and waits for its end.
  template <class Start>
  error_code await(Start&& start) {
    std::optional<error_code> result;
    start([&result](const error_code& error, auto&&...) { result = error; });
    const auto deadline = Clock::now() + waiting.timeout;
    try {
      while (!result) {
        io.restart();
        io.run_for(kTick);
        if (result) break;
        if (waiting.tick) waiting.tick();
        if (Clock::now() > deadline) throw NetworkError("no answer in time");
      }
    } catch (...) {  // the operation refers to what is about to go
      error_code ignored;
      resolver.cancel();
      socket.close(ignored);
      io.restart();
      io.run();
      throw;
    }
    return *result;
  }

  void connect(const std::string& host, uint16_t port) {
    Tcp::resolver::results_type addresses;
    const auto resolve = [&](auto handler) {
      resolver.async_resolve(host, std::to_string(port),
                             [&addresses, handler](const error_code& error, Tcp::resolver::results_type found) {
                               addresses = std::move(found);
                               handler(error);
                             });
    };
    if (const error_code error = await(resolve)) {
      throw NetworkError(fmt::format("cannot find the host '{}': {}", printable(host), error.message()));
    }
    if (const error_code error = await([&](auto handler) { asio::async_connect(socket, addresses, handler); })) {
      throw NetworkError(fmt::format("cannot connect to {}:{}: {}", printable(host), port, error.message()));
    }
    error_code ignored;
    socket.set_option(Tcp::no_delay(true), ignored);
  }

  void open_tunnel(const Proxy& proxy, const Url& url) {
    const std::string name = url.host.find(':') == url.host.npos ? url.host : "[" + url.host + "]";
    std::string request = fmt::format("CONNECT {0}:{1} HTTP/1.1\r\nHost: {0}:{1}\r\n", name, url.port);
    if (!proxy.credentials.empty()) {
      request += fmt::format("Proxy-Authorization: Basic {}\r\n", base64(proxy.credentials));
    }
    write(request + "\r\n");
    std::string answer;
    std::array<char, 1024> buffer;
    while (answer.find("\r\n\r\n") == answer.npos) {
      const size_t n = read_some(buffer);
      answer.append(buffer.data(), n);
      if (n == 0 || answer.size() > kMaxProxyAnswer) throw NetworkError("the proxy gives no proper answer");
    }
    const std::string status = answer.substr(0, answer.find("\r\n"));
    const bool ok = status.starts_with("HTTP/1.") && status.substr(8, 2) == " 2";
    if (!ok) {
      throw NetworkError(
          fmt::format("the proxy {}:{} refuses: {}", printable(proxy.host), proxy.port, printable(status)),
          NetworkError::Hope::none);
    }
  }

  void start_tls(const std::string& host) {
    tls.emplace(socket, context.emplace(make_context()));
    error_code ignored;
    asio::ip::make_address(host, ignored);
    if (ignored) SSL_set_tlsext_host_name(tls->native_handle(), host.c_str());  // names only, not addresses
    tls->set_verify_callback(asio::ssl::host_name_verification(host));
    const auto handshake = [&](auto handler) { tls->async_handshake(asio::ssl::stream_base::client, handler); };
    if (const error_code error = await(handshake)) {
      const long verdict = SSL_get_verify_result(tls->native_handle());
      if (verdict == X509_V_OK && error.category() != asio::error::get_ssl_category()) {
        throw NetworkError(fmt::format("cannot start TLS: {}", error.message()));
      }
      const std::string why = verdict == X509_V_OK ? error.message() : X509_verify_cert_error_string(verdict);
      throw NetworkError(fmt::format("cannot start TLS: {} (SSL_CERT_FILE names the authorities to trust)", why),
                         NetworkError::Hope::none);
    }
  }

  void write(std::string_view data) {
    const auto start = [&](auto handler) {
      if (tls) {
        asio::async_write(*tls, asio::buffer(data), handler);
      } else {
        asio::async_write(socket, asio::buffer(data), handler);
      }
    };
    if (const error_code error = await(start)) throw NetworkError("cannot send: " + error.message());
  }

  size_t read_some(std::span<char> buffer) {
    size_t n_bytes = 0;
    const auto start = [&](auto handler) {
      const auto finish = [&n_bytes, handler](const error_code& error, size_t n) {
        n_bytes = n;
        handler(error);
      };
      const auto space = asio::buffer(buffer.data(), buffer.size());
      if (tls) {
        tls->async_read_some(space, finish);
      } else {
        socket.async_read_some(space, finish);
      }
    };
    const error_code error = await(start);
    if (error == asio::error::eof) return 0;
    if (error) throw NetworkError("the connection broke: " + error.message());
    return n_bytes;
  }
};

Connection::Connection(const Url& url, const Waiting& waiting) : impl_(std::make_unique<Impl>(waiting)) {
  if (const std::optional<Proxy> proxy = proxy_for(url)) {
    impl_->connect(proxy->host, proxy->port);
    impl_->open_tunnel(*proxy, url);
  } else {
    impl_->connect(url.host, url.port);
  }
  if (url.is_https) impl_->start_tls(url.host);
}
Connection::~Connection() = default;

void Connection::write(std::string_view data) { impl_->write(data); }
size_t Connection::read_some(std::span<char> buffer) { return impl_->read_some(buffer); }

}  // namespace packhorse::hub
