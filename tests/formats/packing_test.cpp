#include "formats/packing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace packhorse {
namespace {

using Unpack = void (*)(const uint8_t*, int, int64_t, uint8_t*);

/// Codes less the middle of their range, from a buffer that ends with the last word.
std::vector<int> signed_codes(Unpack unpack, const std::vector<uint32_t>& words, int bits, int64_t n) {
  std::vector<uint8_t> bytes(words.size() * 4), codes(static_cast<size_t>(n));
  std::memcpy(bytes.data(), words.data(), bytes.size());
  unpack(bytes.data(), bits, n, codes.data());
  std::vector<int> out(codes.begin(), codes.end());
  for (int& code : out) code -= 1 << (bits - 1);
  return out;
}

// Words that compressed-tensors wrote.
TEST(Packing, WordsOfTheLibrary) {
  const std::vector<int> nibbles = {-8, -7, -1, 0, 1, 2, 6, 7};
  EXPECT_EQ(signed_codes(unpack_stream, {0xfea98710}, 4, 8), nibbles);
  EXPECT_EQ(signed_codes(unpack_words, {0xfea98710}, 4, 8), nibbles);
  const std::vector<int> threes = {-4, -3, -2, -1, 0, 1, 2, 3, -4, -3, -2, -1, 0};
  EXPECT_EQ(signed_codes(unpack_stream, {0x88fac688, 0x46}, 3, 13), threes);
  EXPECT_EQ(signed_codes(unpack_words, {0x08fac688, 0x11a}, 3, 13), threes);
}

TEST(Packing, EveryWidthAndLength) {
  std::mt19937 random(1);
  for (int bits = 1; bits <= 8; ++bits) {
    for (int64_t n = 0; n <= 70; ++n) {
      std::vector<uint8_t> codes(static_cast<size_t>(n)), got(codes);
      for (uint8_t& code : codes) code = static_cast<uint8_t>(random() % (1u << bits));
      // Bit by bit; the buffers are as long as promised, so that a sanitizer sees a read beyond.
      std::vector<uint8_t> stream(static_cast<size_t>(n * bits + 7) / 8);
      const int64_t per_word = 32 / bits;
      std::vector<uint8_t> words(static_cast<size_t>((n + per_word - 1) / per_word * 4));
      for (int64_t i = 0; i < n * bits; ++i) {
        const int bit = codes[static_cast<size_t>(i / bits)] >> (i % bits) & 1;
        const int64_t in_words = i / bits / per_word * 32 + i / bits % per_word * bits + i % bits;
        stream[static_cast<size_t>(i / 8)] |= static_cast<uint8_t>(bit << i % 8);
        words[static_cast<size_t>(in_words / 8)] |= static_cast<uint8_t>(bit << in_words % 8);
      }
      unpack_stream(stream.data(), bits, n, got.data());
      EXPECT_EQ(got, codes) << bits << " bits, " << n;
      std::ranges::fill(got, uint8_t{255});
      unpack_words(words.data(), bits, n, got.data());
      EXPECT_EQ(got, codes) << bits << " bits, " << n << " in words";
    }
  }
}

}  // namespace
}  // namespace packhorse
