"""quantization_config of the formats in hf_encoders.py, as their own tools write it, less what changes no byte."""

import json

HEAD = "lm_head"


def gptq(bits, **more):
    return {"quant_method": "gptq", "bits": bits, "group_size": 128, "desc_act": False, "sym": True, "lm_head": False,
            "checkpoint_format": "gptq"} | more


def awq(version):
    return {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": version,
            "modules_to_not_convert": None}


def bitblas(bits, w_dtype, **more):
    return {"quant_method": "bitblas", "checkpoint_format": "bitblas", "bits": bits, "group_size": 128,
            "desc_act": False, "sym": True, "lm_head": False, "torch_dtype": "float16", "storage_dtype": "int8",
            "W_dtype": w_dtype} | more


AUTO_ROUND = {"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": False, "data_type": "int",
              "packing_format": "auto_round", "block_name_to_quantize": "model.layers", "autoround_version": "0.16.1"}


def ct_values(kind, bits, strategy, **more):
    return {"type": kind, "num_bits": bits, "strategy": strategy, "symmetric": True, "dynamic": False,
            "group_size": None, "block_structure": None, "actorder": None} | more


def ct_group(bits, kind="int", size=128):
    return ct_values(kind, bits, "group", group_size=size)


def ct(layout, weights, inputs=None, **more):
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}
    return {"quant_method": "compressed-tensors", "format": layout, "quantization_status": "compressed",
            "ignore": [HEAD], "kv_cache_scheme": None, "config_groups": {"group_0": group | {"format": layout}}} | more


def ct_token(kind):
    return ct_values(kind, 8, "token", dynamic=True)


def ct_mx(layout, bits):
    values = ct_group(bits, "float", 32) | {"scale_dtype": "torch.uint8"}
    return ct(layout, values, values | {"dynamic": True})


def ct_nvfp4():
    values = ct_values("float", 4, "tensor_group", group_size=16, scale_dtype="torch.float8_e4m3fn")
    return ct("nvfp4-pack-quantized", values, values | {"dynamic": "local"})


CT_24_BITMASK = {"quant_method": "compressed-tensors", "sparsity_config": {
    "format": "sparse-24-bitmask", "global_sparsity": 0.5, "ignore": [HEAD], "sparsity_structure": "2:4",
    "registry_requires_subclass": False, "targets": ["Linear"]}}


def fp8(scheme, **more):
    return {"quant_method": "fp8", "activation_scheme": scheme, "ignored_layers": [HEAD]} | more


def modelopt(algorithm, group=None):
    values = group and {"dynamic": False, "type": "float"} | group
    groups = {"group_0": {"targets": ["Linear"], "weights": values, "input_activations": values}}
    return ({"quant_method": "modelopt", "quant_algo": algorithm, "ignore": [HEAD, "model.embed_tokens"],
             "producer": {"name": "modelopt", "version": "0.47.0"}} | ({"config_groups": groups} if group else {}))


def quark_tensor(dtype, scheme, **more):
    return {"dtype": dtype, "qscheme": scheme, "is_dynamic": False, "ch_axis": None, "group_size": None,
            "block_size": None, "symmetric": True, "round_method": "half_even", "scale_type": "float",
            "scale_format": None, "scale_calculation_mode": None, "zero_point_type": "int32", "is_scale_quant": False} | more


def quark(weight, inputs):
    return {"quant_method": "quark", "quant_mode": "eager_mode", "version": "0.13", "exclude": [HEAD],
            "layer_quant_config": {}, "layer_type_quant_config": {}, "kv_cache_quant_config": {},
            "export": {"pack_method": "reorder", "weight_format": "real_quantized", "kv_cache_group": []},
            "global_quant_config": {"weight": weight, "input_tensors": inputs, "output_tensors": None, "bias": None}}


def quark_mxfp4():
    values = quark_tensor("fp4", "per_group", ch_axis=-1, group_size=32, symmetric=None, scale_format="e8m0",
                          scale_calculation_mode="even")
    return quark(values, values | {"is_dynamic": True})


def torchao(kind, data):
    return {"quant_method": "torchao", "modules_to_not_convert": [HEAD], "include_input_output_embeddings": False,
            "untie_embedding_weights": False, "quant_type": {"default": {"_type": kind, "_version": 2, "_data": data}}}


def torchao_dtype(name):
    return {"_type": "torch.dtype", "_data": name}


PER_ROW = {"_type": "PerRow", "_version": 1, "_data": {"dim": -1}}
TORCHAO_INT4 = torchao("Int4WeightOnlyConfig", {
    "group_size": 128, "int4_packing_format": {"_type": "Int4PackingFormat", "_data": "PLAIN"},
    "int4_choose_qparams_algorithm": {"_type": "Int4ChooseQParamsAlgorithm", "_data": "TINYGEMM"}})
TORCHAO_INT8 = torchao("Int8WeightOnlyConfig", {"group_size": None, "granularity": PER_ROW})
TORCHAO_FLOAT8 = torchao("Float8WeightOnlyConfig", {
    "granularity": PER_ROW, "weight_dtype": torchao_dtype("float8_e4m3fn")})


def torchao_tensor(kind, fields, attributes):
    """What the file's metadata says of a matrix [n, k]."""
    return lambda n, k: json.dumps({"_type": kind, "_data": attributes(n, k), "_tensor_data_names": fields})


TORCHAO_INT4_TENSOR = torchao_tensor("Int4Tensor", ["qdata", "scale", "zero_point"], lambda n, k: {
    "block_size": [1, 128], "shape": [n, k], "activation_dtype": torchao_dtype("bfloat16")})
TORCHAO_INT8_TENSOR = torchao_tensor("Int8Tensor", ["zero_point", "qdata", "scale"], lambda n, k: {
    "block_size": [1, k], "dtype": torchao_dtype("bfloat16"), "act_quant_kwargs": None, "reduce_range": False})
TORCHAO_FLOAT8_TENSOR = torchao_tensor("Float8Tensor", ["qdata", "scale"], lambda n, k: {
    "block_size": [1, k], "dtype": torchao_dtype("bfloat16"), "act_quant_kwargs": None, "mm_config": None,
    "kernel_preference": {"_type": "KernelPreference", "_data": "AUTO"}})

HQQ = {"quant_method": "hqq", "skip_modules": [HEAD], "quant_config": {
    "weight_quant_params": {"nbits": 4, "group_size": 64, "axis": 1, "channel_wise": True, "optimize": True,
                            "round_zero": True, "view_as_float": False},
    "scale_quant_params": None, "zero_quant_params": None, "offload_meta": False}}
INC_FP8 = {"fp8_config": "E4M3", "mode": "LOAD", "observer": "maxabs", "scale_method": "maxabs_arbitrary",
           "scale_format": "scalar", "hp_dtype": "bf16", "allowlist": {"types": ["Linear"], "names": []},
           "blocklist": {"types": [], "names": []}}
