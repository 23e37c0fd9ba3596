#pragma once
// Llama's build function, for architectures that are Llama but for a detail that the loader finds by itself or that is
// named here.

#include <cstdint>
#include <functional>
#include <memory>

#include "nn/experts.h"
#include "nn/loader.h"

namespace packhorse {

/// Positions that a layer's tokens see, themselves included; 0 = all. Empty = all in every layer.
using WindowOfLayer = std::function<int64_t(int64_t layer)>;

/// The feed-forward part of a layer, which takes and gives [m, hidden]. Empty = dense in every layer.
using FeedForwardOfLayer = std::function<FeedForward(const Scope& layer, int64_t hidden, int64_t intermediate)>;

/// What an architecture has in another way than Llama.
struct LlamaVariant {
  WindowOfLayer window = {};
  FeedForwardOfLayer feed_forward = {};
};

std::unique_ptr<Model> build_llama(const Config& config, Loader& loader, const LlamaVariant& variant = {});
/// "sliding_window" of a config; 0 when it is null or absent.
int64_t read_window(const Config& config);

}  // namespace packhorse
