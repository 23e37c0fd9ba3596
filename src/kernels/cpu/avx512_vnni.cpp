// Rows for AVX-512 with VNNI (Cascade Lake, Ice Lake, Zen 4 and later): vpdpbusd multiplies and adds in one
// instruction.

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/rows_body.h"
#include "kernels/cpu/simd_avx512_vnni.h"

namespace packhorse {
extern constexpr KernelSet kAvx512Vnni{.name = "avx512_vnni",
                                       .needs = cpu::avx512 | cpu::avx512_vnni,
                                       .rows = kRowsOf<Avx512Vnni>,
                                       .n_rows = sizeof kRowsOf<Avx512Vnni> / sizeof(Kernel)};

}  // namespace packhorse
