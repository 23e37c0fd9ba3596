"""The tensors of a Llama or Qwen2 model, with their names in both containers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    hf_name: str
    gguf_name: str
    shape: tuple[int, ...]  # [N, K] of a matrix, [N] of a norm or bias
    role: str  # "embedding", "linear", "head", "norm" or "bias"
    rope_heads: int = 0  # heads whose rows GGUF permutes; 0 = rows stay in order


@dataclass(frozen=True)
class Architecture:
    name: str  # "llama" or "qwen2", the same in config.json and in GGUF
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    max_positions: int = 4096
    rms_eps: float = 1e-5

    @property
    def qkv_bias(self):
        return self.name == "qwen2"

    @property
    def rope_theta(self):
        return 1e6 if self.name == "qwen2" else 1e4

    def tensors(self):
        """All tensors in the order in which they are written."""
        yield Tensor("model.embed_tokens.weight", "token_embd.weight", (self.vocab, self.hidden), "embedding")
        for layer in range(self.layers):
            yield from self._layer(f"model.layers.{layer}.", f"blk.{layer}.")
        yield Tensor("model.norm.weight", "output_norm.weight", (self.hidden,), "norm")
        if not self.tied:
            yield Tensor("lm_head.weight", "output.weight", (self.vocab, self.hidden), "head")

    def _layer(self, hf, gguf):
        q_rows, kv_rows = self.heads * self.head_dim, self.kv_heads * self.head_dim
        interleaved_rope = self.name == "llama"
        yield Tensor(hf + "input_layernorm.weight", gguf + "attn_norm.weight", (self.hidden,), "norm")
        for letter, rows, rope_heads in (("q", q_rows, self.heads), ("k", kv_rows, self.kv_heads), ("v", kv_rows, 0)):
            permuted = rope_heads if interleaved_rope else 0
            hf_module, gguf_module = f"{hf}self_attn.{letter}_proj", f"{gguf}attn_{letter}"
            yield Tensor(hf_module + ".weight", gguf_module + ".weight", (rows, self.hidden), "linear", permuted)
            if self.qkv_bias:
                yield Tensor(hf_module + ".bias", gguf_module + ".bias", (rows,), "bias", permuted)
        yield Tensor(hf + "self_attn.o_proj.weight", gguf + "attn_output.weight", (self.hidden, q_rows), "linear")
        yield Tensor(hf + "post_attention_layernorm.weight", gguf + "ffn_norm.weight", (self.hidden,), "norm")
        for part, rows, cols in (("gate", self.intermediate, self.hidden), ("up", self.intermediate, self.hidden),
                                 ("down", self.hidden, self.intermediate)):
            yield Tensor(f"{hf}mlp.{part}_proj.weight", f"{gguf}ffn_{part}.weight", (rows, cols), "linear")

    def gguf_metadata(self):
        """(key, value type, value) of the hyper-parameters."""
        prefix = self.name + "."
        return [
            (prefix + "block_count", "u32", self.layers),
            (prefix + "context_length", "u32", self.max_positions),
            (prefix + "embedding_length", "u32", self.hidden),
            (prefix + "feed_forward_length", "u32", self.intermediate),
            (prefix + "attention.head_count", "u32", self.heads),
            (prefix + "attention.head_count_kv", "u32", self.kv_heads),
            (prefix + "attention.key_length", "u32", self.head_dim),
            (prefix + "attention.value_length", "u32", self.head_dim),
            (prefix + "attention.layer_norm_rms_epsilon", "f32", self.rms_eps),
            (prefix + "rope.dimension_count", "u32", self.head_dim),
            (prefix + "rope.freq_base", "f32", self.rope_theta),
            (prefix + "vocab_size", "u32", self.vocab),
        ]

    def hf_config(self):
        config = {
            "architectures": ["Qwen2ForCausalLM" if self.name == "qwen2" else "LlamaForCausalLM"],
            "model_type": self.name,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.max_positions,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "rms_norm_eps": self.rms_eps,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "bfloat16",
            "vocab_size": self.vocab,
        }
        if self.name == "llama":
            config |= {"attention_bias": False, "mlp_bias": False}
        return config
