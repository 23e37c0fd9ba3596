"""Random bits in place of quantized weights, where only the layout of a format matters: to memory and speed.

Scales are drawn so that a weight has the size that it has in the float master (weights.py) and all results are finite.
"""

import math
import zlib

import numpy as np

from .weights import to_bfloat16_bits

NUMPY_DTYPES = {"I8": np.int8, "U8": np.uint8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "F8_E4M3": np.uint8}

E2M1_RMS = 2.93  # root mean square of what random bits decode to
E4M3_RMS = 124.0
LARGEST_INPUT = 8.0  # of an activation, for scales that are stored
E4M3_MAX, E2M1_MAX = 448.0, 6.0


def integer_rms(bits):
    return 2**bits / math.sqrt(12)


def as_float(x, dtype):
    return {"BF16": to_bfloat16_bits, "F16": lambda y: y.astype(np.float16), "F32": lambda y: y}[dtype](
        np.asarray(x, dtype=np.float32))


def constant(dtype, value, *shape):
    """(safetensors dtype, array) of one value."""
    if dtype in NUMPY_DTYPES:
        return dtype, np.full(shape, value, NUMPY_DTYPES[dtype])
    return dtype, as_float(np.full(shape, value, np.float32), dtype)


class Draw:
    """Draws the tensors of one matrix [n, k], the same for one seed and name. Each is (safetensors dtype, array)."""

    def __init__(self, seed, tensor):
        self.name = tensor.hf_name.removesuffix(".weight")
        self.n, self.k = tensor.shape
        self.rng = np.random.default_rng([seed, zlib.crc32(tensor.hf_name.encode())])
        self.rms = 1 / math.sqrt(self.k)  # of a weight

    def groups(self, size):
        if self.k % size:
            raise SystemExit(f"error: {self.name} has rows of {self.k}, no multiple of groups of {size}")
        return self.k // size

    def bits(self, dtype, *shape):
        """Any pattern; of float8 any that is a number."""
        codes = self.rng.integers(0, 256, (*shape[:-1], shape[-1] * NUMPY_DTYPES[dtype]().itemsize), dtype=np.uint8)
        if dtype == "F8_E4M3":
            codes ^= (codes & 0x7F) == 0x7F
        return dtype, codes.view(NUMPY_DTYPES[dtype])

    def chosen(self, among, *shape):
        return np.asarray(among, dtype=np.uint8)[self.rng.integers(0, len(among), shape, dtype=np.uint8)]

    def floats(self, dtype, *shape):
        """Weights themselves."""
        return dtype, as_float(self.rng.standard_normal(shape, dtype=np.float32) * np.float32(self.rms), dtype)

    def scales(self, dtype, code_rms, *shape):
        """Scales for codes of this root mean square."""
        return dtype, as_float(self.rms / code_rms * self.rng.uniform(0.8, 1.2, shape), dtype)

    def e8m0(self, code_rms, *shape):
        exponent = round(math.log2(self.rms / code_rms))
        return "U8", self.rng.integers(126 + exponent, 129 + exponent, shape, dtype=np.uint8)


class RandomBlocks:
    """Encodes GGUF blocks as random bits with the scale that the float weights ask for."""

    def __init__(self, block_bytes, code_rms, put_scale):
        self.block_bytes, self.code_rms, self.put_scale = block_bytes, code_rms, put_scale

    def __call__(self, x):
        rng = np.random.default_rng(np.ascontiguousarray(x[0]).view(np.uint32))
        blocks = rng.integers(0, 256, (len(x), self.block_bytes), dtype=np.uint8)
        self.put_scale(blocks, np.sqrt(np.mean(np.square(x), axis=1)) / np.float32(self.code_rms))
        return blocks


def half_at(offset):
    def put(blocks, scales):
        blocks[:, offset:offset + 2] = scales.astype("<f2")[:, None].view(np.uint8)
    return put


def half_in_top_nibbles(offset):
    """Four bits in each of four 16-bit words: the scale of IQ1_M."""
    def put(blocks, scales):
        half = scales.astype("<f2").view("<u2")
        for i in range(4):
            high = blocks[:, offset + 2 * i + 1]
            high[:] = (high & 15) | ((half >> (4 * i) & 15) << 4)
    return put


def exponent_at(offset):
    def put(blocks, scales):
        blocks[:, offset] = np.rint(np.log2(scales) + 127)
    return put


def four_small_e4m3(blocks, scales):
    """E4M3 is a multiple of 2^-9 up to its code 15, which is as far as these scales go."""
    blocks[:, :4] = np.clip(np.rint(scales * 512), 1, 15)[:, None]
