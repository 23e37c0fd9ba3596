// The dialects, in order of precedence of `claims`.

#include "formats/format.h"

namespace packhorse {

#define PACKHORSE_FORMATS(row) row(kGguf) row(kBitsandbytes) row(kCompressedTensors) row(kPlain)

#define PACKHORSE_DECLARE(name) extern const Format name;
PACKHORSE_FORMATS(PACKHORSE_DECLARE)
#undef PACKHORSE_DECLARE

std::span<const Format* const> formats() {
#define PACKHORSE_ADDRESS(name) &name,
  static constexpr const Format* kRows[] = {PACKHORSE_FORMATS(PACKHORSE_ADDRESS)};
#undef PACKHORSE_ADDRESS
  return kRows;
}

}  // namespace packhorse
