"""Encoders of GGUF's float types and of its types with blocks of 32, by plain rounding to the nearest code.

An encoder turns float32 [blocks, block] into uint8 [blocks, block_bytes]. A new type is one more row of GGUF_ENCODERS.
"""

from dataclasses import dataclass
from typing import Callable

import numpy as np

from . import k_quants
from .weights import to_bfloat16_bits


@dataclass(frozen=True)
class GgufEncoder:
    type_id: int  # of the tensor
    file_type: int  # general.file_type, a label
    block: int
    block_bytes: int
    encode: Callable


def as_bytes(array, dtype):
    """[blocks, n] of a little-endian type as [blocks, bytes]."""
    array = np.ascontiguousarray(array.astype(dtype))
    return array.view(np.uint8).reshape(len(array), -1)


def reciprocal(x):
    return np.divide(1, x, out=np.zeros_like(x), where=x != 0)


def symmetric(x, lowest):
    """Codes lowest .. -lowest - 1 and the float16 step; the number of largest magnitude gets the lowest code."""
    at = np.abs(x).argmax(axis=1, keepdims=True)
    d = (np.take_along_axis(x, at, axis=1) / lowest).astype(np.float16)
    codes = np.rint(x * reciprocal(d.astype(np.float32)))
    return d, np.clip(codes, lowest, -lowest - 1).astype(np.int8)


def affine(x, highest):
    """Codes 0 .. highest, the float16 step and the float16 minimum."""
    low = x.min(axis=1, keepdims=True)
    d = ((x.max(axis=1, keepdims=True) - low) / highest).astype(np.float16)
    m = low.astype(np.float16)
    codes = np.rint((x - m.astype(np.float32)) * reciprocal(d.astype(np.float32)))
    return d, m, np.clip(codes, 0, highest).astype(np.uint8)


def nibbles(codes):
    """Byte i holds the low four bits of elements i and 16 + i."""
    return (codes[:, :16] & 15) | ((codes[:, 16:] & 15) << 4)


def fifth_bits(codes):
    """Bit i of a 32-bit word is bit 4 of element i."""
    return np.packbits((codes >> 4) & 1, axis=1, bitorder="little")


def encode_q4_0(x):
    d, codes = symmetric(x, -8)
    return np.concatenate([as_bytes(d, "<f2"), nibbles((codes + 8).astype(np.uint8))], axis=1)


def encode_q4_1(x):
    d, m, codes = affine(x, 15)
    return np.concatenate([as_bytes(d, "<f2"), as_bytes(m, "<f2"), nibbles(codes)], axis=1)


def encode_q5_0(x):
    d, codes = symmetric(x, -16)
    codes = (codes + 16).astype(np.uint8)
    return np.concatenate([as_bytes(d, "<f2"), fifth_bits(codes), nibbles(codes)], axis=1)


def encode_q5_1(x):
    d, m, codes = affine(x, 31)
    return np.concatenate([as_bytes(d, "<f2"), as_bytes(m, "<f2"), fifth_bits(codes), nibbles(codes)], axis=1)


def encode_q8_0(x):
    d = (np.abs(x).max(axis=1, keepdims=True) / 127).astype(np.float16)
    codes = np.clip(np.rint(x * reciprocal(d.astype(np.float32))), -127, 127)
    return np.concatenate([as_bytes(d, "<f2"), as_bytes(codes, np.int8)], axis=1)


GGUF_ENCODERS = {
    "f32": GgufEncoder(0, 0, 1, 4, lambda x: as_bytes(x, "<f4")),
    "f16": GgufEncoder(1, 1, 1, 2, lambda x: as_bytes(x, "<f2")),
    "bf16": GgufEncoder(30, 32, 1, 2, lambda x: as_bytes(to_bfloat16_bits(x), "<u2")),
    "q4_0": GgufEncoder(2, 2, 32, 18, encode_q4_0),
    "q4_1": GgufEncoder(3, 3, 32, 20, encode_q4_1),
    "q5_0": GgufEncoder(6, 8, 32, 22, encode_q5_0),
    "q5_1": GgufEncoder(7, 9, 32, 24, encode_q5_1),
    "q8_0": GgufEncoder(8, 7, 32, 34, encode_q8_0),
    "q2_k": GgufEncoder(10, 10, 256, 84, k_quants.encode_q2_k),
    "q3_k": GgufEncoder(11, 11, 256, 110, k_quants.encode_q3_k),
    "q4_k": GgufEncoder(12, 14, 256, 144, k_quants.encode_q4_k),
    "q5_k": GgufEncoder(13, 16, 256, 176, k_quants.encode_q5_k),
    "q6_k": GgufEncoder(14, 18, 256, 210, k_quants.encode_q6_k),
}
