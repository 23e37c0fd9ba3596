#include "kernels/cpu/cpu_features.h"

namespace packhorse::cpu {

// The compiler's check includes XGETBV: a feature counts only when the operating system saves its registers.
uint32_t features() noexcept {
  __builtin_cpu_init();
  uint32_t found = 0;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) found |= avx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    found |= avx512;
  }
  if (__builtin_cpu_supports("avx512vnni")) found |= avx512_vnni;
  return found;
}

}  // namespace packhorse::cpu
