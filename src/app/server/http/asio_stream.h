#pragma once
// Streams over Asio's sockets, and the sockets that wait for clients.

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "app/server/http/http_server.h"
#include "app/server/http/stream.h"

namespace packhorse::server {

using Socket = boost::asio::generic::stream_protocol::socket;
using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol>;

/// `scratch` receives bytes, of any stream of the I/O thread.
std::unique_ptr<Stream> make_plain_stream(Socket socket, std::vector<char>& scratch);
std::unique_ptr<Stream> make_tls_stream(Socket socket, boost::asio::ssl::context& context);

/// Reads the certificates; null without any. Throws Error{usage}.
std::unique_ptr<boost::asio::ssl::context> make_tls_context(const HttpOptions& options);

/// Bound, not listening. Throws Error{io} "cannot bind WHERE: reason".
Acceptor bind_acceptor(boost::asio::io_context& io, const HttpOptions& options);
/// Port that `acceptor` is bound to; 0 for a Unix socket.
int bound_port(const Acceptor& acceptor);
/// What error messages call the address: HOST:PORT or the path.
std::string address_name(const HttpOptions& options);
/// Address of the peer; empty for a Unix socket.
std::string peer_name(const Socket& socket);

}  // namespace packhorse::server
