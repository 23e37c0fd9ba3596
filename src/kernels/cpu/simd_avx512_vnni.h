#pragma once
// The AVX-512 vector type where vpdpbusd multiplies and adds in one instruction.

#include "kernels/cpu/simd_avx512.h"

namespace packhorse {
namespace {

struct Avx512Vnni : Avx512 {
  static constexpr int kWideBias = 128;  // vpdpbusd does not saturate: codes stay unsigned
  static I dot4(I acc, I u8, I s8) { return _mm512_dpbusd_epi32(acc, u8, s8); }
  static I dot4_wide(I acc, I u8, I s8) { return _mm512_dpbusd_epi32(acc, u8, s8); }
};

}  // namespace
}  // namespace packhorse
