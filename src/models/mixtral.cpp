// Mixtral (arXiv 2401.04088): Mistral whose feed-forward parts are mixtures of experts.

#include "models/mixtral.h"

#include "models/llama.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxExperts = 1 << 16;

constexpr std::string_view kArchitectures[] = {"MixtralForCausalLM"};

// Tools that take a model apart to quantize it write the names of the parts that they made.
constexpr ExpertNames kNamings[] = {
    {"block_sparse_moe", {"w1", "w3", "w2"}},
    {"block_sparse_moe", {}},
    {"mlp", {}},
};

}  // namespace

ExpertCounts read_experts(const Config& c) {
  const int64_t all = c.size_or("num_local_experts", 0, kMaxExperts, 0);
  const int64_t used =
      all ? c.size("num_experts_per_tok", 1, kMaxExperts) : c.size_or("num_experts_per_tok", 0, kMaxExperts, 0);
  if (used > all) c.reject("num_experts_per_tok", "more than there are experts (got {}, experts {})", used, all);
  return {all, used};
}

std::unique_ptr<Model> build_mixtral(const Config& config, Loader& loader) {
  ExpertSizes sizes{.n_experts = config.size("num_local_experts", 1, kMaxExperts), .n_used = read_experts(config).used};
  const auto experts = [sizes](const Scope& layer, int64_t hidden, int64_t intermediate) mutable {
    sizes.hidden = hidden;
    sizes.intermediate = intermediate;
    return ExpertSet(layer, sizes, kNamings);
  };
  const int64_t window = read_window(config);
  return build_llama(config, loader, {.window = [window](int64_t) { return window; }, .feed_forward = experts});
}

extern const Arch kMixtral{.name = "mixtral", .hf_architectures = kArchitectures, .gguf = {}, .build = build_mixtral};

}  // namespace packhorse
