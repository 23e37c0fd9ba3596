#pragma once
// Four values side by side, in a vector register of the baseline instruction set.

#include <cstddef>
#include <cstdint>

namespace packhorse {

using FloatLanes = float __attribute__((vector_size(16)));
using IntLanes = int32_t __attribute__((vector_size(16)));
inline constexpr size_t kLanes = 4;

}  // namespace packhorse
