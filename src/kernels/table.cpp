// All kernel sets, the best first. A new set is one line.

#include "kernels/select.h"

#define PACKHORSE_KERNEL_SETS(X) X(kAvx512Bf16) X(kAvx512Vbmi) X(kAvx512Vnni) X(kAvx512) X(kAvx2) X(kRef)

namespace packhorse {

#define X(set) extern const KernelSet set;
PACKHORSE_KERNEL_SETS(X)
#undef X

std::span<const KernelSet* const> kernel_sets() {
#define X(set) &set,
  static constexpr const KernelSet* kSets[] = {PACKHORSE_KERNEL_SETS(X)};
#undef X
  return kSets;
}

}  // namespace packhorse
