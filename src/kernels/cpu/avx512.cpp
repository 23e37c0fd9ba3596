// Rows for AVX-512 without VNNI (Skylake-X).

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/rows_body.h"
#include "kernels/cpu/simd_avx512.h"

namespace packhorse {

extern constexpr KernelSet kAvx512{
    .name = "avx512", .needs = cpu::avx512, .rows = kRowsOf<Avx512>, .n_rows = sizeof kRowsOf<Avx512> / sizeof(Kernel)};

}  // namespace packhorse
