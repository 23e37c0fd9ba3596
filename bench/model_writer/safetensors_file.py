"""Model directories: config.json, tokenizer files and one model.safetensors. A new format is a row of HF_ENCODERS."""

import json
import struct
from dataclasses import dataclass
from typing import Callable

import numpy as np

from . import bitsandbytes
from .weights import to_bfloat16_bits

HEADER_BYTES_PER_TENSOR = 4096  # room for all entries that one matrix can make


@dataclass(frozen=True)
class HfEncoder:
    linear: Callable  # (weights, tensor) -> {name: (safetensors dtype, array)}
    quantization_config: dict | None = None
    float_dtype: str = "BF16"  # of what stays float: embeddings, head, norms, biases


def as_float(x, dtype):
    return {"BF16": to_bfloat16_bits, "F16": lambda y: y.astype(np.float16), "F32": lambda y: y}[dtype](x)


def float_linear(dtype):
    return lambda weights, tensor: {tensor.hf_name: (dtype, as_float(weights.matrix(tensor), dtype))}


HF_ENCODERS = {
    "bf16": HfEncoder(float_linear("BF16")),
    "f16": HfEncoder(float_linear("F16"), float_dtype="F16"),
    "f32": HfEncoder(float_linear("F32"), float_dtype="F32"),
    "nf4": HfEncoder(lambda weights, tensor: bitsandbytes.nf4_linear(weights, tensor, nested=False),
                     bitsandbytes.quantization_config(4)),
    "nf4-nested": HfEncoder(lambda weights, tensor: bitsandbytes.nf4_linear(weights, tensor, nested=True),
                            bitsandbytes.quantization_config(4, nested=True)),
    "int8": HfEncoder(bitsandbytes.int8_linear, bitsandbytes.quantization_config(8)),
}
TORCH_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def encoded(encoder, weights, tensor):
    if tensor.role == "linear":
        return encoder.linear(weights, tensor)
    x = weights.vector(tensor) if len(tensor.shape) == 1 else weights.matrix(tensor)
    return {tensor.hf_name: (encoder.float_dtype, as_float(x, encoder.float_dtype))}


def write_tensors(path, architecture, encoder, weights, progress):
    """Streams the data behind room for the header, which is written last; the format allows spaces after it."""
    tensors = list(architecture.tensors())
    room = HEADER_BYTES_PER_TENSOR * len(tensors)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    with open(path, "wb") as file:
        file.seek(8 + room)
        for tensor in progress(tensors):
            for name, (dtype, array) in encoded(encoder, weights, tensor).items():
                end = offset + array.nbytes
                header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
                offset = end
                file.write(np.ascontiguousarray(array))
        text = json.dumps(header, separators=(",", ":")).encode()
        assert len(text) <= room
        file.seek(0)
        file.write(struct.pack("<Q", room) + text.ljust(room))


def write(path, architecture, weights, vocabulary, encoding, progress):
    encoder = HF_ENCODERS[encoding]
    path.mkdir(parents=True, exist_ok=True)
    config = architecture.hf_config() | {"bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos,
                                         "torch_dtype": TORCH_DTYPES[encoder.float_dtype]}
    if encoder.quantization_config:
        config["quantization_config"] = encoder.quantization_config
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name, data in vocabulary.hf_files().items():
        (path / name).write_bytes(data)
    write_tensors(path / "model.safetensors", architecture, encoder, weights, progress)
