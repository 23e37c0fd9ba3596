"""Writes act_schemes.safetensors: what each activation scheme of the formats makes of some inputs.

The rules are written from the formats' documentation, in NumPy and for one group of numbers at a time, without a look at the
engine: for a group x, `codes` (as numbers), `scales` and `zeros`, so that x stands for (code - zero) * scale.
usage: make_act_schemes.py [FILE]
"""


import golden_file
import numpy as np

f32 = np.float32


def grid(exponents, mantissa_bits, largest):
    """All magnitudes of a small float: `exponents` are those of its normal numbers, below them come even steps."""
    steps = 2**mantissa_bits
    low = 2.0 ** exponents[0]
    values = [low * i / steps for i in range(steps)]
    values += [2.0**e * (1 + i / steps) for e in exponents for i in range(steps)]
    return np.array([v for v in values if v <= largest])


E4M3, E2M1, E5M2 = grid(range(-6, 9), 3, 448), grid(range(0, 3), 1, 6), grid(range(-14, 16), 2, 57344)


def to_grid(values, magnitudes):
    """Nearest magnitude, a tie to the one with an even code; the sign stays."""
    out = []
    for value in values.astype(np.float64):
        distance = np.abs(magnitudes - min(abs(value), magnitudes[-1]))
        best = np.flatnonzero(distance == distance.min())
        index = next((i for i in best if i % 2 == 0), best[0])
        out.append(np.copysign(magnitudes[index], value))
    return np.array(out, f32)


def nothing(n):
    return np.zeros(n, f32), f32(0), f32(0)


def int_symmetric(divisor, low=-128, high=127, smallest=0.0):
    def rule(x):
        scale = np.maximum(np.abs(x).max() / f32(divisor), f32(smallest)).astype(f32)
        if scale == 0:
            return nothing(len(x))
        return np.clip(np.rint(x / scale), low, high).astype(f32), scale, f32(0)

    return rule


def int8_asymmetric(smallest=0.0):
    def rule(x):
        low, high = min(x.min(), f32(0)), max(x.max(), f32(0))
        scale = np.maximum((high - low) / f32(255), f32(smallest)).astype(f32)
        if scale == 0:
            return nothing(len(x))
        zero = np.clip(f32(-128) - np.rint(low / scale), -128, 127).astype(f32)
        return np.clip(np.rint(x / scale) + zero, -128, 127).astype(f32), scale, zero

    return rule


def int8_static(scale, zero):
    def rule(x):
        return np.clip(np.rint(x / f32(scale)) + f32(zero), -128, 127).astype(f32), f32(scale), f32(zero)

    return rule


def float_static(scale, magnitudes=E4M3):
    return lambda x: (to_grid(x / f32(scale), magnitudes), f32(scale), f32(0))


def float_dynamic(magnitudes, limit=None):
    def rule(x):
        largest = np.abs(x).max() if limit is None else min(np.abs(x).max(), f32(limit))
        scale = f32(largest / f32(magnitudes[-1]))
        return nothing(len(x)) if scale == 0 else (to_grid(x / scale, magnitudes), scale, f32(0))

    return rule


def power_of_two(magnitudes, exponent):
    """`exponent` gives that of the scale for the largest magnitude, a Python float."""

    def rule(x):
        largest = float(np.abs(x).max())
        if largest == 0:
            return nothing(len(x))
        scale = f32(2.0 ** exponent(largest))
        return to_grid(x / scale, magnitudes), scale, f32(0)

    return rule


def floor_log2(value):
    return int(np.frexp(value)[1]) - 1


def rounded_half_up(value, explicit_bits):
    step = 2.0 ** (floor_log2(value) - explicit_bits)
    return np.floor(value / step + 0.5) * step


def floor_rule(shift):
    return lambda largest: floor_log2(largest) - shift


def even_rule(shift, explicit_bits):
    return lambda largest: floor_log2(rounded_half_up(largest, explicit_bits)) - shift


def ceil_rule(top):
    def exponent(largest):
        quotient = float(f32(f32(largest) / f32(top)))
        return floor_log2(quotient) + (quotient != 2.0 ** floor_log2(quotient))

    return exponent


def nvfp4(global_scale):
    def rule(x):
        block = to_grid(np.array([np.abs(x).max() / f32(6) / f32(global_scale)], f32), E4M3)[0]
        scale = f32(block * f32(global_scale))
        return nothing(len(x)) if scale == 0 else (to_grid(x / scale, E2M1), scale, f32(0))

    return rule


# Name: (columns of a group, 0 = the row; rule). The C++ test has the same names.
SCHEMES = {
    "int8_static": (0, int8_static(0.0375, 0)),
    "int8_static_asymmetric": (0, int8_static(0.0375, -11)),
    "int8_token_127": (0, int_symmetric(127)),
    "int8_token_127.5": (0, int_symmetric(127.5)),
    "int8_token_127.5_at_least": (0, int_symmetric(127.5, smallest=2.0**-23)),
    "int8_token_asymmetric": (0, int8_asymmetric()),
    "int8_token_asymmetric_at_least": (0, int8_asymmetric(2.0**-23)),
    "int4_token": (0, int_symmetric(7, -8, 7)),
    "fp8_static": (0, float_static(0.0375)),
    "fp8_token": (0, float_dynamic(E4M3)),
    "fp8_token_limited": (0, float_dynamic(E4M3, 2.0)),
    "fp8_group_128": (128, float_dynamic(E4M3)),
    "fp8_group_128_power": (128, power_of_two(E4M3, ceil_rule(448))),
    "fp8_e5m2_token": (0, float_dynamic(E5M2)),
    "mxfp8_ceil": (32, power_of_two(E4M3, ceil_rule(448))),
    "mxfp8_even": (32, power_of_two(E4M3, even_rule(8, 3))),
    "mxfp8_floor": (32, power_of_two(E4M3, floor_rule(8))),
    "mxfp4_even": (32, power_of_two(E2M1, even_rule(2, 1))),
    "mxfp4_floor": (32, power_of_two(E2M1, floor_rule(2))),
    "nvfp4": (16, nvfp4(0.0375)),
}


def inputs():
    random = np.random.default_rng(7)
    rows = [random.standard_normal(208).astype(f32) * f32(s) for s in (1, 1e-3, 30, 1000)]
    rows.append((np.arange(208, dtype=f32) - 100) / f32(8))  # ties of many scales
    rows.append(np.where(np.arange(208) % 32 < 16, random.standard_normal(208), 0).astype(f32))  # groups of zeros
    rows.append(np.abs(random.standard_normal(208)).astype(f32))  # one sign
    rows.append(np.exp2(random.integers(-20, 10, 208)).astype(f32) * random.choice([-1, 1], 208).astype(f32))
    rows.append(np.where(np.arange(208) == 77, 900, random.standard_normal(208)).astype(f32))  # an outlier
    rows.append(np.zeros(208, f32))
    return np.array(rows, f32)


def main():
    x = inputs()
    tensors = {"x": x}
    for name, (group, rule) in SCHEMES.items():
        width = group or x.shape[1]
        codes, scales, zeros = [], [], []
        for row in x:
            parts = [rule(row[k : k + width]) for k in range(0, len(row), width)]
            codes.append(np.concatenate([part[0] for part in parts]))
            scales.append([part[1] for part in parts])
            zeros.append([part[2] for part in parts])
        tensors |= {f"{name}.codes": codes, f"{name}.scales": scales, f"{name}.zeros": zeros}
    golden_file.save("act_schemes", {name: np.asarray(values, f32) for name, values in tensors.items()})


main()
