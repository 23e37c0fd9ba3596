#pragma once
// Llama's build function, for architectures that are Llama but for a detail that the loader finds by itself.

#include <memory>

#include "nn/loader.h"

namespace packhorse {

std::unique_ptr<Model> build_llama(const Config& config, Loader& loader);

}  // namespace packhorse
