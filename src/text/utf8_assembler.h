#pragma once
// Turns bytes that arrive in pieces into valid UTF-8: complete characters pass at once, the beginning of a character
// waits for its rest, everything else becomes U+FFFD.

#include <string>
#include <string_view>

namespace packhorse {

class Utf8Assembler {
 public:
  /// What becomes one U+FFFD: each invalid byte, or the longest piece that could have begun a character (as Rust's and
  /// Python's decoders with replacement do).
  enum class Invalid : unsigned char { per_byte, per_prefix };
  explicit Utf8Assembler(Invalid invalid = Invalid::per_prefix) : invalid_(invalid) {}

  /// Appends to `out` what `bytes` completes.
  void push(std::string_view bytes, std::string& out);
  /// The end of the text: an unfinished character becomes U+FFFD.
  void flush(std::string& out);

 private:
  void append_replacement(size_t n_bytes, std::string& out) const;
  std::string pending_;  // at most 3 bytes: a proper prefix of one character
  Invalid invalid_;
};

bool is_valid_utf8(std::string_view text) noexcept;
/// Invalid bytes replaced, Invalid::per_prefix.
std::string to_valid_utf8(std::string_view text);

}  // namespace packhorse
