#include "engine/hub/http_client.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "engine/hub/network_error.h"

namespace packhorse::hub {
namespace {

namespace http = boost::beast::http;
using boost::beast::string_view;
using boost::system::error_code;

constexpr uint32_t kMaxHeaderBytes = 64 << 10;
constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kMaxUnclaimedBody = 1 << 20;  // of redirects and of answers that nobody reads
constexpr int kMaxRedirects = 10;

bool is_followed(const HttpRequest& request, const HttpResponse& response) {
  return response.is_redirect() &&
         (request.redirects == Redirects::all || is_relative_location(response.header("location")));
}

/// Takes an answer apart as it comes.
class Parser : public http::basic_parser<false> {
 public:
  Parser(const HttpRequest& request, HttpResponse& response) : request_(request), response_(response) {
    header_limit(kMaxHeaderBytes);
    body_limit(boost::none);  // whoever takes the body limits it
    eager(true);
    skip(request.method == "HEAD");
  }

 private:
  void on_request_impl(http::verb, string_view, string_view, int, error_code&) override {}
  void on_response_impl(int status, string_view, int, error_code&) override { response_.status = status; }
  void on_field_impl(http::field, string_view name, string_view value, error_code&) override {
    std::string key(name);
    for (char& c : key) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    response_.headers.insert_or_assign(std::move(key), std::string(value));
  }
  void on_header_impl(error_code&) override {
    is_shown_ = response_.status >= 200 && !is_followed(request_, response_);
    if (is_shown_ && request_.on_header) request_.on_header(response_);
  }
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  size_t on_body_impl(string_view data, error_code&) override {
    if (is_shown_ && request_.on_body) {
      request_.on_body(std::as_bytes(std::span(data.data(), data.size())));
    } else if ((n_unclaimed_ += data.size()) > kMaxUnclaimedBody) {
      throw NetworkError("the answer is too long", NetworkError::Hope::none);
    }
    return data.size();
  }
  void on_chunk_header_impl(uint64_t, string_view, error_code&) override {}
  size_t on_chunk_body_impl(uint64_t, string_view data, error_code& error) override {
    return on_body_impl(data, error);
  }
  void on_finish_impl(error_code&) override {}

  const HttpRequest& request_;
  HttpResponse& response_;
  bool is_shown_ = false;
  size_t n_unclaimed_ = 0;
};

/// What the server sent and the parser did not take yet.
class ReadBuffer {
 public:
  explicit ReadBuffer(Connection& connection) : connection_(connection) {}

  /// Gives the parser what there is, else the next bytes. False when the connection ended.
  bool feed(Parser& parser) {
    if (begin_ == end_ || needs_more_) {
      std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
      end_ -= std::exchange(begin_, 0);
      const size_t n = connection_.read_some(std::span(bytes_).subspan(end_));
      if (n == 0) return false;
      end_ += n;
    }
    error_code error;
    begin_ += parser.put(boost::asio::const_buffer(bytes_.data() + begin_, end_ - begin_), error);
    needs_more_ = error == http::error::need_more;
    if (error && !needs_more_) throw NetworkError("not a proper HTTP answer: " + error.message());
    return true;
  }
  bool empty() const { return begin_ == end_; }

 private:
  Connection& connection_;
  std::vector<char> bytes_ = std::vector<char>(kReadBytes);
  size_t begin_ = 0, end_ = 0;
  bool needs_more_ = false;
};

std::string header_text(const HttpRequest& request, const Url& url) {
  std::string text =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: packhorse/{}\r\nAccept-Encoding: identity\r\n",
                  request.method, url.target, url.authority(), version());
  if (!request.authorization.empty() && url.same_origin(request.url)) {
    text += fmt::format("Authorization: {}\r\n", request.authorization);
  }
  for (const auto& [name, value] : request.headers) text += fmt::format("{}: {}\r\n", name, value);
  return text + "\r\n";
}

}  // namespace

std::string_view HttpResponse::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : found->second;
}

std::optional<uint64_t> HttpResponse::number(std::string_view name) const {
  const std::string_view text = header(name);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool HttpResponse::is_redirect() const { return (status >= 301 && status <= 303) || status == 307 || status == 308; }

HttpResponse HttpClient::exchange(const HttpRequest& request, const Url& url) {
  HttpResponse response;
  response.url = url;
  connection_->write(header_text(request, url));
  ReadBuffer buffer(*connection_);
  for (;;) {
    Parser parser(request, response);
    while (!parser.is_done()) {
      if (buffer.feed(parser)) continue;
      error_code error;
      if (parser.got_some()) parser.put_eof(error);
      if (error || !parser.is_done()) throw NetworkError("the connection ended early");
    }
    if (response.status >= 200) {
      if (!parser.keep_alive() || !buffer.empty()) connection_.reset();
      return response;
    }
    response.headers.clear();  // an interim answer such as 103; the real one follows
  }
}

HttpResponse HttpClient::send_once(const HttpRequest& request, const Url& url) {
  const bool reused = connection_ && server_.same_origin(url);
  bool any_answer = false;
  HttpRequest watched = request;
  watched.on_header = [&](const HttpResponse& response) {
    any_answer = true;
    if (request.on_header) request.on_header(response);
  };
  for (bool again = reused;; again = false) {
    try {
      if (!connection_ || !server_.same_origin(url)) {
        connection_ = std::make_unique<Connection>(url, waiting_);
        server_ = url;
      }
      return exchange(watched, url);
    } catch (const NetworkError&) {
      connection_.reset();
      if (!again || any_answer) throw;  // a server may close a connection that waits for its next request
    } catch (...) {
      connection_.reset();
      throw;
    }
  }
}

HttpResponse HttpClient::send(const HttpRequest& request) {
  Url url = request.url;
  for (int n_redirects = 0;; ++n_redirects) {
    HttpResponse response = send_once(request, url);
    if (!is_followed(request, response)) return response;
    const std::string_view location = response.header("location");
    const std::optional<Url> next = follow_location(url, location);
    if (!next || (url.is_https && !next->is_https)) {
      throw NetworkError(fmt::format("{} redirects to '{}', which is not followed", url.origin(), printable(location)),
                         NetworkError::Hope::none);
    }
    if (n_redirects == kMaxRedirects) throw NetworkError("too many redirects", NetworkError::Hope::none);
    url = *next;
  }
}

}  // namespace packhorse::hub
