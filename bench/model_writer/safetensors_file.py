"""Model directories: config.json, tokenizer files and one model.safetensors."""

import json
import struct

import numpy as np

from .hf_encoders import HF_ENCODERS
from .random_codes import as_float

HEADER_BYTES_PER_TENSOR = 4096  # room for all entries that one matrix can make
TORCH_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def is_encoded(encoder, tensor):
    return tensor.role == "linear" or (encoder.with_head and tensor.role == "head")


def encoded(encoder, weights, tensor):
    if is_encoded(encoder, tensor):
        return encoder.linear(weights, tensor)
    x = weights.vector(tensor) if len(tensor.shape) == 1 else weights.matrix(tensor)
    return {tensor.hf_name: (encoder.float_dtype, as_float(x, encoder.float_dtype))}


def metadata(encoder, tensors):
    if not encoder.describe:
        return {"format": "pt"}
    plain = json.dumps({"_type": "Tensor"})
    described = {tensor.hf_name: encoder.describe(*tensor.shape) if is_encoded(encoder, tensor) else plain
                 for tensor in tensors}
    return {"format": "pt", "tensor_names": json.dumps(list(described))} | described


def write_tensors(path, architecture, encoder, weights, progress):
    """Streams the data behind room for the header, which is written last; the format allows spaces after it."""
    tensors = list(architecture.tensors())
    room = HEADER_BYTES_PER_TENSOR * len(tensors)
    header, offset = {"__metadata__": metadata(encoder, tensors)}, 0
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
