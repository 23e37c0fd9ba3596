#pragma once
// Word layouts of packed codes, as pure functions that give one code per byte.

#include <cstdint>

namespace packhorse {

/// A little-endian stream of bits: code i at bits [i * bits, (i + 1) * bits), of 1 to 8 bits each. Reads
/// ceil(n * bits / 8) bytes.
void unpack_stream(const uint8_t* packed, int bits, int64_t n, uint8_t* codes);

/// floor(32 / bits) codes per little-endian 32-bit word, from the low bits up; what is left of a word is unused. Reads
/// whole words.
void unpack_words(const uint8_t* packed, int bits, int64_t n, uint8_t* codes);

}  // namespace packhorse
