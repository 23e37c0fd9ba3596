#include "nn/arch.h"

#include <algorithm>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr ModuleName kModules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "blk.{}.attn_norm"},
    {"model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
    {"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"},
    {"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"},
    {"model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"},
    {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"},
    {"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"},
    {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"},
    {"model.layers.{}.block_sparse_moe.gate", "blk.{}.ffn_gate_inp"},
    {"model.layers.{}.block_sparse_moe.experts.w1", "blk.{}.ffn_gate_exps"},
    {"model.layers.{}.block_sparse_moe.experts.w3", "blk.{}.ffn_up_exps"},
    {"model.layers.{}.block_sparse_moe.experts.w2", "blk.{}.ffn_down_exps"},
    // Before experts were stacked:
    {"model.layers.{}.block_sparse_moe.experts.{}.w1", "blk.{}.ffn_gate.{}"},
    {"model.layers.{}.block_sparse_moe.experts.{}.w3", "blk.{}.ffn_up.{}"},
    {"model.layers.{}.block_sparse_moe.experts.{}.w2", "blk.{}.ffn_down.{}"},
};
constexpr ConfigKey kKeys[] = {
    {"num_hidden_layers", "block_count"},
    {"hidden_size", "embedding_length"},
    {"intermediate_size", "feed_forward_length"},
    {"num_attention_heads", "attention.head_count"},
    {"num_key_value_heads", "attention.head_count_kv"},
    {"head_dim", "attention.key_length"},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
    {"max_position_embeddings", "context_length"},
    {"rope_theta", "rope.freq_base"},
    {"rotary_dim", "rope.dimension_count"},
    {"vocab_size", "vocab_size"},
    {"num_local_experts", "expert_count"},
    {"num_experts_per_tok", "expert_used_count"},
};

/// What a kind of container calls an architecture; nothing where GGUF has no name for it.
std::span<const std::string_view> names_of(const Arch& arch, bool gguf) {
  if (!gguf) return arch.hf_architectures;
  return {&arch.gguf.architecture, arch.gguf.architecture.empty() ? 0u : 1u};
}

std::string known(std::span<const Arch* const> architectures, bool gguf) {
  std::string names;
  for (const Arch* arch : architectures) {
    for (const std::string_view name : names_of(*arch, gguf)) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

}  // namespace

const std::span<const ModuleName> kDecoderModules = kModules;
const std::span<const ConfigKey> kDecoderKeys = kKeys;

const Arch& find_arch(std::span<const Arch* const> architectures, const CheckpointView& view) {
  const bool gguf = view.is_gguf();
  const std::string where = gguf ? "general.architecture" : "config.json: architectures";
  const Json& holder = gguf ? view.gguf : view.config;
  const auto found = holder.find(gguf ? "general.architecture" : "architectures");
  if (found == holder.end())
    fail_model("{}: {}: missing (supported: {})", printable(view.path), where, known(architectures, gguf));
  const Json name = gguf ? *found : found->is_array() && !found->empty() ? (*found)[0] : Json();
  if (!name.is_string())
    fail_model("{}: {}: expected a name (got {}; supported: {})", printable(view.path), where, preview(*found),
               known(architectures, gguf));
  const auto text = name.get<std::string>();
  for (const Arch* arch : architectures) {
    const auto names = names_of(*arch, gguf);
    if (std::ranges::find(names, text) != names.end()) return *arch;
  }
  fail_model("{}: {}: '{}' is not supported (supported: {})", printable(view.path), where, printable(text),
             known(architectures, gguf));
}

}  // namespace packhorse
