#include "formats/packing.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace packhorse {
namespace {

static_assert(std::endian::native == std::endian::little);

/// The first `n` codes of a word.
template <int Bits>
void split(uint64_t word, int64_t n, uint8_t* codes) {
  for (int64_t i = 0; i < n; ++i) codes[i] = static_cast<uint8_t>(word >> (i * Bits) & ((1u << Bits) - 1));
}

/// Eight codes fill `Bits` whole bytes.
template <int Bits>
void stream(const uint8_t* packed, int64_t n, uint8_t* codes) {
  uint64_t word = 0;
  for (; n >= 8; n -= 8, packed += Bits, codes += 8) {
    std::memcpy(&word, packed, Bits);
    split<Bits>(word, 8, codes);
  }
  if (n == 0) return;
  word = 0;
  std::memcpy(&word, packed, static_cast<size_t>(n * Bits + 7) / 8);
  split<Bits>(word, n, codes);
}

template <int Bits>
void words(const uint8_t* packed, int64_t n, uint8_t* codes) {
  constexpr int64_t kPerWord = 32 / Bits;
  for (; n > 0; n -= kPerWord, packed += 4, codes += kPerWord) {
    uint32_t word;
    std::memcpy(&word, packed, 4);
    if (n >= kPerWord)
      split<Bits>(word, kPerWord, codes);
    else
      split<Bits>(word, n, codes);
  }
}

using Unpack = void (*)(const uint8_t*, int64_t, uint8_t*);
constexpr Unpack kStream[] = {stream<1>, stream<2>, stream<3>, stream<4>, stream<5>, stream<6>, stream<7>, stream<8>};
constexpr Unpack kWords[] = {words<1>, words<2>, words<3>, words<4>, words<5>, words<6>, words<7>, words<8>};

}  // namespace

void unpack_stream(const uint8_t* packed, int bits, int64_t n, uint8_t* codes) { kStream[bits - 1](packed, n, codes); }
void unpack_words(const uint8_t* packed, int bits, int64_t n, uint8_t* codes) { kWords[bits - 1](packed, n, codes); }

namespace {

uint32_t word_at(const uint8_t* packed, int64_t i) {
  uint32_t word;
  std::memcpy(&word, packed + 4 * i, 4);
  return word;
}

}  // namespace

void unpack_planes(const uint8_t* packed, int bits, int64_t n, uint8_t* codes) {
  uint8_t plane[32];
  for (; n > 0; n -= 32, codes += 32) {
    std::fill_n(codes, 32, uint8_t{0});
    int shift = 0;
    for (const int width : {8, 4, 2, 1}) {
      if (!(bits & width)) continue;
      unpack_stream(packed, width, 32, plane);
      for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] | plane[i] << shift);
      packed += 4 * width;
      shift += width;
    }
  }
}

void increment_stream(uint8_t* packed, int bits, int64_t n_words) {
  const int64_t period = bits == 3 ? 3 : 1;  // words until a code begins at bit 0 again
  for (int64_t begin = 0; begin < n_words; begin += period) {
    uint64_t carry = 0;
    for (int64_t w = begin; w < std::min(begin + period, n_words); ++w) {
      uint32_t ones = 0;
      for (int64_t bit = 0; bit < 32; ++bit) ones |= static_cast<uint32_t>(((w - begin) * 32 + bit) % bits == 0) << bit;
      const uint64_t sum = carry + word_at(packed, w) + ones;
      const auto word = static_cast<uint32_t>(sum);
      std::memcpy(packed + 4 * w, &word, 4);
      carry = sum >> 32;
    }
  }
}

void gather_columns(const uint8_t* packed, int64_t n_words, int64_t n, std::span<const int64_t> columns, uint8_t* out) {
  constexpr size_t kTile = 16;  // neighbours share a cache line
  for (; !columns.empty(); columns = columns.subspan(std::min(kTile, columns.size()))) {
    const std::span<const int64_t> tile = columns.first(std::min(kTile, columns.size()));
    for (int64_t w = 0; w < n_words; ++w) {
      for (size_t i = 0; i < tile.size(); ++i)
        std::memcpy(out + 4 * (static_cast<int64_t>(i) * n_words + w), packed + 4 * (w * n + tile[i]), 4);
    }
    out += 4 * n_words * static_cast<int64_t>(tile.size());
  }
}

void unpack_awq(const uint8_t* packed, int bits, int64_t n, int64_t k, std::span<const int64_t> rows, uint8_t* codes) {
  const int64_t per_word = 32 / bits, row_words = n / per_word;
  constexpr size_t kTile = 64;  // rows of codes that stay in the cache while columns advance
  for (; !rows.empty(); rows = rows.subspan(std::min(kTile, rows.size()))) {
    const std::span<const int64_t> tile = rows.first(std::min(kTile, rows.size()));
    for (int64_t column = 0; column < k; ++column) {
      uint8_t* out = codes + column;
      for (const int64_t row : tile) {
        const int64_t in_word = row % per_word, place = in_word % 2 * (per_word / 2) + in_word / 2;
        const uint32_t word = word_at(packed, column * row_words + row / per_word);
        *out = static_cast<uint8_t>(word >> (place * bits) & ((1u << bits) - 1));
        out += k;
      }
    }
    codes += k * static_cast<int64_t>(tile.size());
  }
}

void unpack_awq_fast(const uint8_t* packed, int64_t k, int64_t row, uint8_t* codes) {
  const uint8_t* words = packed + 2 * (row / 4 * k + row % 4 * 16);
  for (int64_t block = 0; block < k; block += 64, words += 128) {
    for (int64_t e = 0; e < 16; ++e) {
      uint16_t word;
      std::memcpy(&word, words + 2 * e, 2);
      for (int64_t t = 0; t < 4; ++t) codes[block + e / 8 * 32 + 8 * t + e % 8] = word >> (4 * t) & 15;
    }
  }
}

void reorder(std::span<const uint8_t> order, int64_t n, uint8_t* codes) {
  uint8_t fields[32];
  const auto period = static_cast<int64_t>(order.size());
  for (; n >= period; n -= period, codes += period) {
    std::memcpy(fields, codes, order.size());
    for (size_t i = 0; i < order.size(); ++i) codes[i] = fields[order[i]];
  }
}

int64_t swizzled_scale(int64_t row, int64_t group, int64_t n_groups) {
  const int64_t tile = row / 128 * ((n_groups + 3) / 4) + group / 4;
  return tile * 512 + row % 32 * 16 + row % 128 / 32 * 4 + group % 4;
}

}  // namespace packhorse
