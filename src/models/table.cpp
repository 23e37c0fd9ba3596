// A new architecture is one line here.

#include "models/table.h"

#define PACKHORSE_ARCHITECTURES(X) X(kLlama) X(kMistral) X(kMixtral) X(kQwen2)

namespace packhorse {

#define X(arch) extern const Arch arch;
PACKHORSE_ARCHITECTURES(X)
#undef X

std::span<const Arch* const> architectures() {
#define X(arch) &arch,
  static constexpr const Arch* kArchitectures[] = {PACKHORSE_ARCHITECTURES(X)};
#undef X
  return kArchitectures;
}

}  // namespace packhorse
