#pragma once
// Entries of a table at eight indices, by plain loads that broadcast and by blends: gather instructions take longer on
// most CPUs.

#include <immintrin.h>

#include <cstdint>

namespace packhorse {
namespace {

/// Entries of 4 bytes, one a lane.
[[gnu::always_inline]] inline __m256i load_fours(const int8_t* table, const uint32_t index[8]) {
  __m256i v[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    int32_t entry;
    __builtin_memcpy(&entry, table + 4 * static_cast<uint64_t>(index[i]), 4);
    v[i] = _mm256_set1_epi32(entry);
  }
  const __m256i low =
      _mm256_blend_epi32(_mm256_blend_epi32(v[0], v[1], 0x02), _mm256_blend_epi32(v[2], v[3], 0x08), 0x0c);
  const __m256i high =
      _mm256_blend_epi32(_mm256_blend_epi32(v[4], v[5], 0x20), _mm256_blend_epi32(v[6], v[7], 0x80), 0xc0);
  return _mm256_blend_epi32(low, high, 0xf0);
}

/// Entries of 8 bytes: their first halves, one a lane, and their second halves.
[[gnu::always_inline]] inline void load_eights(const int8_t* table, const uint32_t index[8], __m256i halves[2]) {
  __m256 v[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const int8_t* entry = table + 8 * static_cast<uint64_t>(index[i]);
    v[i] = _mm256_castsi256_ps(_mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(entry))));
  }
  const auto join = [](__m256 a, __m256 b, __m256 c, __m256 d) {
    return _mm256_blend_ps(_mm256_blend_ps(a, b, 0x0c), _mm256_blend_ps(c, d, 0xc0), 0xf0);
  };
  const __m256 even = join(v[0], v[1], v[4], v[5]), odd = join(v[2], v[3], v[6], v[7]);
  halves[0] = _mm256_castps_si256(_mm256_shuffle_ps(even, odd, 0x88));
  halves[1] = _mm256_castps_si256(_mm256_shuffle_ps(even, odd, 0xdd));
}

}  // namespace
}  // namespace packhorse
