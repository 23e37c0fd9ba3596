// Rows for AVX-512 with VNNI (Cascade Lake, Ice Lake, Zen 4 and later): vpdpbusd multiplies and adds in one
// instruction.

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/rows_body.h"
#include "kernels/cpu/simd_avx512.h"

namespace packhorse {
namespace {

struct Avx512Vnni : Avx512 {
  static constexpr int kWideBias = 128;  // vpdpbusd does not saturate: codes stay unsigned
  static I dot4(I acc, I u8, I s8) { return _mm512_dpbusd_epi32(acc, u8, s8); }
  static I dot4_wide(I acc, I u8, I s8) { return _mm512_dpbusd_epi32(acc, u8, s8); }
};

}  // namespace

extern constexpr KernelSet kAvx512Vnni{.name = "avx512_vnni",
                                       .needs = cpu::avx512 | cpu::avx512_vnni,
                                       .rows = kRowsOf<Avx512Vnni>,
                                       .n_rows = sizeof kRowsOf<Avx512Vnni> / sizeof(Kernel)};

}  // namespace packhorse
