"""config.json, generation_config.json and tokenizer_config.json beside good weights."""

import json

from .parts import CONFIG, parts


def seeds():
    def config(**changed):
        kept = {key: value for key, value in (CONFIG | changed).items() if value is not ...}
        return json.dumps(kept)

    generation = json.dumps(
        {
            "temperature": 0.6,
            "top_k": 20,
            "top_p": 0.95,
            "min_p": 0.1,
            "repetition_penalty": 1.1,
            "max_new_tokens": 9,
            "eos_token_id": [1, 2],
        }
    )
    named = json.dumps({"chat_template": [{"name": "default", "template": "{{ messages[0].content }}"}, {"name": 1}]})
    yield "good", parts(config(), generation, named)
    yield "good_qwen2", parts(config(architectures=["Qwen2ForCausalLM"], use_sliding_window=False))
    yield "good_text_config", parts(json.dumps({"architectures": ["LlamaForCausalLM"], "text_config": CONFIG}))
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    yarn = {
        "type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 16,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 1.0,
        "mscale_all_dim": 0.5,
        "truncate": False,
    }
    for name, scaling in {
        "linear": {"type": "linear", "factor": 2.0},
        "dynamic": {"rope_type": "dynamic", "factor": 2.0},
        "llama3": llama3,
        "yarn": yarn,
    }.items():
        yield f"good_rope_{name}", parts(config(rope_scaling=scaling))
        yield f"good_rope_parameters_{name}", parts(
            config(rope_parameters=scaling | {"rope_theta": 5e5}, rope_theta=...)
        )
    for number, text in enumerate(["", "[]", "{", "{}", "null", '{"a":' * 80]):
        yield f"044_config_{number}", parts(text)
    yield "046_auto_map", parts(config(auto_map={"AutoModel": "x.Y"}, trust_remote_code=True))
    for number, value in enumerate([[], "LlamaForCausalLM", 5, ["Nothing"], [None], ...]):
        yield f"047_architectures_{number}", parts(config(architectures=value))
    wrong = {
        "hidden_size": [0, -8, 2**63, 8.5, "8", ..., 2**20], "num_hidden_layers": [0, 10**9, 3], "vocab_size": [0, 6,
        ...],
        "num_attention_heads": [0, 3, 2**14], "num_key_value_heads": [0, 3, None], "head_dim": [0, 1, 3, 4096, ...],
        "intermediate_size": [0, 7], "max_position_embeddings": [0, 2**40, ...], "rms_norm_eps": [-1, "x", 1e999],
        "hidden_act": ["gelu", 5], "tie_word_embeddings": ["yes", False], "rope_theta": [0, -1, 1e13],
        "rotary_dim": [2, 5, 8],
        "rope_scaling": [5, {"type": "none"}, {"type": "new"}, {"type": 5}, {"type": "linear"}, {"type": "linear",
        "factor": 0},
                         {"type": "yarn", "factor": 0.5}, {"type": "yarn", "factor": 1e6, "attention_factor": "x"},
                         {"type": "dynamic", "factor": 1e300}, llama3 | {"low_freq_factor": 4.0},
                         llama3 | {"factor": 0}],
        "eos_token_id": [5, -1, [1, [2]], "x", 2**64 - 1], "torch_dtype": [5, "float64"],
    }  # fmt: skip
    for key, values in wrong.items():
        for number, value in enumerate(values):
            yield f"048_{key}_{number}", parts(config(**{key: value}))
    for number, value in enumerate(
        [
            5,
            {"quant_method": 5},
            {"quant_method": "nothing"},
            {"quant_method": "BitsAndBytes", "load_in_4bit": "x"},
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf5"},
            {"quant_method": "gptq", "bits": 17},
        ]
    ):
        yield f"050_quantization_{number}", parts(config(quantization_config=value))
    for number, value in enumerate(
        [
            "[]",
            '{"temperature":"x"}',
            '{"top_k":1e300}',
            '{"temperature":-1}',
            '{"max_new_tokens":-5}',
            '{"eos_token_id":99}',
        ]
    ):
        yield f"079_generation_{number}", parts(config(), value)
    for number, value in enumerate(
        [
            '{"chat_template":5}',
            '{"chat_template":[{"name":1,"template":"x"}]}',
            '{"chat_template":"{% if %}"}',
            '{"chat_template":[5]}',
        ]
    ):
        yield f"062_template_{number}", parts(config(), "", value)
