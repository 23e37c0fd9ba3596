#pragma once
// Buffered sequential reader of a GGUF file's head. Every read is checked against the bytes that are left, and errors
// tell where the reader was.

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/file.h"

namespace packhorse {

class GgufReader {
 public:
  explicit GgufReader(const File& file);

  /// Place for error messages: "header", or "key" and "tensor" with their index.
  void enter(std::string_view what) { what_ = what, index_ = -1; }
  void enter(std::string_view what, uint64_t index) { what_ = what, index_ = static_cast<int64_t>(index); }

  uint64_t position() const { return file_.size() - left(); }
  uint64_t left() const { return unread_ + (buffer_.size() - next_); }

  /// Next little-endian number.
  template <class T>
  T get() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    read(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  /// u64 length and that many bytes, at most `max_bytes`.
  std::string get_string(uint64_t max_bytes = UINT64_MAX);
  /// u64 count of elements that take at least `min_bytes` each.
  uint64_t get_count(uint64_t min_bytes);

  /// Throws Error{model}: what was declared needs more bytes than there are. `what` may be empty.
  [[noreturn]] void fail_end(std::string_view what) const;
  /// Throws Error{model} "<file>: <place>: ...".
  template <class... Args>
  [[noreturn]] void fail_here(fmt::format_string<Args...> format, Args&&... args) const {
    fail_model("{}: {}: {}", printable(file_.name()), place(), fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void read(std::span<std::byte> out);
  std::string place() const;

  const File& file_;
  std::vector<std::byte> buffer_;
  size_t next_ = 0;      // first unused byte of buffer_
  uint64_t unread_ = 0;  // bytes of the file behind buffer_
  std::string_view what_ = "header";
  int64_t index_ = -1;
};

}  // namespace packhorse
