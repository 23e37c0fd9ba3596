#pragma once
// All architectures of this build.

#include <span>

#include "nn/arch.h"

namespace packhorse {

std::span<const Arch* const> architectures();

}  // namespace packhorse
