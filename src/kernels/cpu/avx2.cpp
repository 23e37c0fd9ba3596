// Rows for AVX2, FMA and F16C: what every supported x86 CPU has.

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/rows_body.h"
#include "kernels/cpu/simd_avx2.h"

namespace packhorse {

extern constexpr KernelSet kAvx2{
    .name = "avx2", .needs = cpu::avx2, .rows = kRowsOf<Avx2>, .n_rows = sizeof kRowsOf<Avx2> / sizeof(Kernel)};

}  // namespace packhorse
