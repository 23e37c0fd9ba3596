"""Writes torchao_in_flight.safetensors: a matrix `w` [16, 256] of bfloat16 numbers and, for each case of `cases` (a JSON object: name to dtype
and quantization_config), what torchao's rules make of it in that dtype: `<name>.codes`, `<name>.scale`, `<name>.zero`, `<name>.min`.
Arithmetic is NumPy's in the weight's own type: ml_dtypes rounds each operation of bfloat16 as PyTorch does.
usage: make_torchao.py [FILE]
"""

import json

import ml_dtypes
import golden_file
import numpy as np

f32, bf16, f16 = np.float32, ml_dtypes.bfloat16, np.float16
DTYPES = {"BF16": bf16, "F16": f16, "F32": f32}
FLOATS = {"float8_e4m3fn": (448, ml_dtypes.float8_e4m3fn), "float8_e5m2": (57344, ml_dtypes.float8_e5m2)}


def affine(block, bits, mapping, int8_tensor=False, scale_type=None):
    t = block.dtype.type
    low_code, high_code = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    low, high = min(block.min(), t(0)), max(block.max(), t(0))
    zero = 0
    if mapping == "SYMMETRIC":
        scale = t(max(-low, high) / t((high_code - low_code) / 2))
    elif mapping == "SYMMETRIC_NO_CLIPPING_ERR":
        scale = max(t(low / t(low_code)), t(high / t(high_code)))
    else:
        scale = t((high - low) / t(high_code - low_code))
    scale = max(scale, t(2.0**-23) if int8_tensor else t(ml_dtypes.finfo(t).smallest_normal))
    if mapping == "ASYMMETRIC":
        zero = int(np.clip(low_code - np.rint(f32(t(low / scale))), low_code, high_code))
    s = f32 if int8_tensor else scale_type or t
    scale = s(scale)
    with np.errstate(all="ignore"):
        inverse = s(f32(1) / f32(scale))
    with np.errstate(all="ignore"):
        product = f32(block) * f32(inverse)
        if s is t:
            product = f32(product.astype(t))
    product[np.isnan(product)] = -np.inf  # of scales that vanish in scale_type, where any code stands for 0
    q = np.clip(np.rint(product) + zero, low_code, high_code)
    result = {"codes": (q - low_code).astype(np.uint8), "scale": f32(scale)}
    return result | ({"zero": f32(zero - low_code)} if mapping == "ASYMMETRIC" else {})


def float8(block, name):
    top, dtype = FLOATS[name]
    t = block.dtype.type
    scale = f32(t(np.abs(block).max() / t(top)))
    scaled = np.clip(f32(block) / scale, -f32(top), f32(top)) if scale else np.zeros(block.shape, f32)
    return {"codes": scaled.astype(dtype).view(np.uint8), "scale": scale}


def int4_plain(block):
    t, x = block.dtype.type, f32(block)
    scale = max(x.max() - x.min(), f32(1e-6)) / f32(15)
    codes = np.clip(np.rint((x - x.min()) / scale), 0, 15)
    return {"codes": codes.astype(np.uint8), "scale": f32(t(scale)), "min": f32(t(x.min() + scale * f32(8)))}


def int4_symmetric(block):
    t, x = block.dtype.type, f32(block)
    scale = max(np.abs(x).max(), f32(1e-6)) / f32(8)
    return {"codes": (np.clip(np.rint(x / scale), -8, 7) + 8).astype(np.uint8), "scale": f32(t(scale)), "min": f32(0)}


def int4_tiles(block):
    x = block.astype(bf16)
    scale = max((x.max() - x.min()) / bf16(15), bf16(ml_dtypes.finfo(bf16).smallest_normal))
    zero = x.min() + scale * bf16(8)
    codes = np.clip(np.rint(f32((x - (zero - scale * bf16(8))) / scale)), 0, 15)
    return {"codes": codes.astype(np.uint8), "scale": f32(scale), "min": f32(zero)}


