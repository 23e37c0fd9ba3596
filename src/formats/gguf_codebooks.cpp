// Block types of ggml with codebooks, ternary codes or small floats; d is f16, all integers little endian:
//
//   IQ4_NL   d qs[16]                            indices into a table, nibbles as in Q4_0
//   IQ4_XS   d scales_h u16 scales_l[4] qs[128]  the same in 8 groups of 32 with 6-bit scales
//   IQ2_XXS  d {grid[4] u32}[8]                  u32: 4 x 7 bits of signs, 4 bits of scale
//   IQ2_XS   d qs u16[32] scales[8]              9 bits of index, 7 of signs
//   IQ2_S    d qs[32] signs[32] qh[8] scales[8]  10 bits of index: qs and 2 of qh
//   IQ3_XXS  d qs[64] u32[8]
//   IQ3_S    d qs[64] qh[8] signs[32] scales[4]
//   IQ1_S    d qs[32] qh u16[8]                  qh: 4 x 3 bits of index, 3 of scale, 1 of shift
//   IQ1_M    qs[32] qh[16] scales u16[4]         d stands in the top nibbles of scales
//   TQ1_0    qs[48] qh[4] d                      5 trits a byte, 4 in qh
//   TQ2_0    qs[64] d                            2 bits a code
//   MXFP4    e qs[16]                            e: E8M0
//   NVFP4    e[4] qs[32]                         4 groups of 16; e: E4M3 without sign, 0x7f is 0
//   Q1_0     d qs[16]                            bits: -1, 1
//   Q2_0     d qs[16]                            2 bits a code, minus 1
//
// Seven bits of signs stand for eight: their number of ones is even.

#include <bit>

#include "codec/grids.h"
#include "codec/tables.h"
#include "formats/gguf_blocks.h"

namespace packhorse {
namespace {

uint16_t load_u16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
uint32_t load_u32(const uint8_t* p) { return load_u16(p) | static_cast<uint32_t>(load_u16(p + 2)) << 16; }

/// Eight signs of the seven that are stored.
uint8_t even_signs(uint32_t seven) { return static_cast<uint8_t>(seven | (std::popcount(seven) % 2 ? 0x80 : 0)); }

void put_entry(uint8_t*& codes, int index, uint8_t signs) {
  *codes++ = static_cast<uint8_t>(index);
  *codes++ = static_cast<uint8_t>(index >> 8);
  *codes++ = signs;
}

/// 32 codes of 16 bytes: low nibbles, then high ones.
void unpack_split(const uint8_t* qs, uint8_t* codes) {
  for (int i = 0; i < 16; ++i) codes[i] = qs[i] & 15, codes[16 + i] = qs[i] >> 4;
}

constexpr Encoding grid_encoding(const CodeGrid& grid, uint32_t group, float factor) {
  return {.element = Element::grid,
          .bits = 16,
          .grid = &grid,
          .factor = factor,
          .grouping = {GroupKind::along_k, group},
          .scale = ScaleType::u8,
          .super_size = 256};
}
constexpr Encoding table_encoding(const CodeTable& table, uint8_t bits, uint32_t group, ScaleType scale) {
  return {.element = Element::table,
          .bits = bits,
          .table = &table,
          .grouping = {GroupKind::along_k, group},
          .scale = scale};
}
constexpr Encoding two_bits(uint32_t group) {
  return {.element = Element::integer,
          .bits = 2,
          .offset = 1,
          .grouping = {GroupKind::along_k, group},
          .scale = ScaleType::f16};
}

struct IQ4_NL {
  static constexpr Encoding kEncoding = table_encoding(kIq4Nl, 4, 32, ScaleType::f16);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block);
    unpack_split(block + 2, out.codes);
  }
};

struct IQ4_XS {
  static constexpr Encoding kEncoding{.element = Element::table,
                                      .bits = 4,
                                      .table = &kIq4Nl,
                                      .grouping = {GroupKind::along_k, 32},
                                      .scale = ScaleType::i8,
                                      .super_size = 256};
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.super_scale = load_f16(block);
    const int high = load_u16(block + 2);
    for (int g = 0; g < 8; ++g) {
      const int low = block[4 + g / 2] >> (g % 2 * 4) & 15;
      out.scale[g] = static_cast<float>((low | (high >> (2 * g) & 3) << 4) - 32);
      unpack_split(block + 8 + 16 * g, out.codes + 32 * g);
    }
  }
};

