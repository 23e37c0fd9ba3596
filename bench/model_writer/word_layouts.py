"""Layouts of integer codes in words: GPTQ, AWQ, BitBLAS and Marlin. Each makes {suffix: tensor}."""

import numpy as np

from .random_codes import as_float, constant, integer_rms

GROUP = 128
# Nibbles that name two of four weights: by their positions, or by a bit for each.
TWO_OF_FOUR = {"positions": (4, 8, 9, 12, 13, 14), "mask": (3, 5, 6, 9, 10, 12)}


def packed_constant(code, bits, rows, cols):
    """I32 [rows, cols * bits / 32] of one code, packed from the lowest bit on."""
    stream = np.tile((code >> np.arange(bits)) & 1, cols).astype(np.uint8)
    return "I32", np.tile(np.packbits(stream, bitorder="little").view("<i4"), (rows, 1))


def packed_zeros(draw, rows, cols):
    """I32 [rows, cols / 8] of four-bit codes in the middle of their range."""
    nibbles = draw.chosen((7, 8, 9), rows, cols // 2, 2)
    return "I32", (nibbles[..., 0] | nibbles[..., 1] << 4).view(np.int32)


def gptq(bits, act_order=False):
    """Symmetric; zeros are stored less one."""
    def layout(draw):
        groups = draw.groups(GROUP)
        index = np.arange(draw.k, dtype=np.int32) // GROUP
        return {"qweight": draw.bits("I32", draw.k * bits // 32, draw.n),
                "qzeros": packed_constant((1 << (bits - 1)) - 1, bits, groups, draw.n),
                "scales": draw.scales("F16", integer_rms(bits), groups, draw.n),
                "g_idx": ("I32", draw.rng.permutation(index) if act_order else index)}
    return layout


def auto_round(draw):
    """GPTQ's words of four bits, asymmetric, with zeros as they are."""
    groups = draw.groups(GROUP)
    return {"qweight": draw.bits("I32", draw.k // 8, draw.n), "qzeros": packed_zeros(draw, groups, draw.n),
            "scales": draw.scales("F16", integer_rms(4), groups, draw.n)}


def awq_gemm(draw):
    groups = draw.groups(GROUP)
    return {"qweight": draw.bits("I32", draw.k, draw.n // 8), "qzeros": packed_zeros(draw, groups, draw.n),
            "scales": draw.scales("F16", integer_rms(4), groups, draw.n)}


def awq_gemv_fast(draw):
    groups = draw.groups(GROUP)
    rows = groups + -groups % 8
    scales = np.zeros((rows, draw.n), np.float16)
    scales[:groups] = draw.scales("F16", integer_rms(4), groups, draw.n)[1]
    zeros = -scales.astype(np.float32) * draw.chosen((7, 8, 9), rows, draw.n)
    return {"qweight": draw.bits("I16", draw.n // 4, draw.k), "scales": ("F16", scales),
            "qzeros": ("F16", as_float(zeros, "F16"))}


def bitblas(bits, zeros=None):
    """`zeros`: None, "empty", or "codes" of four bits."""
    def layout(draw):
        groups = draw.groups(GROUP)
        tensors = {"qweight": draw.bits("I8", draw.n, draw.k * bits // 8),
                   "scales": draw.scales("F16", integer_rms(bits), draw.n, groups)}
        if zeros == "empty":
            tensors["qzeros"] = constant("I8", 0, 0)
        elif zeros == "codes":
            tensors["zeros"] = "I8", packed_zeros(draw, groups, draw.n)[1].view(np.int8)
        return tensors
    return layout


def marlin(draw):
    return {"B": draw.bits("I32", draw.k // 16, 2 * draw.n),
            "s": draw.scales("F16", integer_rms(4), draw.groups(GROUP), draw.n)}


def marlin_24(draw):
    nibbles = draw.chosen(TWO_OF_FOUR["positions"], draw.k // 32, 2 * draw.n, 2, 2)
    meta = (nibbles[..., 0] | nibbles[..., 1] << 4).reshape(draw.k // 32, -1).view(np.int16)
    return {"weight_packed": draw.bits("I32", draw.k // 32, 2 * draw.n), "meta": ("I16", meta),
            "scale_packed": draw.scales("F16", integer_rms(4), draw.groups(GROUP), draw.n)}