def quantize(w, rows, columns, encode):
    """Results of blocks [rows, columns], put together so that each row has its own scales."""
    parts = {}
    n, k = w.shape
    for r in range(0, n, rows):
        for c in range(0, k, columns):
            for name, value in encode(w[r : r + rows, c : c + columns]).items():
                shape, step = ((n, k), columns) if name == "codes" else ((n, k // columns), 1)
                array = parts.setdefault(name, np.zeros(shape, np.uint8 if name == "codes" else f32))
                array[r : r + rows, c // columns * step : (c // columns + 1) * step] = value
    return parts


def config(name, **arguments):
    return {"_type": name, "_version": 2, "_data": arguments}


def granularity(name, **arguments):
    return {"_type": name, "_data": arguments}


def enum(kind, name):
    return {"_type": kind, "_data": name}


def main():
    random = np.random.default_rng(5)
    w = (random.standard_normal((16, 256)) * np.exp2(random.integers(-8, 1, (16, 1)))).astype(f32)
    w[1, :64] = 0  # a group of zeros, constant ones, ones of one sign
    w[2, :64] = 0.375
    w[3, 64:128] = -0.625
    w[4] = np.abs(w[4])
    w[5] = -np.abs(w[5])
    w[6, 128:] = 0
    w[7, :32] = (np.arange(32) - 16) / 32  # ties
    w = w.astype(bf16).astype(f32)
    group, row, tensor = granularity("PerGroup", group_size=32), granularity("PerRow", dim=-1), granularity("PerTensor")
    runs = {}
    for mapping in ["SYMMETRIC", "ASYMMETRIC", "SYMMETRIC_NO_CLIPPING_ERR"]:
        for bits in range(1, 9):
            if bits == 1 and mapping == "SYMMETRIC_NO_CLIPPING_ERR":
                continue
            arguments = {"weight_dtype": enum("torch.dtype", f"int{bits}"), "mapping_type": enum("MappingType", mapping), "granularity": group}
            dtype = ["BF16", "F16", "F32"][bits % 3]
            runs[f"intx{bits}-{mapping}"] = (dtype, config("IntxWeightOnlyConfig", **arguments), 1, 32, lambda b, i=bits, m=mapping: affine(b, i, m))
    for scale, scale_type in [("float32", f32), ("float16", f16)]:
        arguments = {"weight_dtype": enum("torch.dtype", "int4"), "weight_mapping_type": enum("MappingType", "ASYMMETRIC"), "weight_scale_dtype": enum("torch.dtype", scale)}
        runs[f"8da4w-{scale}"] = ("BF16", config("Int8DynamicActivationIntxWeightConfig", **arguments), 1, 32, lambda b, s=scale_type: affine(b, 4, "ASYMMETRIC", scale_type=s))
    for dtype in DTYPES:
        int8 = lambda b: affine(b, 8, "SYMMETRIC", int8_tensor=True)
        runs[f"int8wo-{dtype}"] = (dtype, config("Int8WeightOnlyConfig"), 1, 256, int8)
        runs[f"int8wo-tensor-{dtype}"] = (dtype, config("Int8WeightOnlyConfig", granularity=tensor), 16, 256, int8)
        runs[f"int8dyn-{dtype}"] = (dtype, config("Int8DynamicActivationInt8WeightConfig", act_mapping_type=enum("MappingType", "ASYMMETRIC")), 1, 256, int8)
        for name in FLOATS:
            runs[f"{name}-{dtype}"] = (dtype, config("Float8WeightOnlyConfig", weight_dtype=enum("torch.dtype", name), granularity=group), 1, 32, lambda b, n=name: float8(b, n))
        runs[f"float8dyn-{dtype}"] = (dtype, config("Float8DynamicActivationFloat8WeightConfig"), 16, 256, lambda b: float8(b, "float8_e4m3fn"))
        runs[f"int4wo-{dtype}"] = (dtype, config("Int4WeightOnlyConfig", group_size=64), 1, 64, int4_plain)
        runs[f"int4tiles-{dtype}"] = (dtype, config("Int4WeightOnlyConfig", group_size=32, int4_packing_format=enum("Int4PackingFormat", "TILE_PACKED_TO_4D")), 1, 32, int4_tiles)
    runs["float8dyn-row"] = ("BF16", config("Float8DynamicActivationFloat8WeightConfig", granularity=[row, row]), 1, 256, lambda b: float8(b, "float8_e4m3fn"))
    runs["float8int4"] = ("BF16", config("Float8DynamicActivationInt4WeightConfig", int4_packing_format="plain"), 1, 128, int4_symmetric)
    tensors, cases = {"w": w}, {}
    for name, (dtype, settings, rows, columns, encode) in runs.items():
        cases[name] = {"dtype": dtype, "config": settings}
        for part, array in quantize(w.astype(DTYPES[dtype]), rows, columns, encode).items():
            tensors[f"{name}.{part}"] = array
    tensors["cases"] = np.frombuffer(json.dumps(cases).encode(), np.uint8)
    golden_file.save("torchao_in_flight", tensors)


main()
