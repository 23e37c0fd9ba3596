"""Encoders of GGUF's K types: 256 numbers in groups of 16 or 32, whose scales are small integers times a float16.

Each takes float32 [blocks, 256] and gives uint8 [blocks, bytes].
"""

import numpy as np


def half(x):
    """float16 [blocks, 1] as its two bytes, and the value it stands for."""
    rounded = x.astype("<f2")
    return np.ascontiguousarray(rounded).view(np.uint8).reshape(len(x), 2), rounded.astype(np.float32)


def divide(x, y):
    """x / y, and 0 where y is 0."""
    return np.divide(x, y, out=np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32), where=y != 0)


def affine_groups(x, group, highest, highest_scale):
    """w = d * scale * code - dmin * minimum.

    Returns d and dmin as bytes, scales and minima [blocks, groups], codes [blocks, 256].
    """
    x = x.reshape(len(x), -1, group)
    minima = np.maximum(-x.min(axis=2), 0)
    scales = np.maximum(x.max(axis=2) + minima, 0) / highest
    d_bytes, d = half(scales.max(axis=1, keepdims=True) / highest_scale)
    dmin_bytes, dmin = half(minima.max(axis=1, keepdims=True) / highest_scale)
    scale_codes = np.clip(np.rint(divide(scales, d)), 0, highest_scale)
    min_codes = np.clip(np.rint(divide(minima, dmin)), 0, highest_scale)
    codes = np.rint(divide(x + (dmin * min_codes)[:, :, None], (d * scale_codes)[:, :, None]))
    codes = np.clip(codes, 0, highest).astype(np.uint8).reshape(len(x), -1)
    return d_bytes, dmin_bytes, scale_codes.astype(np.uint8), min_codes.astype(np.uint8), codes


def symmetric_groups(x, lowest, lowest_scale):
    """w = d * scale * code in groups of 16; codes are lowest .. -lowest - 1, scales likewise.

    Returns d as bytes, scales [blocks, 16], codes [blocks, 256].
    """
    x = x.reshape(len(x), -1, 16)
    at = np.abs(x).argmax(axis=2)[:, :, None]
    scales = np.take_along_axis(x, at, axis=2)[:, :, 0] / lowest
    largest = np.take_along_axis(scales, np.abs(scales).argmax(axis=1)[:, None], axis=1)
    d_bytes, d = half(largest / lowest_scale)
    scale_codes = np.clip(np.rint(divide(scales, d)), lowest_scale, -lowest_scale - 1)
    codes = np.rint(divide(x, (d * scale_codes)[:, :, None]))
    codes = np.clip(codes, lowest, -lowest - 1).astype(np.int8).reshape(len(x), -1)
    return d_bytes, scale_codes.astype(np.int8), codes


def two_bit_planes(codes):
    """Bits 2s of byte 32h + r hold element 128h + 32s + r: [blocks, 64]."""
    planes = (codes & 3).reshape(-1, 2, 4, 32) << (2 * np.arange(4, dtype=np.uint8))[:, None]
    return np.bitwise_or.reduce(planes, axis=2).reshape(-1, 64)


def bit_planes(bits):
    """Bit b of byte r is element 32b + r: [blocks, 32]."""
    return np.bitwise_or.reduce(bits.reshape(-1, 8, 32) << np.arange(8, dtype=np.uint8)[:, None], axis=1)


def paired_nibbles(codes, half_group):
    """Low and high nibbles of a run of bytes hold two consecutive runs of `half_group` elements: [blocks, 128]."""
    pairs = (codes & 15).reshape(len(codes), -1, 2, half_group)
    return (pairs[:, :, 0] | (pairs[:, :, 1] << 4)).reshape(len(codes), -1)


def twelve_scale_bytes(scales, minima):
    """Eight 6-bit scales and eight 6-bit minima; the upper bits of each last four stand in the bytes of the first."""
    return np.concatenate([
        scales[:, :4] | ((scales[:, 4:] >> 4) << 6),
        minima[:, :4] | ((minima[:, 4:] >> 4) << 6),
        (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4),
    ], axis=1)


def encode_q2_k(x):
    d, dmin, scales, minima, codes = affine_groups(x, 16, 3, 15)
    return np.concatenate([scales | (minima << 4), two_bit_planes(codes), d, dmin], axis=1)


def encode_q3_k(x):
    d, scales, codes = symmetric_groups(x, -4, -32)
    codes = (codes + 4).astype(np.uint8)
    scales = (scales + 32).astype(np.uint8)
    low = (scales[:, :8] & 15) | ((scales[:, 8:] & 15) << 4)
    high = (scales >> 4).reshape(-1, 4, 4) << (2 * np.arange(4, dtype=np.uint8))[:, None]
    high = np.bitwise_or.reduce(high, axis=1)
    return np.concatenate([bit_planes(codes >> 2), two_bit_planes(codes), low, high, d], axis=1)


def encode_q4_k(x):
    d, dmin, scales, minima, codes = affine_groups(x, 32, 15, 63)
    return np.concatenate([d, dmin, twelve_scale_bytes(scales, minima), paired_nibbles(codes, 32)], axis=1)


def encode_q5_k(x):
    d, dmin, scales, minima, codes = affine_groups(x, 32, 31, 63)
    packed = [d, dmin, twelve_scale_bytes(scales, minima), bit_planes(codes >> 4), paired_nibbles(codes, 32)]
    return np.concatenate(packed, axis=1)


def encode_q6_k(x):
    d, scales, codes = symmetric_groups(x, -32, -128)
    codes = (codes + 32).astype(np.uint8)
    return np.concatenate([paired_nibbles(codes, 64), two_bit_planes(codes >> 4), scales.view(np.uint8), d], axis=1)
