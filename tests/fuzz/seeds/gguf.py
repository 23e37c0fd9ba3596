"""GGUF files: every weight type, vocabularies, and one fault each."""

import struct

import numpy as np

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}


def gguf_string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def gguf_value(kind, value):
    if kind == STRING:
        return gguf_string(value)
    if kind == ARRAY:
        element, values = value
        return struct.pack("<IQ", element, len(values)) + b"".join(gguf_value(element, v) for v in values)
    return struct.pack("<" + _CODES[kind], value)


# type id: elements and bytes of a block
GGML = {"f32": (0, 1, 4), "f16": (1, 1, 2), "q4_0": (2, 32, 18), "q4_1": (3, 32, 20), "q5_0": (6, 32, 22),
        "q5_1": (7, 32, 24), "q8_0": (8, 32, 34), "q2_k": (10, 256, 84), "q3_k": (11, 256, 110), "q4_k": (12, 256, 144),
        "q5_k": (13, 256, 176), "q6_k": (14, 256, 210), "bf16": (30, 1, 2)}  # fmt: skip


def gguf(keys, tensors, version=3, alignment=32):
    """keys: {name: (type, value)}; tensors: [(name, dims with K first, type name)]."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, (kind, value) in keys.items():
        out += gguf_string(name) + struct.pack("<I", kind) + gguf_value(kind, value)
    data = b""
    random = np.random.default_rng(0)
    for name, dims, kind in tensors:
        number, elements, size = GGML[kind]
        out += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, len(data))
        n_bytes = int(np.prod(dims)) // elements * size
        data += bytes(random.integers(0, 60, n_bytes, np.uint8))
        data += b"\0" * (-len(data) % alignment)
    return out + b"\0" * (-len(out) % alignment) + data


def llama_keys(architecture="llama", hidden=32, vocab=22):
    keys = {"general.architecture": (STRING, architecture), "general.alignment": (U32, 32)}
    for name, kind, value in [
        ("block_count", U32, 1), ("embedding_length", U32, hidden), ("feed_forward_length", U32, 2),
        ("attention.head_count", U32, 1), ("attention.head_count_kv", U32, 1), ("attention.key_length", U32, 4),
        ("attention.layer_norm_rms_epsilon", F32, 1e-5), ("context_length", U32, 64), ("rope.freq_base", F32, 1e4),
        ("vocab_size", U32, vocab),
    ]:  # fmt: skip
        keys[f"{architecture}.{name}"] = (kind, value)
    return keys


def llama_tensors(kind, hidden=32, vocab=4, bias=False):
    tensors = [("token_embd.weight", [hidden, vocab], "f16"), ("output_norm.weight", [hidden], "f32")]
    for name, dims in [("attn_q", [hidden, 4]), ("attn_k", [hidden, 4]), ("attn_v", [hidden, 4]),
                       ("ffn_gate", [hidden, 2]), ("ffn_up", [hidden, 2])]:  # fmt: skip
        tensors.append((f"blk.0.{name}.weight", dims, kind))
        if bias and name in ("attn_q", "attn_k", "attn_v"):
            tensors.append((f"blk.0.{name}.bias", [4], "f32"))
    tensors.append(("blk.0.attn_output.weight", [4, hidden], "f16"))
    tensors.append(("blk.0.ffn_down.weight", [2, hidden], "f16"))
    tensors += [("blk.0.attn_norm.weight", [hidden], "f32"), ("blk.0.ffn_norm.weight", [hidden], "f32")]
    return tensors


def spm_keys():
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(0, 256, 16)] + ["▁", "a", "▁a"]
    types = [2, 3, 3] + [6] * 16 + [1, 1, 1]
    return {
        "tokenizer.ggml.model": (STRING, "llama"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.scores": (ARRAY, (F32, [float(-i) for i in range(len(tokens))])),
        "tokenizer.ggml.token_type": (ARRAY, (I32, types)),
        "tokenizer.ggml.bos_token_id": (U32, 1),
        "tokenizer.ggml.eos_token_id": (U32, 2),
        "tokenizer.ggml.unknown_token_id": (U32, 0),
        "tokenizer.ggml.add_bos_token": (BOOL, 1),
        "tokenizer.ggml.add_space_prefix": (BOOL, 1),
        "tokenizer.chat_template": (STRING, "{% for m in messages %}{{ m.content }}{% endfor %}"),
    }


def bpe_keys(pre="llama-bpe"):
    tokens = ["s", "o", "m", "e", "Ġ", "t", "x", "so", "<s>", "Ġt"]
    return {
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, pre),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, [1] * 8 + [3, 1])),
        "tokenizer.ggml.merges": (ARRAY, (STRING, ["s o", "Ġ t"])),
        "tokenizer.ggml.eos_token_id": (U32, 8),
        "tokenizer.ggml.eot_token_id": (U32, 8),
        "tokenizer.ggml.padding_token_id": (U32, 8),
    }


def seeds():
    small = [("token_embd.weight", [32, 2], "q8_0")]
    for kind in ("f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"):
        yield f"good_{kind}", gguf(llama_keys(vocab=4), llama_tensors(kind))
    for kind in ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k"):
        yield f"good_{kind}", gguf(llama_keys(hidden=256, vocab=2), llama_tensors(kind, 256, 2))
    qwen = llama_keys("qwen2", vocab=4)
    del qwen["qwen2.vocab_size"]
    yield "good_qwen2", gguf(qwen, llama_tensors("q4_0", bias=True) + [("output.weight", [32, 4], "q4_0")])
    yield "good_spm", gguf(llama_keys() | spm_keys(), small)
    for pre in ("llama-bpe", "qwen2", "gpt-2"):
        yield f"good_bpe_{pre}", gguf(llama_keys() | bpe_keys(pre), small)
    numbers = {f"n{kind}": (kind, 1) for kind in (U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64)}
    arrays = {f"a{kind}": (ARRAY, (kind, [0, 1, 1])) for kind in (U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64)}
    base = gguf(llama_keys() | numbers | arrays, small)
    yield "good_values", base
    yield "good_rope_freqs", gguf(llama_keys(vocab=4), llama_tensors("q8_0") + [("rope_freqs.weight", [2], "f32")])

    good = gguf({"general.architecture": (STRING, "llama"), "k": (ARRAY, (U16, [1, 2]))}, small)
    yield "good_smallest", good
    for n in (0, 3, 4, 8, 16, 24, 40, 70, 100, 130, len(good) - 1):
        yield f"001_cut_{n}", good[:n]
    for magic in (b"FUGG", b"ggjt", b"PK\3\4", b"<htm", b"vers"):
        yield f"002_magic_{magic[:2].decode()}", magic + good[4:]
    for version in (0, 1, 2, 4, 2**32 - 1, 3 << 24):
        yield f"003_version_{version}", good[:4] + struct.pack("<I", version) + good[8:]
    for field, row in ((8, "005_tensors"), (16, "006_keys"), (24, "007_string")):
        for count in (2**63, 2**64 - 1, 2**32, len(good)):
            yield f"{row}_{count}", good[:field] + struct.pack("<Q", count) + good[field + 8 :]
    at = good.index(struct.pack("<IQ", U16, 2))
    for count in (2**63, 2**30, len(good)):
        yield f"008_array_{count}", good[: at + 4] + struct.pack("<Q", count) + good[at + 12 :]
    for kind in (9, 13, 255):
        yield f"010_element_{kind}", good[:at] + struct.pack("<I", kind) + good[at + 4 :]
        yield f"010_value_{kind}", good[: at - 4] + struct.pack("<I", kind) + good[at:]
    for number, key in enumerate(["", "a" * 70, "a\0b", "a\nb", "a\x1b[0m", b"\xff\xfe"]):
        yield f"011_key_{number}", gguf({key: (U8, 1)} | llama_keys(), small)
    for number, value in enumerate([(BOOL, 2), (F32, float("nan")), (F64, float("inf"))]):
        yield f"013_value_{number}", gguf(llama_keys() | {"x": value}, small)
    for value in (0, 3, 8, 2**31, 2**32 - 8):
        yield f"014_alignment_{value}", gguf(llama_keys() | {"general.alignment": (U32, value)}, small)
    yield "014_alignment_text", gguf(llama_keys() | {"general.alignment": (STRING, "32")}, small)
    for key, values in {
        "block_count": [(STRING, "1"), (U32, 0), (U32, 2**31), (ARRAY, (U32, [1, 1]))],
        "attention.head_count": [(U32, 0), (U32, 3), (ARRAY, (STRING, [b"\xff"]))],
        "attention.head_count_kv": [(U32, 0), (U32, 7)],
        "embedding_length": [(U32, 33), (U64, 2**63), (F32, 32.0)],
        "context_length": [(U32, 0), (U64, 2**40)],
        "rope.dimension_count": [(U32, 999), (U32, 2)],
        "rope.freq_base": [(F32, 0.0), (STRING, b"\xff\xff")],
        "attention.layer_norm_rms_epsilon": [(F32, -1.0), (STRING, "x")],
    }.items():
        for number, value in enumerate(values):
            keys = llama_keys(vocab=4) | {f"llama.{key}": value}
            yield f"016_{key}_{number}", gguf(keys, llama_tensors("q4_0"))
    tensor = good.index(gguf_string("token_embd.weight")) + 8 + len("token_embd.weight")
    for n_dims in (0, 5, 2**32 - 1):
        yield f"018_dims_{n_dims}", good[:tensor] + struct.pack("<I", n_dims) + good[tensor + 4 :]
    for dims in ((0, 2), (2**63, 2), (2**32, 2**32), (2**62, 4), (2**31 + 1, 1), (200, 1), (32, 3)):
        patched = good[: tensor + 4] + struct.pack("<QQ", *dims) + good[tensor + 20 :]
        yield f"019_dims_{dims[0]}_{dims[1]}", patched
    for kind in (4, 5, 9, 29, 39, 255, 2**32 - 1):
        yield f"021_type_{kind}", good[: tensor + 20] + struct.pack("<I", kind) + good[tensor + 24 :]
    for offset in (1, 32, 2**63, 2**64 - 32):
        yield f"023_offset_{offset}", good[: tensor + 24] + struct.pack("<Q", offset) + good[tensor + 32 :]
    yield "024_overlap", gguf(llama_keys(), small + [("b", [32, 1], "f32")])[:-32]
    yield "025_name_twice", gguf(llama_keys(), small + small)
    for number, name in enumerate(["", "n" * 64, "../../x"]):
        yield f"025_name_{number}", gguf(llama_keys(), [(name, [32, 2], "q8_0")])
    yield "026_missing", gguf(llama_keys(vocab=4), llama_tensors("q4_0")[:-3])
    yield "026_shape", gguf(llama_keys(vocab=4, hidden=64), llama_tensors("q4_0"))
    yield "027_split", gguf(llama_keys() | {"split.count": (U16, 3), "split.no": (U16, 1)}, small)
    yield "030_adapter", gguf(llama_keys() | {"general.type": (STRING, "adapter")}, small)
    yield "047_architecture_list", gguf({"general.architecture": (ARRAY, (STRING, [b"\xff"]))}, small)
    for number, change in enumerate([
        {"tokenizer.ggml.tokens": (ARRAY, (STRING, ["a", "a"]))},
        {"tokenizer.ggml.tokens": (ARRAY, (I32, [1, 2]))},
        {"tokenizer.ggml.scores": (ARRAY, (F64, [1e300, 0.0]))},
        {"tokenizer.ggml.token_type": (ARRAY, (F64, [1e300] * 22))},
        {"tokenizer.ggml.token_type": (ARRAY, (I32, [-1] * 22))},
        {"tokenizer.ggml.bos_token_id": (I32, -1)},
        {"tokenizer.ggml.eos_token_id": (U64, 2**63)},
        {"tokenizer.ggml.eos_token_id": (STRING, b"\xff")},
        {"tokenizer.chat_template": (STRING, b"{{ \xff }}")},
    ]):  # fmt: skip
        yield f"057_tokenizer_{number}", gguf(llama_keys() | spm_keys() | change, small)
