#pragma once
// The byte alphabet of byte-level BPE. Each byte is written as one printable character in vocabularies:
//
//   0x21..0x7e, 0xa1..0xac, 0xae..0xff   themselves
//   the other 68 bytes, in order          U+0100, U+0101, ...   (space is U+0120)

#include <cstdint>
#include <string>
#include <string_view>

namespace packhorse {

uint32_t byte_to_char(uint8_t byte) noexcept;
/// The byte that a character stands for, or -1.
int char_to_byte(uint32_t code_point) noexcept;

/// Appends `bytes` in the alphabet.
void append_byte_chars(std::string_view bytes, std::string& out);
/// Appends the bytes that `text` stands for; a text with any foreign character is appended as it is.
void append_bytes_of_chars(std::string_view text, std::string& out);

}  // namespace packhorse
