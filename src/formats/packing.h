#pragma once
// Word layouts of packed codes, as pure functions that give one code per byte.

#include <cstdint>
#include <span>

namespace packhorse {

/// A little-endian stream of bits: code i at bits [i * bits, (i + 1) * bits), of 1 to 8 bits each. Reads
/// ceil(n * bits / 8) bytes.
void unpack_stream(const uint8_t* packed, int bits, int64_t n, uint8_t* codes);

/// floor(32 / bits) codes per little-endian 32-bit word, from the low bits up; what is left of a word is unused. Reads
/// whole words.
void unpack_words(const uint8_t* packed, int bits, int64_t n, uint8_t* codes);

/// Codes split into planes of 8, 4, 2 or 1 bits, as the binary digits of `bits` say: 7 = 4 + 2 + 1. Each 32 codes take
/// `bits` words, the plane with the low bits first, each plane from the low bits of its first word up. n is a multiple
/// of 32.
void unpack_planes(const uint8_t* packed, int bits, int64_t n, uint8_t* codes);

/// Adds 1 to every code of a stream of 2, 3, 4 or 8 bits, as one number per word (three words for 3 bits): a code of
/// all ones carries into the next, and what leaves the number is lost.
void increment_stream(uint8_t* packed, int bits, int64_t n_words);

/// Columns of a matrix of words [n_words, n] as rows: word w of out[i] is that of column columns[i].
void gather_columns(const uint8_t* packed, int64_t n_words, int64_t n, std::span<const int64_t> columns, uint8_t* out);

/// Rows of AWQ words [k, n * bits / 32], of 4 or 8 bits: a word holds the codes of 32 / bits neighbours in one column
/// of the matrix [n, k], first those with even numbers, then those with odd ones. codes[i] is row rows[i], [k].
void unpack_awq(const uint8_t* packed, int bits, int64_t n, int64_t k, std::span<const int64_t> rows, uint8_t* codes);

/// A row of AWQ's words for its fast GEMV, 16-bit [n / 4, k] of 4 bits: 64 columns of four rows take 64 words, a row 16
/// of them, and word 8 h + m of those the columns 32 h + m + {0, 8, 16, 24}. k is a multiple of 64.
void unpack_awq_fast(const uint8_t* packed, int64_t k, int64_t row, uint8_t* codes);

/// Codes that were shuffled before they were packed: code i of every order.size(), at most 32, stands at order[i]. n is
/// a multiple of that size.
void reorder(std::span<const uint8_t> order, int64_t n, uint8_t* codes);

/// Where the scale of a row's group stands in tiles of 128 rows by 4 groups, padded to whole tiles, as tensor cores
/// want the scales of MX and NV formats: 32 x 16 values, row r of a tile in line r % 32, at 4 * (r / 32).
int64_t swizzled_scale(int64_t row, int64_t group, int64_t n_groups);

}  // namespace packhorse
