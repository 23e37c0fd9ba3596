#pragma once
// Where the head of a request ends, and whether its bytes leave no room for a second reading.

#include <cstddef>
#include <optional>
#include <string_view>

namespace packhorse::server {

/// Looks at the bytes before any parser does, as they come: a request that can only become wrong is refused at its
/// first wrong byte, not when its time is up. Refused are lines that do not end with CR LF, folded lines, control
/// characters, and a first line that is not of HTTP/1.
class HeadScanner {
 public:
  /// `input` begins with what the last call saw. Length of the head with its empty line, once all is there. Throws
  /// HttpError 400.
  std::optional<size_t> scan(std::string_view input);

  /// A whole first line has been seen.
  bool has_request_line() const { return line_begin_ > 0; }

 private:
  /// Throws for a line (without CR LF) that may not be.
  void check_line(std::string_view line) const;

  size_t at_ = 0;
  size_t line_begin_ = 0;
};

/// Throws HttpError 400 for a line feed that follows no carriage return.
void check_line_ends(std::string_view text);

}  // namespace packhorse::server
