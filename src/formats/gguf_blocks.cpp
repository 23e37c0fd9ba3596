// The older block types of ggml and its "K" types:
//
//   Q4_0  d qs[16]                      32 codes: byte i holds code i in its low and code 16 + i in its high nibble
//   Q4_1  d m qs[16]
//   Q5_0  d qh[4] qs[16]                bit i of qh is bit 4 of code i
//   Q5_1  d m qh[4] qs[16]
//   Q8_0  d qs[32]                      signed bytes
//   Q2_K  scales[16] qs[64] d dmin      256 codes; scale in the low, min in the high nibble
//   Q3_K  hmask[32] qs[64] scales[12] d
//   Q4_K  d dmin scales[12] qs[128]
//   Q5_K  d dmin scales[12] qh[32] qs[128]
//   Q6_K  ql[128] qh[64] scales[16] d
//
// d, m, dmin are f16. All unpacking goes eight codes at a time in 64-bit words, which compilers handle well everywhere.

#include "formats/gguf_blocks.h"

#include <bit>
#include <cstring>

namespace packhorse {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kBytes01 = 0x0101010101010101;
constexpr uint64_t kBytes03 = 3 * kBytes01, kBytes0f = 15 * kBytes01, kBytes80 = 128 * kBytes01;

uint64_t load8(const uint8_t* p) {
  uint64_t word;
  std::memcpy(&word, p, 8);
  return word;
}
void store8(uint8_t* p, uint64_t word) { std::memcpy(p, &word, 8); }

/// Bit i of `bits` in byte i, as 0 or 1.
uint64_t spread_bits(uint8_t bits) {
  const uint64_t picked = (bits * kBytes01) & 0x8040201008040201;
  return (picked + 0x7f * kBytes01) >> 7 & kBytes01;
}

/// Nibbles of qs[16] with bit 4 from qh[4], or without when qh is null.
template <bool kHasHighBits>
void unpack_32(const uint8_t* qs, const uint8_t* qh, uint8_t* codes) {
  for (int half = 0; half < 2; ++half) {
    const uint64_t pair = load8(qs + 8 * half);
    uint64_t low = pair & kBytes0f, high = pair >> 4 & kBytes0f;
    if constexpr (kHasHighBits) {
      low |= spread_bits(qh[half]) << 4;
      high |= spread_bits(qh[half + 2]) << 4;
    }
    store8(codes + 8 * half, low);
    store8(codes + 16 + 8 * half, high);
  }
}

struct Q4_0 {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 4,
                                      .offset = 8,
                                      .grouping = {GroupKind::along_k, 32},
                                      .scale = ScaleType::f16};
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block);
    unpack_32<false>(block + 2, nullptr, out.codes);
  }
};

struct Q4_1 {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 4,
                                      .grouping = {GroupKind::along_k, 32},
                                      .scale = ScaleType::f16,
                                      .min = ScaleType::f16};
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block);
    *out.min = load_f16(block + 2);
    unpack_32<false>(block + 4, nullptr, out.codes);
  }
};

struct Q5_0 {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 5,
                                      .offset = 16,
                                      .grouping = {GroupKind::along_k, 32},
                                      .scale = ScaleType::f16};
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block);
    unpack_32<true>(block + 6, block + 2, out.codes);
  }
};

struct Q5_1 {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 5,
                                      .grouping = {GroupKind::along_k, 32},
                                      .scale = ScaleType::f16,
                                      .min = ScaleType::f16};
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block);
    *out.min = load_f16(block + 2);
    unpack_32<true>(block + 8, block + 4, out.codes);
  }
};

struct Q8_0 {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 8,
                                      .offset = 128,
                                      .grouping = {GroupKind::along_k, 32},
                                      .scale = ScaleType::f16};
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block);
    for (int i = 0; i < 32; i += 8) store8(out.codes + i, load8(block + 2 + i) ^ kBytes80);
  }
};

/// Two-bit codes of qs[64]: code i is at bit 2 * (i mod 128 / 32) of byte 32 * (i / 128) + i mod 32.
template <class HighBits>
void unpack_2bit(const uint8_t* qs, uint8_t* codes, HighBits high_bits) {
  for (int i = 0; i < 256; i += 8) {
    const uint64_t low = load8(qs + i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2) & kBytes03;
    store8(codes + i, low | high_bits(i));
  }
}

struct Q2_K {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 2,
                                      .grouping = {GroupKind::along_k, 16},
                                      .scale = ScaleType::u4,
                                      .min = ScaleType::u4,
                                      .super_size = 256};
  static void unpack(const uint8_t* block, GgufTarget out) {
    for (int g = 0; g < 16; ++g) {
      out.scale[g] = static_cast<float>(block[g] & 15);
      out.min[g] = static_cast<float>(block[g] >> 4);
    }
    *out.super_scale = load_f16(block + 80);
    *out.super_min = -load_f16(block + 82);
    unpack_2bit(block + 16, out.codes, [](int) { return uint64_t{0}; });
  }
};

