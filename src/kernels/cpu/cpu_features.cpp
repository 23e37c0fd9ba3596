#include "kernels/cpu/cpu_features.h"

#include <cpuid.h>

namespace packhorse::cpu {
namespace {

/// Clang's __builtin_cpu_supports does not know it.
bool has_f16c() noexcept {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

}  // namespace

// The compiler's check includes XGETBV: a feature counts only when the operating system saves its registers.
uint32_t features() noexcept {
  __builtin_cpu_init();
  uint32_t found = 0;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) found |= avx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    found |= avx512;
  }
  if (__builtin_cpu_supports("avx512vnni")) found |= avx512_vnni;
  if (__builtin_cpu_supports("avx512bf16")) found |= avx512_bf16;
  if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("bmi2")) found |= avx512_vbmi;
  return found;
}

}  // namespace packhorse::cpu
