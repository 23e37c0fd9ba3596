#include "formats/packing.h"

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

}  // namespace packhorse
