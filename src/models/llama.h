#pragma once
// Llama's build function, for architectures that are Llama but for a detail that the loader finds by itself or that is
// named here.

#include <cstdint>
#include <functional>
#include <memory>

#include "nn/loader.h"

namespace packhorse {

/// Positions that a layer's tokens see, themselves included; 0 = all. Empty = all in every layer.
using WindowOfLayer = std::function<int64_t(int64_t layer)>;

std::unique_ptr<Model> build_llama(const Config& config, Loader& loader, const WindowOfLayer& window);
inline std::unique_ptr<Model> build_llama(const Config& config, Loader& loader) {
  return build_llama(config, loader, {});
}
/// "sliding_window" of a config; 0 when it is null or absent.
int64_t read_window(const Config& config);

}  // namespace packhorse
