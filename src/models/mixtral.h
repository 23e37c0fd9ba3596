#pragma once
// Mixtral, for architectures whose files may also hold one.

#include <cstdint>
#include <memory>

#include "nn/config.h"
#include "nn/loader.h"

namespace packhorse {

/// Experts of a layer, and how many of them serve a token; none in a dense model.
struct ExpertCounts {
  int64_t all = 0, used = 0;
};
ExpertCounts read_experts(const Config& config);

std::unique_ptr<Model> build_mixtral(const Config& config, Loader& loader);

}  // namespace packhorse
