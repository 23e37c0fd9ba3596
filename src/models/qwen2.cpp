// Qwen2 (arXiv 2407.10671): Llama with a bias on Q, K and V, which the loader finds by itself, and a window in its
// upper layers if asked for; GGUF keeps its rope rows in order.

#include "models/llama.h"

namespace packhorse {
namespace {

constexpr std::string_view kArchitectures[] = {"Qwen2ForCausalLM"};

std::unique_ptr<Model> build_qwen2(const Config& config, Loader& loader) {
  if (!config.flag_or("use_sliding_window", false)) return build_llama(config, loader);
  const int64_t window = read_window(config), first = config.size_or("max_window_layers", 0, INT32_MAX, 28);
  return build_llama(config, loader, {.window = [=](int64_t layer) { return layer < first ? 0 : window; }});
}

}  // namespace

extern const Arch kQwen2{
    .name = "qwen2",
    .hf_architectures = kArchitectures,
    .gguf = {.architecture = "qwen2", .modules = kDecoderModules, .keys = kDecoderKeys},
    .build = build_qwen2,
};

}  // namespace packhorse