struct IQ2_XXS {
  static constexpr Encoding kEncoding = grid_encoding(kIq2Xxs, 32, 0.125f);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.super_scale = load_f16(block);
    for (int g = 0; g < 8; ++g) {
      const uint8_t* part = block + 2 + 8 * g;
      const uint32_t rest = load_u32(part + 4);
      out.scale[g] = static_cast<float>(2 * (rest >> 28) + 1);
      for (int i = 0; i < 4; ++i) put_entry(out.codes, part[i], even_signs(rest >> (7 * i) & 127));
    }
  }
};

/// Scales of 16 groups in 8 bytes, as odd numbers.
void unpack_odd_scales(const uint8_t* scales, float* out) {
  for (int g = 0; g < 16; ++g) out[g] = static_cast<float>(2 * (scales[g / 2] >> (g % 2 * 4) & 15) + 1);
}

struct IQ2_XS {
  static constexpr Encoding kEncoding = grid_encoding(kIq2Xs, 16, 0.125f);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.super_scale = load_f16(block);
    unpack_odd_scales(block + 66, out.scale);
    for (int i = 0; i < 32; ++i) {
      const int code = load_u16(block + 2 + 2 * i);
      put_entry(out.codes, code & 511, even_signs(static_cast<uint32_t>(code >> 9)));
    }
  }
};

struct IQ2_S {
  static constexpr Encoding kEncoding = grid_encoding(kIq2S, 16, 0.125f);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.super_scale = load_f16(block);
    unpack_odd_scales(block + 74, out.scale);
    for (int i = 0; i < 32; ++i) {
      const int high = block[66 + i / 4] >> (2 * (i % 4)) & 3;
      put_entry(out.codes, block[2 + i] | high << 8, block[34 + i]);
    }
  }
};

struct IQ3_XXS {
  static constexpr Encoding kEncoding = grid_encoding(kIq3Xxs, 32, 0.25f);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.super_scale = load_f16(block);
    for (int g = 0; g < 8; ++g) {
      const uint32_t rest = load_u32(block + 66 + 4 * g);
      out.scale[g] = static_cast<float>(2 * (rest >> 28) + 1);
      for (int i = 0; i < 8; ++i) {
        const uint8_t signs = even_signs(rest >> (7 * (i / 2)) & 127);
        put_entry(out.codes, block[2 + 8 * g + i], signs >> (4 * (i % 2)) & 15);
      }
    }
  }
};

struct IQ3_S {
  static constexpr Encoding kEncoding = grid_encoding(kIq3S, 32, 1.0f);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.super_scale = load_f16(block);
    for (int g = 0; g < 8; ++g) out.scale[g] = static_cast<float>(2 * (block[106 + g / 2] >> (g % 2 * 4) & 15) + 1);
    for (int i = 0; i < 64; ++i) {
      const int high = block[66 + i / 8] >> (i % 8) & 1;
      put_entry(out.codes, block[2 + i] | high << 8, block[74 + i / 2] >> (4 * (i % 2)) & 15);
    }
  }
};

constexpr int kShiftDown = 2048;  // indices of kIq1 from here on

struct IQ1_S {
  static constexpr Encoding kEncoding = grid_encoding(kIq1, 32, 0.125f);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.super_scale = load_f16(block);
    for (int g = 0; g < 8; ++g) {
      const int high = load_u16(block + 34 + 2 * g);
      out.scale[g] = static_cast<float>(2 * (high >> 12 & 7) + 1);
      for (int i = 0; i < 4; ++i) {
        const int index = block[2 + 4 * g + i] | (high >> (3 * i) & 7) << 8;
        put_entry(out.codes, iq1_index(index) + (high & 0x8000 ? kShiftDown : 0), 0);
      }
    }
  }
};

struct IQ1_M {
  static constexpr Encoding kEncoding = grid_encoding(kIq1, 16, 0.125f);
  static void unpack(const uint8_t* block, GgufTarget out) {
    int super = 0;
    for (int i = 0; i < 4; ++i) super |= load_u16(block + 48 + 2 * i) >> 12 << (4 * i);
    *out.super_scale = f16_to_f32(static_cast<uint16_t>(super));
    for (int g = 0; g < 16; ++g)
      out.scale[g] = static_cast<float>(2 * (load_u16(block + 48 + g / 4 * 2) >> (3 * (g % 4)) & 7) + 1);
    for (int i = 0; i < 32; ++i) {
      const int high = block[32 + i / 2] >> (i % 2 * 4);
      put_entry(out.codes, iq1_index(block[i] | (high & 7) << 8) + (high & 8 ? kShiftDown : 0), 0);
    }
  }
};

