// Qwen2 (arXiv 2407.10671): Llama with a bias on Q, K and V, which the loader finds by itself; GGUF keeps its rope rows
// in order.

#include "models/llama.h"

namespace packhorse {
namespace {

constexpr std::string_view kArchitectures[] = {"Qwen2ForCausalLM"};

std::unique_ptr<Model> build_qwen2(const Config& config, Loader& loader) {
  if (config.flag_or("use_sliding_window", false)) {
    config.reject("use_sliding_window", "sliding windows are not supported yet");
  }
  return build_llama(config, loader);
}

}  // namespace

extern const Arch kQwen2{
    .name = "qwen2",
    .hf_architectures = kArchitectures,
    .gguf = {.architecture = "qwen2", .modules = kDecoderModules, .keys = kDecoderKeys},
    .build = build_qwen2,
};

}  // namespace packhorse
