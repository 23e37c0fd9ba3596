#pragma once
// All architectures of this build.

#include <span>

#include "nn/loader.h"

namespace packhorse {

std::span<const Arch* const> architectures();

/// The architecture of a checkpoint, by config.json's "architectures" or GGUF's general.architecture. Error{model} that lists what
/// is known.
const Arch& find_arch(const CheckpointView& view);

}  // namespace packhorse
