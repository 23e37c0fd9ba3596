"""Encodings of model directories: those that quantize the float master, and layouts full of random codes.

A new format is a row of HF_ENCODERS.
"""

from dataclasses import dataclass
from typing import Callable

from . import bitsandbytes, hf_configs as configs, row_layouts as rows, word_layouts as words
from .random_codes import Draw, as_float


@dataclass(frozen=True)
class HfEncoder:
    linear: Callable  # (weights, tensor) -> {name: (safetensors dtype, array)}
    quantization_config: dict | None = None
    float_dtype: str = "BF16"  # of what stays float: embeddings, head, norms, biases
    with_head: bool = False  # the head is encoded too
    describe: Callable | None = None  # (n, k) -> what the file's metadata says of a matrix


def float_linear(dtype):
    return lambda weights, tensor: {tensor.hf_name: (dtype, as_float(weights.matrix(tensor), dtype))}


def four_bit(kind, nested=False):
    return HfEncoder(lambda weights, tensor: bitsandbytes.four_bit_linear(weights, tensor, kind, nested),
                     bitsandbytes.quantization_config(4, nested, kind))


def random(layout, config, **options):
    def linear(weights, tensor):
        draw = Draw(weights.seed, tensor)
        return {f"{draw.name}.{suffix}": made for suffix, made in layout(draw).items()}
    return HfEncoder(linear, config, **options)


HF_ENCODERS = {
    "bf16": HfEncoder(float_linear("BF16")),
    "f16": HfEncoder(float_linear("F16"), float_dtype="F16"),
    "f32": HfEncoder(float_linear("F32"), float_dtype="F32"),
    "nf4": four_bit("nf4"),
    "nf4-nested": four_bit("nf4", nested=True),
    "fp4": four_bit("fp4"),
    "int8": HfEncoder(bitsandbytes.int8_linear, bitsandbytes.quantization_config(8)),
    "gptq-2bit": random(words.gptq(2), configs.gptq(2)),
    "gptq-3bit": random(words.gptq(3), configs.gptq(3)),
    "gptq-4bit": random(words.gptq(4), configs.gptq(4)),
    "gptq-4bit-act-order": random(words.gptq(4, act_order=True), configs.gptq(4, desc_act=True)),
    "gptq-8bit": random(words.gptq(8), configs.gptq(8)),
    "marlin": random(words.marlin, configs.gptq(4, checkpoint_format="marlin")),
    "awq-gemm": random(words.awq_gemm, configs.awq("gemm")),
    "awq-gemv-fast": random(words.awq_gemv_fast, configs.awq("gemv_fast")),
    "bitblas-int2": random(words.bitblas(2, "empty"), configs.bitblas(2, "int2")),
    "bitblas-int4": random(words.bitblas(4, "empty"), configs.bitblas(4, "int4")),
    "bitblas-uint4": random(words.bitblas(4, "codes"), configs.bitblas(4, "uint4", sym=False, zeros_mode="quantized")),
    "bitblas-int8": random(words.bitblas(8), configs.bitblas(8, "int8")),
    "auto-round": random(words.auto_round, configs.AUTO_ROUND),
    "ct-w4a16": random(rows.ct_packed(4), configs.ct("pack-quantized", configs.ct_group(4))),
    "ct-w8a16": random(rows.ct_packed(8), configs.ct("pack-quantized", configs.ct_group(8))),
    "ct-w4a8": random(rows.ct_bytes(4, grouped=True),
                      configs.ct("int-quantized", configs.ct_group(4), configs.ct_token("int"))),
    "ct-w8a8": random(rows.ct_bytes(8, grouped=False),
                      configs.ct("int-quantized", configs.ct_values("int", 8, "channel"), configs.ct_token("int"))),
    "ct-fp8-dynamic": random(rows.fp8(dtype="BF16", per="row"), configs.ct(
        "float-quantized", configs.ct_values("float", 8, "channel"), configs.ct_token("float"))),
    "ct-fp8-block": random(rows.fp8(dtype="BF16", per="block"), configs.ct(
        "float-quantized", configs.ct_values("float", 8, "block", block_structure=[128, 128]),
        configs.ct_group(8, "float") | {"dynamic": True})),
    "ct-nvfp4": random(rows.ct_nvfp4, configs.ct_nvfp4()),
    "ct-mxfp4": random(rows.mxfp4("weight_packed"), configs.ct_mx("mxfp4-pack-quantized", 4)),
    "ct-mxfp8": random(rows.mxfp8, configs.ct_mx("mxfp8-quantized", 8)),
    "ct-24-bf16": random(rows.ct_bitmask, configs.CT_24_BITMASK),
    "ct-24-w4a16": random(words.marlin_24, configs.ct("marlin-24", configs.ct_group(4), sparsity_config={
        "format": "dense", "sparsity_structure": "2:4", "targets": ["Linear"], "ignore": [configs.HEAD]})),
    "fp8-static": random(rows.fp8(static=True), configs.fp8("static")),
    "fp8-dynamic": random(rows.fp8(), configs.fp8("dynamic")),
    "fp8-block": random(rows.fp8("weight_scale_inv", per="block"),
                        configs.fp8("dynamic", weight_block_size=[128, 128])),
    "modelopt-fp8": random(rows.fp8(static=True), configs.modelopt("FP8", {"num_bits": 8})),
    "modelopt-nvfp4": random(rows.modelopt_nvfp4, configs.modelopt("NVFP4", {"num_bits": 4, "group_size": 16})),
    "modelopt-w4a16-awq": random(rows.modelopt_awq, configs.modelopt("W4A16_AWQ")),
    "quark-fp8": random(rows.fp8(dtype="BF16", static=True), configs.quark(
        configs.quark_tensor("fp8_e4m3", "per_tensor"), configs.quark_tensor("fp8_e4m3", "per_tensor"))),
    "quark-int8": random(rows.quark_int8, configs.quark(
        configs.quark_tensor("int8", "per_channel", ch_axis=0), configs.quark_tensor("int8", "per_tensor"))),
    "quark-mxfp4": random(rows.mxfp4("weight"), configs.quark_mxfp4()),
    "torchao-int4wo": random(rows.torchao_int4, configs.TORCHAO_INT4, describe=configs.TORCHAO_INT4_TENSOR),
    "torchao-int8wo": random(rows.torchao_int8, configs.TORCHAO_INT8, describe=configs.TORCHAO_INT8_TENSOR),
    "torchao-float8wo": random(rows.torchao_float8, configs.TORCHAO_FLOAT8, describe=configs.TORCHAO_FLOAT8_TENSOR),
    "hqq-4bit": random(rows.hqq, configs.HQQ),
    "inc-fp8": random(rows.inc_fp8, configs.INC_FP8, with_head=True),
}
