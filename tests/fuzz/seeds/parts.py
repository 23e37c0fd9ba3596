"""What the seeds of several targets are made of."""

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 5, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": True, "rope_theta": 10000.0,
    "torch_dtype": "bfloat16", "eos_token_id": 2,
}  # fmt: skip


def parts(*texts):
    """One input that stands for several files."""
    return b"\n---\n".join(text if isinstance(text, bytes) else text.encode() for text in texts)
