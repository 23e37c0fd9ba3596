#include "app/server/http/request_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <limits>

#include "app/server/http/head_scanner.h"
#include "app/server/http/http_error.h"
#include "app/server/http/text.h"

namespace packhorse::server {
namespace {

namespace http = boost::beast::http;
using boost::beast::string_view;
using boost::system::error_code;

constexpr size_t kMaxHeaders = 256;
constexpr size_t kMaxFraming = 8 << 10;  // bytes of one chunk header, and of the trailers
constexpr size_t kShortestChunkedEnd = 5;

[[noreturn]] void refuse(error_code error, int64_t max_body_bytes) {
  if (error == http::error::body_limit) {
    throw HttpError(413, "the body is larger than " + std::to_string(max_body_bytes) + " bytes (--max-body-mb)");
  }
  throw HttpError(400, "malformed HTTP request: " + error.message());
}

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

/// Beast splits the head and undoes the chunks. What it would let through though others read it differently (a length
/// that is said twice, codings other than chunked, trailers as headers) is refused or dropped here.
class RequestParser::Impl final : public http::basic_parser<true> {
 public:
  RequestHead head;
  std::string* body = nullptr;
  int64_t max_body_bytes = 0;

  /// What one header means for the connection; all others wait for the handlers.
  void check_field(std::string_view name, std::string_view value) {
    if (equal_ignoring_case(name, "Content-Length")) {
      if (++n_lengths_ > 1 || !is_number(value)) throw HttpError(400, "Content-Length is not one number");
    } else if (equal_ignoring_case(name, "Transfer-Encoding")) {
      if (++n_codings_ > 1 || head.is_http_10 || !equal_ignoring_case(value, "chunked")) {
        throw HttpError(400, "Transfer-Encoding is not just \"chunked\"");
      }
    } else if (equal_ignoring_case(name, "Host")) {
      if (++n_hosts_ > 1) throw HttpError(400, "there is more than one Host");
    } else if (equal_ignoring_case(name, "Expect")) {
      if (!equal_ignoring_case(value, "100-continue")) throw HttpError(417, "Expect can only be 100-continue");
      head.expects_continue = !head.is_http_10;
    } else if (equal_ignoring_case(name, "Connection")) {
      for_each_element(value, [&](std::string_view option) {
        if (equal_ignoring_case(option, "close")) head.is_keep_alive = false;
        if (equal_ignoring_case(option, "keep-alive") && head.is_http_10) head.is_keep_alive = true;
      });
    }
  }
  void check_head() const {
    if (n_lengths_ + n_codings_ > 1) throw HttpError(400, "there are Content-Length and Transfer-Encoding");
    if (n_hosts_ == 0 && !head.is_http_10) throw HttpError(400, "there is no Host");
  }

 private:
  void on_request_impl(http::verb, string_view method, string_view target, int version, error_code&) override {
    head.method = method;
    head.target = target;
    head.is_http_10 = version < 11;
    head.is_keep_alive = !head.is_http_10;
  }
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_field_impl(http::field, string_view name, string_view value, error_code&) override {
    if (is_header_done()) return;  // a trailer
    if (head.headers.size() >= kMaxHeaders) throw HttpError(431, "there are too many headers");
    head.headers.emplace_back(name, value);
    check_field(head.headers.back().first, head.headers.back().second);
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  size_t on_body_impl(string_view data, error_code&) override {
    body->append(data.data(), data.size());
    return data.size();
  }
  void on_chunk_header_impl(uint64_t, string_view extensions, error_code&) override {
    const auto is_wrong = [](char c) { return is_control(c) && c != '\t'; };
    if (std::any_of(extensions.begin(), extensions.end(), is_wrong))
      throw HttpError(400, "a chunk extension holds control characters");
  }
  size_t on_chunk_body_impl(uint64_t, string_view data, error_code&) override {
    body->append(data.data(), data.size());
    return data.size();
  }
  void on_finish_impl(error_code&) override {}

  int n_lengths_ = 0, n_codings_ = 0, n_hosts_ = 0;
};

RequestParser::RequestParser(int64_t max_body_bytes) : impl_(std::make_unique<Impl>()) {
  impl_->max_body_bytes = max_body_bytes;
  impl_->header_limit(std::numeric_limits<uint32_t>::max());  // the connection's is checked as bytes come
  impl_->body_limit(boost::none);
}
RequestParser::~RequestParser() = default;

RequestHead RequestParser::parse_head(std::string_view head) {
  error_code error;
  impl_->put(boost::asio::buffer(head), error);
  if (error) refuse(error, impl_->max_body_bytes);
  if (!impl_->is_header_done()) throw HttpError(400, "malformed HTTP request");
  impl_->check_head();
  impl_->head.has_body = !impl_->is_done();
  if (const auto n_bytes = impl_->content_length()) impl_->head.n_body_bytes = *n_bytes;
  impl_->body_limit(static_cast<uint64_t>(impl_->max_body_bytes));  // of chunks; who reads the head looks at the length
  impl_->eager(true);
  return std::move(impl_->head);
}

bool RequestParser::parse_body(std::string& input, std::string& body) {
  // Beast asserts that the last chunk is not fed to it in smaller pieces; at least these bytes are still to come.
  while (!impl_->is_done() && input.size() >= (impl_->chunked() ? kShortestChunkedEnd : 1)) {
    error_code error;
    impl_->body = &body;
    const size_t n_taken = impl_->put(boost::asio::buffer(input), error);
    input.erase(0, n_taken);
    if (error && error != http::error::need_more) refuse(error, impl_->max_body_bytes);
    if (error) {  // all data has been taken: what is left is the begin of a chunk header or of trailers
      check_line_ends(input);
      if (input.size() > kMaxFraming) throw HttpError(400, "a chunk header or the trailers are too long");
      return false;
    }
  }
  return impl_->is_done();
}

}  // namespace packhorse::server
