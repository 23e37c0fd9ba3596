#pragma once
// HTTP/1.1 answers, read piece by piece as they arrive.

#include <cstdint>
#include <string>
#include <string_view>

namespace packhorse::load {

class ResponseReader {
 public:
  void reset() { *this = ResponseReader(); }
  /// Appends what is body to `body`, without its framing. False when this is no answer of HTTP/1.1.
  bool feed(std::string_view bytes, std::string& body);
  /// The connection was closed. True when that is how this answer ends.
  bool end_by_close();

  bool has_begun() const { return has_begun_; }
  bool is_done() const { return state_ == State::done; }
  int status() const { return status_; }
  bool keeps_connection() const { return keeps_connection_; }
  /// Seconds of Retry-After; -1 without.
  int64_t retry_after() const { return retry_after_; }

 private:
  enum class State : uint8_t {
    status_line,
    header,
    sized_body,
    body_until_close,
    chunk_size,
    chunk,
    chunk_end,
    trailer,
    done
  };

  bool take_line(std::string_view line);
  bool take_status(std::string_view line);
  bool take_header(std::string_view line);
  bool take_chunk_size(std::string_view line);

  State state_ = State::status_line;
  std::string line_;        // begun, not yet ended
  uint64_t remaining_ = 0;  // bytes of the body or the chunk
  int status_ = 0;
  int64_t retry_after_ = -1;
  bool has_begun_ = false, is_chunked_ = false, has_length_ = false, keeps_connection_ = true;
};

}  // namespace packhorse::load
