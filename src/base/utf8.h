#pragma once
// UTF-8 decoding and encoding, strict: overlong forms, surrogates and values past U+10FFFF are invalid.

#include <cstdint>
#include <string>
#include <string_view>

namespace packhorse {

struct Utf8Char {
  uint32_t code_point = 0xfffd;
  uint8_t n_bytes = 1;  // bytes to skip; 1 for an invalid byte, 0 at the end of the text
  bool valid = false;
};

/// First character of `text`.
inline Utf8Char decode_utf8(std::string_view text) noexcept {
  if (text.empty()) return {.n_bytes = 0};
  const auto byte = [&](size_t i) -> uint32_t { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint32_t b = byte(0);
  if (b < 0x80) return {b, 1, true};
  if (b >= 0xc2 && b < 0xe0 && tail(1)) return {(b & 0x1f) << 6 | (byte(1) & 0x3f), 2, true};
  if ((b & 0xf0) == 0xe0 && tail(1) && tail(2)) {
    const uint32_t c = (b & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    if (c >= 0x800 && (c < 0xd800 || c > 0xdfff)) return {c, 3, true};
  }
  if (b >= 0xf0 && b < 0xf5 && tail(1) && tail(2) && tail(3)) {
    const uint32_t c = (b & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    if (c >= 0x10000 && c <= 0x10ffff) return {c, 4, true};
  }
  return {};
}

inline void append_utf8(std::string& out, uint32_t c) {
  const auto put = [&](uint32_t b) { out.push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6), put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f)), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  }
}

}  // namespace packhorse
