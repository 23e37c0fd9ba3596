// Mistral (arXiv 2310.06825): Llama whose layers may see a window of positions only. GGUF files of it call themselves
// llama and have no window.

#include "models/llama.h"

namespace packhorse {
namespace {

constexpr std::string_view kArchitectures[] = {"MistralForCausalLM"};

std::unique_ptr<Model> build_mistral(const Config& config, Loader& loader) {
  const int64_t window = read_window(config);
  return build_llama(config, loader, {.window = [window](int64_t) { return window; }});
}

}  // namespace

extern const Arch kMistral{.name = "mistral", .hf_architectures = kArchitectures, .gguf = {}, .build = build_mistral};

}  // namespace packhorse
