"""Model directories: config.json, index and shards."""

import json
import struct
import tempfile
from pathlib import Path

import numpy as np
from checkpoint_files import NF4, write_safetensors

from .parts import CONFIG, parts


def hf_weights(dtype=np.float16, intermediate=6):
    hidden = 8
    weights = {"model.embed_tokens": (5, hidden), "model.norm": (hidden,)}
    for layer in range(1):
        for name, shape in {
            "input_layernorm": (hidden,), "self_attn.q_proj": (8, hidden), "self_attn.k_proj": (4, hidden),
            "self_attn.v_proj": (4, hidden), "self_attn.o_proj": (hidden, 8), "post_attention_layernorm": (hidden,),
            "mlp.gate_proj": (intermediate, hidden), "mlp.up_proj": (intermediate, hidden), "mlp.down_proj": (hidden,
            intermediate),
        }.items():  # fmt: skip
            weights[f"model.layers.{layer}.{name}"] = shape
    random = np.random.default_rng(1)
    return {f"{name}.weight": random.normal(size=shape).astype(dtype) for name, shape in weights.items()}


def safetensors(tensors):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_safetensors(path, tensors)
        return path.read_bytes()


def with_header(header, n_data):
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text)) + text + bytes(n_data % 251 for n_data in range(n_data))


