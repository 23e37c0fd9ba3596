#include "load/model_name.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "load/response_reader.h"

namespace packhorse::load {

std::string model_name(const Options& options) {
  namespace asio = boost::asio;
  asio::io_context io;
  asio::ip::tcp::socket socket(io);
  asio::connect(socket, asio::ip::tcp::resolver(io).resolve(options.host, options.port));
  const std::string key = options.api_key.empty() ? "" : fmt::format("Authorization: Bearer {}\r\n", options.api_key);
  asio::write(socket, asio::buffer(fmt::format("GET /v1/models HTTP/1.1\r\nHost: {}:{}\r\n{}Connection: close\r\n\r\n",
                                               options.host, options.port, key)));
  ResponseReader reader;
  std::string body;
  std::array<char, 4096> buffer{};
  while (!reader.is_done()) {
    boost::system::error_code error;
    const size_t n = socket.read_some(asio::buffer(buffer), error);
    if (error ? !reader.end_by_close() : !reader.feed({buffer.data(), n}, body)) {
      throw std::runtime_error("/v1/models: no answer of HTTP/1.1");
    }
  }
  if (reader.status() != 200) throw std::runtime_error(fmt::format("/v1/models: HTTP {}", reader.status()));
  return nlohmann::json::parse(body).at("data").at(0).at("id").get<std::string>();
}

}  // namespace packhorse::load
