"""Encoders of GGUF: float types, types with blocks of 32 and K types by plain rounding to the nearest code; the other
types as random blocks with the scale of the weights.

An encoder turns float32 [blocks, block] into uint8 [blocks, block_bytes]. A new type is one more row of GGUF_ENCODERS.
"""

from dataclasses import dataclass
from typing import Callable

import numpy as np

from . import k_quants, random_codes
from .random_codes import E2M1_RMS, RandomBlocks, half_at
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


def random_encoder(type_id, file_type, block, block_bytes, code_rms, put_scale=half_at(0)):
    """`code_rms`: root mean square of what a block of random bits with a scale of 1 decodes to."""
    return GgufEncoder(type_id, file_type, block, block_bytes, RandomBlocks(block_bytes, code_rms, put_scale))


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
    "iq1_s": random_encoder(19, 24, 256, 50, 7.2),
    "iq1_m": random_encoder(29, 31, 256, 56, 7.2, random_codes.half_in_top_nibbles(48)),
    "iq2_xxs": random_encoder(16, 19, 256, 66, 53),
    "iq2_xs": random_encoder(17, 20, 256, 74, 56),
    "iq2_s": random_encoder(22, 28, 256, 82, 56),
    "iq3_xxs": random_encoder(18, 23, 256, 98, 142),
    "iq3_s": random_encoder(21, 26, 256, 110, 140),
    "iq4_nl": random_encoder(20, 25, 32, 18, 68),
    "iq4_xs": random_encoder(23, 30, 256, 136, 1246),
    "tq1_0": random_encoder(34, 36, 256, 54, 0.82, half_at(52)),
    "tq2_0": random_encoder(35, 37, 256, 66, 1.22, half_at(64)),
    "mxfp4": random_encoder(39, 38, 32, 17, E2M1_RMS, random_codes.exponent_at(0)),
    "nvfp4": random_encoder(40, 39, 64, 36, E2M1_RMS, random_codes.four_small_e4m3),
    "q1_0": random_encoder(41, 40, 128, 18, 1),
    "q2_0": random_encoder(42, 41, 64, 18, 1.22),
}