struct Q3_K {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 3,
                                      .offset = 4,
                                      .grouping = {GroupKind::along_k, 16},
                                      .scale = ScaleType::i8,
                                      .super_size = 256};
  static void unpack(const uint8_t* block, GgufTarget out) {
    const uint8_t* scales = block + 96;
    for (int g = 0; g < 16; ++g) {
      const int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
      const int high = scales[8 + g % 4] >> (g / 4 * 2) & 3;
      out.scale[g] = static_cast<float>((low | high << 4) - 32);
    }
    *out.super_scale = load_f16(block + 108);
    unpack_2bit(block + 32, out.codes, [block](int i) { return (load8(block + i % 32) >> (i / 32) & kBytes01) << 2; });
  }
};

/// Six-bit scales and mins of Q4_K and Q5_K, eight of each in 12 bytes, and the two super scales before them.
void unpack_k_scales(const uint8_t* block, GgufTarget out) {
  *out.super_scale = load_f16(block);
  *out.super_min = -load_f16(block + 2);
  const uint8_t* s = block + 4;
  for (int g = 0; g < 4; ++g) {
    out.scale[g] = static_cast<float>(s[g] & 63);
    out.min[g] = static_cast<float>(s[g + 4] & 63);
    out.scale[g + 4] = static_cast<float>((s[g + 8] & 15) | s[g] >> 6 << 4);
    out.min[g + 4] = static_cast<float>(s[g + 8] >> 4 | s[g + 4] >> 6 << 4);
  }
}

/// Nibbles of qs[128]: codes 64 j + i and 64 j + 32 + i are the halves of byte 32 j + i.
template <class HighBits>
void unpack_nibbles_256(const uint8_t* qs, uint8_t* codes, HighBits high_bits) {
  for (int i = 0; i < 256; i += 8) {
    const uint64_t low = load8(qs + i / 64 * 32 + i % 32) >> (i % 64 / 32 * 4) & kBytes0f;
    store8(codes + i, low | high_bits(i));
  }
}

struct Q4_K {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 4,
                                      .grouping = {GroupKind::along_k, 32},
                                      .scale = ScaleType::u8,
                                      .min = ScaleType::u8,
                                      .super_size = 256};
  static void unpack(const uint8_t* block, GgufTarget out) {
    unpack_k_scales(block, out);
    unpack_nibbles_256(block + 16, out.codes, [](int) { return uint64_t{0}; });
  }
};

struct Q5_K {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 5,
                                      .grouping = {GroupKind::along_k, 32},
                                      .scale = ScaleType::u8,
                                      .min = ScaleType::u8,
                                      .super_size = 256};
  static void unpack(const uint8_t* block, GgufTarget out) {
    unpack_k_scales(block, out);
    const uint8_t* qh = block + 16;
    unpack_nibbles_256(block + 48, out.codes, [qh](int i) { return (load8(qh + i % 32) >> (i / 32) & kBytes01) << 4; });
  }
};

struct Q6_K {
  static constexpr Encoding kEncoding{.element = Element::integer,
                                      .bits = 6,
                                      .offset = 32,
                                      .grouping = {GroupKind::along_k, 16},
                                      .scale = ScaleType::i8,
                                      .super_size = 256};
  static void unpack(const uint8_t* block, GgufTarget out) {
    for (int g = 0; g < 16; ++g) out.scale[g] = static_cast<float>(static_cast<int8_t>(block[192 + g]));
    *out.super_scale = load_f16(block + 208);
    for (int i = 0; i < 256; i += 8) {
      const uint64_t low = load8(block + i / 128 * 64 + i % 64) >> (i % 128 / 64 * 4) & kBytes0f;
      const uint64_t high = load8(block + 128 + i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2) & kBytes03;
      store8(out.codes + i, low | high << 4);
    }
  }
};

constexpr GgufBlock kBlocks[] = {
    gguf_block<Q4_0, 32, 18>(DType::q4_0),   gguf_block<Q4_1, 32, 20>(DType::q4_1),
    gguf_block<Q5_0, 32, 22>(DType::q5_0),   gguf_block<Q5_1, 32, 24>(DType::q5_1),
    gguf_block<Q8_0, 32, 34>(DType::q8_0),   gguf_block<Q2_K, 256, 84>(DType::q2_k),
    gguf_block<Q3_K, 256, 110>(DType::q3_k), gguf_block<Q4_K, 256, 144>(DType::q4_k),
    gguf_block<Q5_K, 256, 176>(DType::q5_k), gguf_block<Q6_K, 256, 210>(DType::q6_k),
};

}  // namespace

std::span<const GgufBlock> gguf_integer_blocks() { return kBlocks; }

}  // namespace packhorse
