#include "app/server/http/head_scanner.h"

#include "app/server/http/http_error.h"
#include "app/server/http/text.h"

namespace packhorse::server {

std::optional<size_t> HeadScanner::scan(std::string_view input) {
  for (; at_ < input.size(); ++at_) {
    const char c = input[at_];
    const bool is_after_cr = at_ > 0 && input[at_ - 1] == '\r';
    if (is_after_cr != (c == '\n')) throw HttpError(400, "a line of the request does not end with CR LF");
    if (c == '\n') {
      const std::string_view line = input.substr(line_begin_, at_ - 1 - line_begin_);
      if (line.empty() && has_request_line()) return at_ + 1;
      check_line(line);
      line_begin_ = at_ + 1;
    } else if (at_ == line_begin_ && at_ > 0 && (c == ' ' || c == '\t')) {
      throw HttpError(400, "a header is folded over two lines");
    } else if (is_control(c) && c != '\r' && c != '\t') {
      throw HttpError(400, "the head of the request has a control character");
    } else if (at_ == 0 && (ascii_lower(c) < 'a' || ascii_lower(c) > 'z')) {
      throw HttpError(400, "this is not an HTTP request");
    }
  }
  return std::nullopt;
}

void HeadScanner::check_line(std::string_view line) const {
  if (has_request_line() || line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/1.0")) return;
  throw HttpError(400, "the request line does not end with HTTP/1.1");
}

void check_line_ends(std::string_view text) {
  for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1)) {
    if (at == 0 || text[at - 1] != '\r') throw HttpError(400, "a line of the request does not end with CR LF");
  }
}

}  // namespace packhorse::server
