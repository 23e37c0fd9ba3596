"""Layouts of matrices row by row: FP8, compressed-tensors, ModelOpt, Quark, TorchAO, HQQ and Neural Compressor.

Each makes {suffix: tensor}; a factory takes what formats differ in.
"""

import numpy as np

from .random_codes import (E2M1_MAX, E2M1_RMS, E4M3_MAX, E4M3_RMS, LARGEST_INPUT, as_float, constant, integer_rms)
from .word_layouts import GROUP, TWO_OF_FOUR

FP8_BLOCK, MX_GROUP, NVFP4_GROUP = 128, 32, 16
NVFP4_SCALES = range(0x30, 0x40)  # 0.5 to 1.875


def input_scale(dtype, *shape, largest=E4M3_MAX):
    return constant(dtype, LARGEST_INPUT / largest, *shape)


def fp8(scale="weight_scale", dtype="F32", per="tensor", static=False):
    """`per`: "tensor", "row" [n, 1] or "block" [n / 128, k / 128]."""
    def layout(draw):
        blocks = (-(-draw.n // FP8_BLOCK), -(-draw.k // FP8_BLOCK))
        shape = {"tensor": (), "row": (draw.n, 1), "block": blocks}[per]
        tensors = {"weight": draw.bits("F8_E4M3", draw.n, draw.k), scale: draw.scales(dtype, E4M3_RMS, *shape)}
        return tensors | ({"input_scale": input_scale(dtype)} if static else {})
    return layout


def inc_fp8(draw):
    scale, inverse = LARGEST_INPUT / E4M3_MAX, E4M3_MAX / LARGEST_INPUT
    return {"weight": draw.bits("F8_E4M3", draw.k, draw.n), "dequant_weights.scale": draw.scales("BF16", E4M3_RMS),
            "quant_input.scale": constant("BF16", scale), "quant_input.scale_inv": constant("BF16", inverse)}


def mxfp8(draw):
    return {"weight": draw.bits("F8_E4M3", draw.n, draw.k),
            "weight_scale": draw.e8m0(E4M3_RMS, draw.n, draw.groups(MX_GROUP))}


def mxfp4(codes):
    return lambda draw: {codes: draw.bits("U8", draw.n, draw.k // 2),
                         "weight_scale": draw.e8m0(E2M1_RMS, draw.n, draw.groups(MX_GROUP))}


def nvfp4_codes(draw, name):
    return {name: draw.bits("U8", draw.n, draw.k // 2),
            "weight_scale": ("F8_E4M3", draw.chosen(NVFP4_SCALES, draw.n, draw.groups(NVFP4_GROUP)))}


def ct_nvfp4(draw):
    """Both second-level scales divide."""
    return nvfp4_codes(draw, "weight_packed") | {
        "weight_global_scale": constant("F32", E2M1_RMS / draw.rms, 1),
        "input_global_scale": constant("F32", E2M1_MAX * E4M3_MAX / LARGEST_INPUT, 1)}


def modelopt_nvfp4(draw):
    """Both second-level scales multiply."""
    return nvfp4_codes(draw, "weight") | {"weight_scale_2": constant("F32", draw.rms / E2M1_RMS),
                                          "input_scale": input_scale("F32", largest=E2M1_MAX * E4M3_MAX)}


def modelopt_awq(draw):
    """Bytes pair two rows."""
    return {"weight": draw.bits("U8", draw.n // 2, draw.k),
            "weight_scale": draw.scales("F32", integer_rms(4), draw.n, draw.groups(GROUP)),
            "pre_quant_scale": ("BF16", as_float(draw.rng.uniform(0.8, 1.2, draw.k), "BF16"))}


def ct_packed(bits):
    return lambda draw: {"weight_packed": draw.bits("I32", draw.n, draw.k * bits // 32),
                         "weight_scale": draw.scales("BF16", integer_rms(bits), draw.n, draw.groups(GROUP)),
                         "weight_shape": ("I64", np.array([draw.n, draw.k]))}


def ct_bytes(bits, grouped):
    def layout(draw):
        half = 1 << (bits - 1)
        return {"weight": ("I8", draw.rng.integers(-half, half, (draw.n, draw.k), dtype=np.int8)),
                "weight_scale": draw.scales("BF16", integer_rms(bits), draw.n, draw.groups(GROUP) if grouped else 1)}
    return layout


def ct_bitmask(draw):
    """Two of four bfloat16 weights."""
    mask = draw.chosen(TWO_OF_FOUR["mask"], draw.n, draw.k // 8, 2)
    return {"compressed": draw.floats("BF16", draw.n, draw.k // 2), "bitmask": ("U8", mask[..., 0] | mask[..., 1] << 4),
            "shape": ("I64", np.array([[draw.n], [draw.k]]))}


def quark_int8(draw):
    return {"weight": draw.bits("I8", draw.n, draw.k), "weight_scale": draw.scales("BF16", integer_rms(8), draw.n),
            "weight_zero_point": constant("I8", 0, draw.n), "input_scale": input_scale("F32", largest=127),
            "input_zero_point": constant("I8", 0)}


def torchao_int4(draw):
    """The zero point is a weight, added."""
    groups = draw.groups(GROUP)
    return {"_weight_qdata": draw.bits("I8", draw.n, draw.k // 2),
            "_weight_scale": draw.scales("BF16", integer_rms(4), groups, draw.n),
            "_weight_zero_point": draw.scales("BF16", 16, groups, draw.n)}


def torchao_int8(draw):
    return {"_weight_qdata": draw.bits("I8", draw.n, draw.k),
            "_weight_scale": draw.scales("F32", integer_rms(8), draw.n, 1),
            "_weight_zero_point": constant("I8", 0, draw.n, 1)}


def torchao_float8(draw):
    return {"_weight_qdata": draw.bits("F8_E4M3", draw.n, draw.k),
            "_weight_scale": draw.scales("F32", E4M3_RMS, draw.n, 1)}


def hqq(draw):
    """Four bits in groups of 64, and settings as tensors."""
    size = 64
    rows = draw.n * draw.groups(size)
    tensors = {"W_q": draw.bits("U8", rows // 2, size), "scale": draw.scales("BF16", integer_rms(4), rows, 1),
               "zero": ("BF16", as_float(draw.rng.uniform(7, 8, (rows, 1)), "BF16")),
               "shape": ("I64", np.array([draw.n, draw.k])), "nbits": constant("I32", 4),
               "group_size": constant("I32", size), "axis": constant("I32", 1)}
    flags = {"channel_wise": 1, "optimize": 1, "round_zero": 1, "view_as_float": 0, "quant_scale": 0, "quant_zero": 0,
             "offload_meta": 0, "encoded_state_dict": 1, "stores_quant_config": 1}
    texts = {"packing": "4bit_u8", "unpack_view_dtype": "torch.uint8", "compute_dtype": "torch.bfloat16"}
    return (tensors | {name: constant("U8", value) for name, value in flags.items()}
            | {name: ("U8", np.frombuffer(text.encode(), np.uint8)) for name, text in texts.items()})
