// The dialects, in order of precedence of `claims`.

#include "formats/format.h"

namespace packhorse {

#define PACKHORSE_FORMATS(row)                                                                                   \
  row(kGguf) row(kBitsandbytes) row(kModelopt) row(kQuark) row(kAutoRoundFloat) row(kIncFp8) row(kMxfp8)         \
      row(kFbgemmFp8) row(kCompressedTensors) row(kBitblas) row(kHqq) row(kTorchAo) row(kMarlin) row(kAutoRound) \
          row(kGptq) row(kAwq) row(kMxfp4) row(kFp8) row(kDeepSpeedFp) row(kGgufBlocks) row(kOnline) row(kRtn)   \
              row(kPlain)

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
