#pragma once
// Random numbers without state: each is a function of what it is for, so neither the batch nor a preemption moves them.

#include <array>
#include <cstdint>

namespace packhorse {

/// Philox4x32-10: ten rounds that turn a counter and a key into 128 random bits.
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xd2511f53u} * counter[0];
    const uint64_t b = uint64_t{0xcd9e8d57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9e3779b9u, key[1] + 0xbb67ae85u};
  }
  return counter;
}

inline std::array<uint32_t, 4> philox(uint64_t seed, uint64_t first, uint64_t second) {
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  return philox({low(first), high(first), low(second), high(second)}, {low(seed), high(seed)});
}

/// Uniform in [0, 1), 53 bits: the draw for one position of one output.
inline double uniform_draw(uint64_t seed, int64_t output_index, int64_t position) {
  const auto bits = philox(seed, static_cast<uint64_t>(position), static_cast<uint64_t>(output_index));
  return static_cast<double>((uint64_t{bits[0]} << 32 | bits[1]) >> 11) * 0x1p-53;
}

/// Seed of a request that brings none.
inline uint64_t derived_seed(uint64_t engine_seed, uint64_t request_id) {
  const auto bits = philox(engine_seed, request_id, ~uint64_t{0});  // no output has this index
  return uint64_t{bits[0]} << 32 | bits[1];
}

}  // namespace packhorse
