#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstring>

#include "app/server/http/asio_stream.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Tcp = asio::ip::tcp;
using Local = asio::local::stream_protocol;

void check(const error_code& error, const HttpOptions& options) {
  if (error) throw Error(ErrorKind::io, "cannot bind " + address_name(options) + ": " + error.message());
}

/// An address of the host, IPv4 where a name has both.
Tcp::endpoint resolve(asio::io_context& io, const HttpOptions& options) {
  error_code error;
  const auto found = Tcp::resolver(io).resolve(options.host.empty() ? "0.0.0.0" : options.host,
                                               std::to_string(options.port), Tcp::resolver::passive, error);
  check(error, options);
  for (const auto& entry : found) {
    if (entry.endpoint().address().is_v4()) return entry.endpoint();
  }
  if (found.empty()) check(asio::error::host_not_found, options);
  return found.begin()->endpoint();
}

/// Removes the socket file of a server that is no more. A file of another kind stays, and makes `bind` fail.
void remove_stale_socket(asio::io_context& io, const HttpOptions& options) {
  struct stat info {};
  if (::lstat(options.uds.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  error_code error;
  Local::socket(io).connect(Local::endpoint(options.uds), error);
  if (error == asio::error::connection_refused) ::unlink(options.uds.c_str());
}

Acceptor bind_unix(asio::io_context& io, const HttpOptions& options) {
  if (options.uds.size() >= sizeof(sockaddr_un::sun_path)) check(asio::error::name_too_long, options);
  remove_stale_socket(io, options);
  Acceptor acceptor(io);
  error_code error;
  acceptor.open(Local(), error);
  if (!error) acceptor.bind(Local::endpoint(options.uds), error);
  check(error, options);
  return acceptor;
}

Acceptor bind_tcp(asio::io_context& io, const HttpOptions& options) {
  const Tcp::endpoint endpoint = resolve(io, options);
  Acceptor acceptor(io);
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  check(error, options);
  return acceptor;
}

/// Unspecified for a Unix socket.
Tcp::endpoint to_tcp(const asio::generic::stream_protocol::endpoint& endpoint) {
  Tcp::endpoint out;
  const int family = endpoint.protocol().family();
  if ((family != AF_INET && family != AF_INET6) || endpoint.size() > out.capacity()) return out;
  std::memcpy(out.data(), endpoint.data(), endpoint.size());
  return out;
}

}  // namespace

Acceptor bind_acceptor(asio::io_context& io, const HttpOptions& options) {
  return options.uds.empty() ? bind_tcp(io, options) : bind_unix(io, options);
}

int bound_port(const Acceptor& acceptor) {
  error_code error;
  return to_tcp(acceptor.local_endpoint(error)).port();
}

std::string address_name(const HttpOptions& options) {
  if (!options.uds.empty()) return printable(options.uds, 200);
  const bool is_v6 = options.host.find(':') != std::string::npos;
  return (is_v6 ? "[" + printable(options.host) + "]" : printable(options.host)) + ":" + std::to_string(options.port);
}

std::string peer_name(const Socket& socket) {
  error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error || endpoint.protocol().family() == AF_UNIX) return {};
  return to_tcp(endpoint).address().to_string();
}

}  // namespace packhorse::server
