#include "text/byte_level.h"

#include <array>

#include "base/utf8.h"

namespace packhorse {
namespace {

constexpr bool stands_for_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

struct Alphabet {
  std::array<uint16_t, 256> chars{};
  std::array<int16_t, 256 + 68> bytes{};
};
constexpr Alphabet kAlphabet = [] {
  Alphabet a;
  a.bytes.fill(-1);
  uint16_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    a.chars[byte] = stands_for_itself(byte) ? static_cast<uint16_t>(byte) : next++;
    a.bytes[a.chars[byte]] = static_cast<int16_t>(byte);
  }
  return a;
}();

}  // namespace

uint32_t byte_to_char(uint8_t byte) noexcept { return kAlphabet.chars[byte]; }

int char_to_byte(uint32_t code_point) noexcept {
  return code_point < kAlphabet.bytes.size() ? kAlphabet.bytes[code_point] : -1;
}

void append_byte_chars(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) append_utf8(out, byte_to_char(static_cast<uint8_t>(byte)));
}

void append_bytes_of_chars(std::string_view text, std::string& out) {
  const size_t n_before = out.size();
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    const int byte = c.valid ? char_to_byte(c.code_point) : -1;
    if (byte < 0) {
      out.resize(n_before);
      out.append(text);
      return;
    }
    out.push_back(static_cast<char>(byte));
    i += c.n_bytes;
  }
}

}  // namespace packhorse
