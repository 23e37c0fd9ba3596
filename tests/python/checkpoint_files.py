"""Reads and writes checkpoints with numpy alone, independently of the engine: safetensors, plain tensors of GGUF, and
bitsandbytes' nf4 with nested absmax. A bfloat16 tensor is an array of uint16."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np

_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U8": np.uint8, "I32": np.int32}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def read_safetensors(path):
    data = Path(path).read_bytes()
    (n_header,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + n_header]).items():
        if name != "__metadata__":
            begin, end = (8 + n_header + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, tensor in tensors.items():
        blob = np.ascontiguousarray(tensor).tobytes()
        shape = list(tensor.shape)
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": shape, "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def bf16_to_f32(tensor):
    return (tensor.astype(np.uint32) << 16).view(np.float32)


def f32_to_bf16(tensor):
    bits = tensor.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


class _GgufReader:
    """Walks over a GGUF file whose tensors are F32, F16 or BF16."""

    _SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def __init__(self, data):
        self.data, self.at = data, 8  # after magic and version

    def take(self, code):
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def text(self):
        size = self.take("Q")
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            element, count = self.take("I"), self.take("Q")
            return [self.value(element) for _ in range(count)]
        return self.take(self._SCALARS[kind])


def read_gguf(path):
    """Metadata and tensors; the sizes of a tensor are turned to numpy's order, outermost first."""
    reader = _GgufReader(Path(path).read_bytes())
    n_tensors, n_values = reader.take("Q"), reader.take("Q")
    metadata = {}
    for _ in range(n_values):
        key = reader.text()
        metadata[key] = reader.value(reader.take("I"))
    places = []
    for _ in range(n_tensors):
        name = reader.text()
        shape = [reader.take("Q") for _ in range(reader.take("I"))][::-1]
        places.append((name, shape, {0: np.float32, 1: np.float16, 30: np.uint16}[reader.take("I")], reader.take("Q")))
    alignment = metadata.get("general.alignment", 32)
    start = -(-reader.at // alignment) * alignment
    tensors = {
        name: np.frombuffer(reader.data, dtype, int(np.prod(shape)), start + offset).reshape(shape)
        for name, shape, dtype, offset in places
    }
    return metadata, tensors


_HF_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def llama_weights(gguf_path):
    """Weights of a bfloat16 Llama GGUF as float32 under their Hugging Face names, rows of q and k in their old order."""
    metadata, tensors = read_gguf(gguf_path)
    heads = {"attn_q": metadata["llama.attention.head_count"], "attn_k": metadata["llama.attention.head_count_kv"]}
    weights = {}
    for name, tensor in tensors.items():
        values = bf16_to_f32(tensor) if tensor.dtype == np.uint16 else tensor.astype(np.float32)
        part = name.split(".")
        if part[0] == "blk":
            if part[2] in heads:  # llama.cpp interleaves the halves of a head
                head = values.reshape(heads[part[2]], -1, 2, values.shape[1])
                values = head.swapaxes(1, 2).reshape(values.shape)
            weights[f"model.layers.{part[1]}.{_HF_NAMES[part[2]]}.weight"] = values
        else:
            known = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
            weights[f"{known[part[0]]}.weight"] = values
    return weights


def is_linear(name):
    return "_proj" in name


NF4 = np.array(
    [-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
     -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
     0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1], np.float32)  # fmt: skip


def nearest_code(table, values):
    """Index of the nearest entry by a table of 65,536 steps over [-1, 1], as the library's CPU code rounds."""
    steps = (2 * np.arange(65536, dtype=np.float64) / 65535 - 1).astype(np.float32)
    midpoints = ((table[:-1].astype(np.float64) + table[1:]) / 2).astype(np.float32)
    lookup = np.searchsorted(midpoints, steps, side="left").astype(np.uint8)
    return lookup[np.rint((values + np.float32(1)) / 2 * 65535).astype(np.int64)]


def quantize_nf4_nested(weight, dtype_name, dynamic_map):
    """The tensors that stand for one float32 weight [N, K], without the name of the weight."""
    blocks = weight.reshape(-1, 64)
    absmax = np.abs(blocks).max(axis=1)
    scaled = blocks * (np.float32(1) / np.maximum(absmax, np.float32(1e-38)))[:, None]
    midpoints = (NF4[:-1] + NF4[1:]) / np.float32(2)
    codes = np.searchsorted(midpoints, scaled.reshape(-1), side="left").astype(np.uint8)
    offset = absmax.mean(dtype=np.float32)
    padded = np.zeros(-(-absmax.size // 256) * 256, np.float32)
    padded[: absmax.size] = absmax - offset
    nested = np.abs(padded.reshape(-1, 256)).max(axis=1)
    relative = (padded.reshape(-1, 256) / nested[:, None]).reshape(-1)[: absmax.size]
    state = {
        "quant_type": "nf4", "blocksize": 64, "dtype": dtype_name, "shape": list(weight.shape), "nested_blocksize": 256,
        "nested_dtype": "float32", "nested_offset": float(offset),
    }  # fmt: skip
    return {
        "": (codes[0::2] << 4 | codes[1::2]).reshape(-1, 1),
        ".absmax": nearest_code(dynamic_map, relative),
        ".quant_map": NF4,
        ".nested_absmax": nested,
        ".nested_quant_map": dynamic_map,
        ".quant_state.bitsandbytes__nf4": np.frombuffer(json.dumps(state).encode(), np.uint8),
    }


_CASTS = {
    "float32": lambda values: values,
    "float16": lambda values: values.astype(np.float16),
    "bfloat16": f32_to_bf16,
}
_WIDEN = {"float32": lambda t: t, "float16": lambda t: t.astype(np.float32), "bfloat16": bf16_to_f32}


def _write_directory(folder, like, dtype, quantization, tensors):
    """A model directory with the tokenizer of `like` and its config under another dtype and quantization."""
    folder.mkdir(parents=True)
    config = json.loads((like / "config.json").read_text())
    config.pop("quantization_config")
    config |= {"dtype": dtype} | ({"quantization_config": quantization} if quantization else {})
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(like / name, folder / name)
    write_safetensors(folder / "model.safetensors", tensors)


def write_float_directory(folder, like, weights, dtype):
    _write_directory(folder, like, dtype, None, {name: _CASTS[dtype](values) for name, values in weights.items()})


def write_nf4_directory(folder, like, weights, dtype):
    """What quantizing the float directory of the same dtype gives: codes come from the weights in that dtype."""
    dynamic_map = next(
        tensor for name, tensor in read_safetensors(like / "model.safetensors").items() if "nested_quant_map" in name
    )
    tensors = {}
    for name, values in weights.items():
        stored = _CASTS[dtype](values)
        if not is_linear(name):
            tensors[name] = stored
            continue
        for suffix, tensor in quantize_nf4_nested(_WIDEN[dtype](stored), dtype, dynamic_map).items():
            tensors[name + suffix] = tensor
    quantization = json.loads((like / "config.json").read_text())["quantization_config"]
    _write_directory(folder, like, dtype, quantization, tensors)


def add_to_hub(cache, repo, directory, commit="0123456789abcdef"):
    """Puts a model directory into a hub cache, by links into blobs as the hub's own client does."""
    repo_folder = cache / ("models--" + repo.replace("/", "--"))
    snapshot = repo_folder / "snapshots" / commit
    for path in (repo_folder / "refs", repo_folder / "blobs", snapshot):
        path.mkdir(parents=True)
    (repo_folder / "refs" / "main").write_text(commit)
    for number, file in enumerate(sorted(directory.iterdir())):
        blob = repo_folder / "blobs" / f"{number:040x}"
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
