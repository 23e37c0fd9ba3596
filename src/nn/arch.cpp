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
};

std::string known(std::span<const Arch* const> architectures, bool gguf) {
  std::string names;
  for (const Arch* arch : architectures) {
    if (gguf)
      names += (names.empty() ? "" : ", ") + std::string(arch->gguf.architecture);
    else
      for (const std::string_view name : arch->hf_architectures)
        names += (names.empty() ? "" : ", ") + std::string(name);
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
    fail_model("{}: {}: expected a name (got {}; supported: {})", printable(view.path), where, printable(found->dump()),
               known(architectures, gguf));
  const auto text = name.get<std::string>();
  for (const Arch* arch : architectures) {
    if (gguf ? arch->gguf.architecture == text
             : std::ranges::find(arch->hf_architectures, text) != arch->hf_architectures.end())
      return *arch;
  }
  fail_model("{}: {}: '{}' is not supported (supported: {})", printable(view.path), where, printable(text),
             known(architectures, gguf));
}

}  // namespace packhorse