def index_of(shards):
    weight_map = {name: shard for shard, names in shards.items() for name in names}
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def bitsandbytes_model(kind):
    config = CONFIG | {"num_hidden_layers": 1, "intermediate_size": 8}
    tensors = {}
    for name, values in hf_weights(np.float32, 8).items():
        if "q_proj" not in name and "down_proj" not in name:  # two are enough
            tensors[name] = values
            continue
        if kind == "int8":
            tensors[name] = np.zeros(values.shape, np.uint8)
            tensors[name.replace(".weight", ".SCB")] = np.ones(values.shape[0], np.float32)
            continue
        blocks = -(-values.size // 64)
        state = {"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": list(values.shape)}
        tensors[name] = np.arange((values.size + 1) // 2, dtype=np.uint8).reshape(-1, 1)
        tensors[name + ".quant_map"] = NF4
        tensors[name + ".absmax"] = np.ones(blocks, np.float32)
        if kind == "nested":
            state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5}
            tensors[name + ".absmax"] = np.ones(blocks, np.uint8)
            tensors[name + ".nested_absmax"] = np.ones(1, np.float32)
            tensors[name + ".nested_quant_map"] = np.linspace(-1, 1, 256, dtype=np.float32)
        tensors[name + ".quant_state.bitsandbytes__nf4"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    config["quantization_config"] = {
        "quant_method": "bitsandbytes",
        "load_in_8bit": kind == "int8",
        "load_in_4bit": kind != "int8",
    }
    data = safetensors(tensors)
    return parts(
        json.dumps(config),
        "",
        data.replace(b'"U8", "shape": [8, 8]', b'"I8", "shape": [8, 8]') if kind == "int8" else data,
    )


def seeds():
    one = json.dumps(CONFIG | {"num_hidden_layers": 1})
    yield "good_f16", parts(one, "", safetensors(hf_weights()))
    yield "good_f32", parts(one, "", safetensors(hf_weights(dtype=np.float32)))
    untied = hf_weights() | {"lm_head.weight": np.ones((5, 8), np.float16)}
    yield "good_untied", parts(
        json.dumps(CONFIG | {"num_hidden_layers": 1, "tie_word_embeddings": False}), "", safetensors(untied)
    )
    for kind in ("nested", "flat", "int8"):
        yield f"good_bitsandbytes_{kind}", bitsandbytes_model(kind)
    weights = hf_weights()
    names = list(weights)
    halves = [{name: weights[name] for name in names[:5]}, {name: weights[name] for name in names[5:]}]
    data = [safetensors(half) for half in halves]
    yield "good_index", parts(one, index_of(dict(zip(SHARDS, halves))), *data)
    yield "good_no_index", parts(one, "", *data)

    header = (
        '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16",'
        '"shape":[4],"data_offsets":[24,32]},"none":{"dtype":"I8","shape":[0,7],"data_offsets":[32,32]},"s":{"dtype":"U8",'
        '"shape":[],"data_offsets":[32,33]}}  '
    )

    def model(shard, index=""):
        return parts('{"architectures":["LlamaForCausalLM"]}', index, shard)

    yield "good_header", model(with_header(header, 33))
    good = with_header(header, 33)
    for n in (1, 7, 8, 9, 60, len(good) - 1):
        yield f"031_cut_{n}", model(good[:n])
    for n in (0, 1, 2**63, 2**64 - 1, len(good), 10**8 + 1):
        yield f"031_length_{n}", model(struct.pack("<Q", n) + good[8:])
    for number, text in enumerate([b"\xff\xfe", b"[]", b"{} x", b'{"a\0":1}', b"", b'{"\\ud800":1}']):
        yield f"032_header_{number}", model(with_header(text, 0))
    yield "033_nested", model(with_header("[" * 200, 0))
    for row, old, new in [
        ("033_float", "[2,3]", "[2,1e999]"), ("033_minus", "[2,3]", "[2,-0]"), ("033_digits", "[2,3]",
        "[2,99999999999999999999]"),
        ("034_twice", '"b":', '"a":'), ("034_shape", '"shape":[4],', '"shape":[4],"shape":[4],'),
        ("035_none", ',"data_offsets":[0,24]', ""), ("035_three", "[0,24]", "[0,24,24]"), ("035_turned", "[24,32]",
        "[32,24]"),
        ("035_minus", "[0,24]", "[-1,24]"), ("035_text", "[0,24]", '"0,24"'), ("036_longer", "[2,3]", "[2,4]"),
        ("036_shorter", "[2,3]", "[2,2]"), ("037_past", "[32,33]", "[32,99]"), ("038_wraps", "[2,3]",
        "[4294967296,4294967296]"),
        ("039_overlap", "[24,32]", "[20,28]"), ("039_hole", "[32,33]", "[33,34]"), ("040_f6", '"F32"', '"F6"'),
        ("040_f4", '"F32"', '"F4"'), ("041_metadata", '{"format":"pt"}', '{"format":1}'), ("041_list",
        '{"format":"pt"}', "[]"),
    ]:  # fmt: skip
        yield row, model(with_header(header.replace(old, new, 1), 33))
    for number, shard in enumerate(
        ["../../x.safetensors", "/x.safetensors", "a/../../b.safetensors", "", "a\0b.safetensors", 5, SHARDS[1]]
    ):
        yield f"042_shard_{number}", model(good, json.dumps({"weight_map": {"a": shard}}))
    for number, names in enumerate([["a", "b"], ["a", "c"], ["a", "b", "none", "s"]]):
        yield f"043_index_{number}", model(good, index_of({SHARDS[0]: names}))
    for number, index in enumerate(["[]", "{}", '{"weight_map":[]}', '{"weight_map":{}}', "{"]):
        yield f"044_index_{number}", model(good, index)
    nested = bitsandbytes_model("nested")
    for number, (old, new) in enumerate([
        (b'"blocksize": 64', b'"blocksize": 0 '), (b'"blocksize": 64', b'"blocksize": 63'), (b'"shape": [8, 8]',
        b'"shape": [9, 8]'),
        (b'"nested_offset": 0.5', b'"nested_offset": 1e9'), (b'"nf4"', b'"fp4"'), (b"nested_absmax", b"nested_absent"),
        (b'{"quant_type"', b'["quant_type"'), (b'"nested_blocksize": 256', b'"nested_blocksize": 000'),
    ]):  # fmt: skip
        yield f"053_state_{number}", nested.replace(old, new)