/// Held in 2 bits a code.
struct TQ1_0 {
  static constexpr Encoding kEncoding = two_bits(256);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block + 52);
    static constexpr int kPowers[] = {1, 3, 9, 27, 81};
    const auto trit = [](uint8_t byte, int place) {
      return static_cast<uint8_t>((byte * kPowers[place] & 255) * 3 >> 8);
    };
    for (int i = 0; i < 160; ++i) out.codes[i] = trit(block[i % 32], i / 32);
    for (int i = 0; i < 80; ++i) out.codes[160 + i] = trit(block[32 + i % 16], i / 16);
    for (int i = 0; i < 16; ++i) out.codes[240 + i] = trit(block[48 + i % 4], i / 4);
  }
};

struct TQ2_0 {
  static constexpr Encoding kEncoding = two_bits(256);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block + 64);
    for (int i = 0; i < 256; ++i) out.codes[i] = block[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
  }
};

struct MXFP4 {
  static constexpr Encoding kEncoding = table_encoding(kE2M1, 4, 32, ScaleType::e8m0);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = e8m0_to_f32(block[0]);
    unpack_split(block + 1, out.codes);
  }
};

struct NVFP4 {
  static constexpr Encoding kEncoding{.element = Element::table,
                                      .bits = 4,
                                      .table = &kE2M1,
                                      .grouping = {GroupKind::along_k, 16},
                                      .scale = ScaleType::e4m3,
                                      .outer = Outer::multiply};
  static void unpack(const uint8_t* block, GgufTarget out) {
    for (int g = 0; g < 4; ++g) {
      const uint8_t scale = block[g] & 0x7f;
      out.scale[g] = scale == 0x7f ? 0.0f : e4m3_to_f32(scale);
      for (int i = 0; i < 8; ++i) {
        const uint8_t pair = block[4 + 8 * g + i];
        out.codes[16 * g + i] = pair & 15, out.codes[16 * g + 8 + i] = pair >> 4;
      }
    }
  }
};

struct Q1_0 {
  static constexpr Encoding kEncoding = table_encoding(kSign, 1, 128, ScaleType::f16);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block);
    for (int i = 0; i < 128; ++i) out.codes[i] = block[2 + i / 8] >> (i % 8) & 1;
  }
};

struct Q2_0 {
  static constexpr Encoding kEncoding = two_bits(64);
  static void unpack(const uint8_t* block, GgufTarget out) {
    *out.scale = load_f16(block);
    for (int i = 0; i < 64; ++i) out.codes[i] = block[2 + i / 4] >> (2 * (i % 4)) & 3;
  }
};

constexpr GgufBlock kBlocks[] = {
    gguf_block<IQ4_NL, 32, 18>(DType::iq4_nl),    gguf_block<IQ4_XS, 256, 136>(DType::iq4_xs),
    gguf_block<IQ2_XXS, 256, 66>(DType::iq2_xxs), gguf_block<IQ2_XS, 256, 74>(DType::iq2_xs),
    gguf_block<IQ2_S, 256, 82>(DType::iq2_s),     gguf_block<IQ3_XXS, 256, 98>(DType::iq3_xxs),
    gguf_block<IQ3_S, 256, 110>(DType::iq3_s),    gguf_block<IQ1_S, 256, 50>(DType::iq1_s),
    gguf_block<IQ1_M, 256, 56>(DType::iq1_m),     gguf_block<TQ1_0, 256, 54>(DType::tq1_0),
    gguf_block<TQ2_0, 256, 66>(DType::tq2_0),     gguf_block<MXFP4, 32, 17>(DType::mxfp4),
    gguf_block<NVFP4, 64, 36>(DType::nvfp4),      gguf_block<Q1_0, 128, 18>(DType::q1_0),
    gguf_block<Q2_0, 64, 18>(DType::q2_0),
};

}  // namespace

std::span<const GgufBlock> gguf_other_blocks() { return kBlocks; }

}  // namespace packhorse
