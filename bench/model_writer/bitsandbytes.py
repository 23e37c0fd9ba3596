"""Encoders of bitsandbytes, nf4 and fp4 (absmax plain or nested) and LLM.int8(), by the rules of its CPU backend."""

import json

import numpy as np

BLOCK, NESTED_BLOCK = 64, 256
NF4 = np.array([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], dtype=np.float32)
FP4 = np.array([0, 0.0625, 8, 12, 4, 6, 2, 3, -0.0, -0.0625, -8, -12, -4, -6, -2, -3], np.float32) / np.float32(12)


def dynamic_map():
    """The 256 values of an 8-bit absmax code: seven decades, each with twice the cells of the one below it, both signs.

    The rounding is that of the library's own table: one per cell edge, which is counted from the nearer end.
    """
    positive = []
    for i in range(7):
        cells = 2**i
        at = np.arange(cells + 1)
        step = (np.float32(1) - np.float32(0.1)) / np.float32(cells)
        from_below = np.float64(np.float32(0.1)) + np.float64(step) * at
        from_above = 1 - np.float64(step) * (cells - at)
        edges = np.where(at < (cells + 1) // 2, from_below, from_above).astype(np.float32)
        positive.append((edges[:-1] + edges[1:]) / np.float32(2) * np.float32(10.0**(i - 6)))
    positive = np.concatenate(positive)
    return np.sort(np.concatenate([positive, -positive, np.array([0, 1], np.float32)]))


DYNAMIC = dynamic_map()


class FourBitBlocks:
    """Blocks of the flat matrix: 32 bytes of codes, the first of a pair in the high half, then the float32 absmax."""

    block, block_bytes = BLOCK, BLOCK // 2 + 4

    def __init__(self, table):
        self.table = table
        self.codes = np.argsort(table, kind="stable").astype(np.uint8)
        values = table[self.codes]
        self.midpoints = (values[:-1] + values[1:]) / np.float32(2)

    def encode(self, x):
        absmax = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-38))
        codes = self.codes[np.searchsorted(self.midpoints, x * (np.float32(1) / absmax), side="left")]
        packed = (codes[:, 0::2] << 4) | codes[:, 1::2]
        return np.concatenate([packed, absmax.view(np.uint8)], axis=1)


ENCODERS = {"nf4": FourBitBlocks(NF4), "fp4": FourBitBlocks(FP4)}


def nearest_dynamic_codes():
    """Code nearest to each of 65,536 points of [-1, 1]: the library's table for nested absmax."""
    points = np.linspace(-1, 1, 65536)
    right = np.clip(np.searchsorted(DYNAMIC, points), 1, 255)
    closer_left = points - DYNAMIC[right - 1] <= DYNAMIC[right] - points
    return (right - closer_left).astype(np.uint8)


def nest(absmax):
    """8-bit codes, float32 scale per 256 of them, and the offset."""
    offset = absmax.mean(dtype=np.float32)
    padded = np.pad(absmax - offset, (0, -len(absmax) % NESTED_BLOCK)).reshape(-1, NESTED_BLOCK)
    scales = np.maximum(np.abs(padded).max(axis=1), np.float32(1e-38))
    y = padded * (np.float32(1) / scales)[:, None]
    at = np.clip(np.rint((y + 1) / np.float32(2) * np.float32(65535)), 0, 65535).astype(np.int64)
    return nearest_dynamic_codes()[at].reshape(-1)[:len(absmax)], scales, offset


def four_bit_linear(weights, tensor, kind, nested=False):
    encoder = ENCODERS[kind]
    blocks = np.concatenate(list(weights.blocks(tensor, encoder)))
    n_codes = (int(np.prod(tensor.shape)) + 1) // 2
    absmax = np.ascontiguousarray(blocks[:, BLOCK // 2:]).view(np.float32).reshape(-1)
    state = {"quant_type": kind, "blocksize": BLOCK, "dtype": "bfloat16", "shape": list(tensor.shape)}
    name = tensor.hf_name
    tensors = {name: ("U8", np.ascontiguousarray(blocks[:, :BLOCK // 2]).reshape(-1)[:n_codes, None])}
    if nested:
        codes, scales, offset = nest(absmax)
        state |= {"nested_blocksize": NESTED_BLOCK, "nested_dtype": "float32", "nested_offset": float(offset)}
        tensors |= {name + ".absmax": ("U8", codes), name + ".nested_absmax": ("F32", scales),
                    name + ".nested_quant_map": ("F32", DYNAMIC)}
    else:
        tensors |= {name + ".absmax": ("F32", absmax)}
    text = np.frombuffer(json.dumps(state).encode(), dtype=np.uint8)
    return tensors | {name + ".quant_map": ("F32", encoder.table),
                      f"{name}.quant_state.bitsandbytes__{kind}": ("U8", text)}


def int8_linear(weights, tensor):
    x = weights.matrix(tensor).astype(np.float16).astype(np.float32)
    absmax = np.abs(x).max(axis=1)
    factor = np.float32(127) * (np.float32(1) / absmax)
    module = tensor.hf_name.removesuffix("weight")
    return {tensor.hf_name: ("I8", np.rint(x * factor[:, None]).astype(np.int8)),
            module + "SCB": ("F32", absmax),
            module + "weight_format": ("U8", np.zeros((), np.uint8))}


def quantization_config(bits, nested=False, kind="nf4"):
    return {
        "quant_method": "bitsandbytes",
        "load_in_4bit": bits == 4, "load_in_8bit": bits == 8, "_load_in_4bit": bits == 4, "_load_in_8bit": bits == 8,
        "bnb_4bit_quant_type": kind, "bnb_4bit_use_double_quant": nested, "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_quant_storage": "uint8", "llm_int8_threshold": 6.0, "llm_int8_skip_modules": None,
        "llm_int8_has_fp16_weight": False, "llm_int8_enable_fp32_cpu_offload": False,
    }
