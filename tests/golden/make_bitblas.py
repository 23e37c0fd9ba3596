"""Writes bitblas_in_flight.safetensors: a matrix `w` [6, 84] and, for each case of `cases` (a JSON object: name to quantization_config),
what rounding to nearest makes of it: `<name>.codes`, `<name>.scale` and, where there are such, `<name>.zero` or `<name>.min`.
usage: make_bitblas.py [FILE]
"""

import json

import ml_dtypes
import golden_file
import numpy as np

f32, f64 = np.float32, np.float64
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
       0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
POWERS = [0.0] + [2.0**e for e in range(-6, 1)]
TABLES = {"int1": [-1.0, 1.0], "nf4": NF4, "fp4_e2m1": POWERS + [-v for v in POWERS]}
FLOATS = {"e4m3_float8": (448, ml_dtypes.float8_e4m3fn), "e5m2_float8": (57344, ml_dtypes.float8_e5m2)}


def half(value):
    return f32(np.float16(f32(value)))


def nearest_entry(value, table):
    """The smaller of two values that are as near, the first code of a value that is there twice."""
    order = sorted(range(len(table)), key=lambda code: (f64(f32(table[code])), code))
    return min(order, key=lambda code: abs(f64(value) - f64(f32(table[code]))))


def encode(group, name, mode):
    """codes, scale, zero (a whole number) of a group."""
    low, high = min(f32(0), group.min()), max(f32(0), group.max())
    largest = max(-low, high)
    if name in FLOATS:
        top, dtype = FLOATS[name]
        scale = half(max(f32(largest / f32(top)), f32(2.0**-14)))
        clipped = np.clip(group / scale, -f32(top), f32(top))
        return clipped.astype(dtype).view(np.uint8), scale, 0
    if name in TABLES:
        mean = f32(sum(abs(float(v)) for v in group) / len(group))
        scale = half(mean if name == "int1" else largest)
        return np.array([nearest_entry(v / scale if scale else f32(0), TABLES[name]) for v in group], np.uint8), scale, 0
    bits = int(name[-1])
    steps = f32(2**bits - 1)
    if name.startswith("uint"):
        scale = half((high - low) / steps)
        zero = int(np.clip(np.rint(-low / scale), 0, steps)) if scale else 0
        codes = np.clip(np.rint(group / scale) + zero, 0, steps) if scale else np.zeros(len(group))
    else:
        scale, zero = half(f32(2) * largest / steps), 0
        middle = 2 ** (bits - 1)
        codes = np.clip(np.rint(group / scale) + middle, 0, steps) if scale else np.full(len(group), middle)
    return codes.astype(np.uint8), scale, zero


def matrix():
    random = np.random.default_rng(11)
    w = (random.standard_normal((6, 84)) * np.exp2(random.integers(-9, 2, (6, 84)))).astype(f32)
    w[1, :32] = 0.75  # constant groups
    w[1, 32:64] = -0.3
    w[1, 64:] = 0
    w[2, :64] = np.abs(w[2, :64])
    w[3, :32] = np.arange(32) / 16 - 1  # ties
    w[4, :] *= f32(1e-4)
    w[5, 64:] *= f32(1e-7)
    return w


def main():
    w = matrix()
    names = ["int1", "int2", "int4", "int8", "uint1", "uint2", "uint4", "uint8", *FLOATS, "nf4", "fp4_e2m1"]
    tensors, cases = {"w": w}, {}
    for name in names:
        for mode in ["quantized", "original", "rescale"] if name.startswith("uint") else [""]:
            for group in [32, -1]:
                case = f"{name}.{mode}.{group}"
                cases[case] = {"W_dtype": name, "group_size": group} | ({"zeros_mode": mode} if mode else {})
                size = 84 if group == -1 else group
                parts = [[encode(row[k : k + size], name, mode) for k in range(0, 84, size)] for row in w]
                tensors[f"{case}.codes"] = np.array([np.concatenate([p[0] for p in row]) for row in parts], np.uint8)
                tensors[f"{case}.scale"] = np.array([[p[1] for p in row] for row in parts], f32)
                if mode == "rescale":
                    tensors[f"{case}.min"] = np.array([[-half(f32(p[2]) * p[1]) for p in row] for row in parts], f32)
                elif mode:
                    tensors[f"{case}.zero"] = np.array([[p[2] for p in row] for row in parts], f32)
    tensors["cases"] = np.frombuffer(json.dumps(cases).encode(), np.uint8)
    golden_file.save("bitblas_in_flight", tensors)


main()
