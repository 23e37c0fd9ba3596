#pragma once
// Instruction-set groups that kernel sets ask for.

#include <cstdint>

namespace packhorse::cpu {

enum Feature : uint32_t {
  avx2 = 1u << 0,    // AVX2, FMA, F16C
  avx512 = 1u << 1,  // AVX-512 F, BW, VL, DQ
  avx512_vnni = 1u << 2,
  avx512_bf16 = 1u << 3,
  avx512_vbmi = 1u << 4,  // with BMI2
};

/// What this CPU and its kernel offer, by CPUID and XGETBV.
uint32_t features() noexcept;

}  // namespace packhorse::cpu
