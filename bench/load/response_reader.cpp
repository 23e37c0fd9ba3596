#include "load/response_reader.h"

#include <algorithm>
#include <charconv>

namespace packhorse::load {
namespace {

constexpr size_t kMaxLine = 64 << 10;

template <class Number>
bool read_number(std::string_view text, Number& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool ResponseReader::feed(std::string_view bytes, std::string& body) {
  while (!bytes.empty()) {
    has_begun_ = true;
    if (state_ == State::done) return false;
    if (state_ == State::sized_body || state_ == State::chunk || state_ == State::body_until_close) {
      const size_t n = state_ == State::body_until_close ? bytes.size() : std::min<uint64_t>(bytes.size(), remaining_);
      body.append(bytes.substr(0, n));
      bytes.remove_prefix(n);
      if (state_ == State::body_until_close || (remaining_ -= n) > 0) continue;
      state_ = state_ == State::chunk ? State::chunk_end : State::done;
      continue;
    }
    const size_t end = bytes.find('\n');
    line_.append(bytes.substr(0, end));
    if (line_.size() > kMaxLine) return false;
    if (end == std::string_view::npos) return true;
    bytes.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    if (!take_line(line_)) return false;
    line_.clear();
  }
  return true;
}

bool ResponseReader::end_by_close() {
  keeps_connection_ = false;
  if (state_ == State::body_until_close) state_ = State::done;
  return is_done();
}

bool ResponseReader::take_line(std::string_view line) {
  switch (state_) {
    case State::status_line:
      return take_status(line);
    case State::header:
      return take_header(line);
    case State::chunk_size:
      return take_chunk_size(line);
    case State::chunk_end:
      state_ = State::chunk_size;
      return line.empty();
    default:  // trailer
      if (line.empty()) state_ = State::done;
      return true;
  }
}

bool ResponseReader::take_status(std::string_view line) {
  state_ = State::header;
  return line.starts_with("HTTP/1.1 ") && line.size() >= 12 && read_number(line.substr(9, 3), status_);
}

bool ResponseReader::take_header(std::string_view line) {
  if (line.empty()) {
    state_ = is_chunked_ ? State::chunk_size : has_length_ ? State::sized_body : State::body_until_close;
    if (state_ == State::sized_body && remaining_ == 0) state_ = State::done;
    return true;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string name = lower(line.substr(0, colon));
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (name == "content-length") return has_length_ = read_number(value, remaining_);
  if (name == "transfer-encoding") return is_chunked_ = lower(value) == "chunked";
  if (name == "connection" && lower(value) == "close") keeps_connection_ = false;
  if (name == "retry-after") return read_number(value, retry_after_) && retry_after_ >= 0;
  return true;
}

bool ResponseReader::take_chunk_size(std::string_view line) {
  if (!read_number(trimmed(line.substr(0, line.find(';'))), remaining_, 16)) return false;
  state_ = remaining_ == 0 ? State::trailer : State::chunk;
  return true;
}

}  // namespace packhorse::load
