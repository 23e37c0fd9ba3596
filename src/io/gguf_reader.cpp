#include "io/gguf_reader.h"

#include <algorithm>
#include <cstring>

namespace packhorse {

GgufReader::GgufReader(const File& file) : file_(file), unread_(file.size()) {}

std::string GgufReader::place() const { return index_ < 0 ? std::string(what_) : fmt::format("{} {}", what_, index_); }

void GgufReader::fail_end(std::string_view what) const {
  fail_model("{}: file ends at byte {}, in {}{}{}", printable(file_.name()), file_.size(), place(),
             what.empty() ? "" : ": ", what);
}

void GgufReader::read(std::span<std::byte> out) {
  if (out.size() > left()) fail_end("");
  while (!out.empty()) {
    if (next_ == buffer_.size()) {
      constexpr uint64_t kBufferBytes = 256 << 10;
      buffer_.resize(std::min(kBufferBytes, unread_));
      file_.read(file_.size() - unread_, buffer_);
      unread_ -= buffer_.size();
      next_ = 0;
    }
    const size_t n = std::min(out.size(), buffer_.size() - next_);
    std::memcpy(out.data(), buffer_.data() + next_, n);
    next_ += n;
    out = out.subspan(n);
  }
}

std::string GgufReader::get_string(uint64_t max_bytes) {
  const auto n = get<uint64_t>();
  if (n > left()) fail_end(fmt::format("string of {} bytes, {} left", n, left()));
  const bool too_long = n > max_bytes;
  std::string text(too_long ? max_bytes : n, '\0');
  read(std::as_writable_bytes(std::span(text)));
  if (too_long) fail_here("name '{}...' is too long (got {} bytes, limit {})", printable(text), n, max_bytes);
  return text;
}

uint64_t GgufReader::get_count(uint64_t min_bytes) {
  const auto n = get<uint64_t>();
  if (n > left() / min_bytes) fail_end(fmt::format("array of {} elements, {} bytes left", n, left()));
  return n;
}

}  // namespace packhorse
