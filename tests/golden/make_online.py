"""Writes online.safetensors: float matrices and what vLLM's online methods and rtn make of them, in codes and scales.

The rules are those of the methods' documentation, one group of numbers at a time and with a search through all numbers of a format:
`wide` [131, 130] by the rules whose scales rows share, `tall` [7, 167] with ties, zeros and subnormal numbers by every other rule, `one` [1, 40].
For matrix M and rule R there are "M.R.codes" U8 [N, K] and "M.R.scales" F32 [N, groups], those of a matrix or block repeated.
usage: make_online.py [FILE]
"""


import golden_file
import numpy as np

f32 = np.float32


def small_floats(exponent_bits, mantissa_bits, bias, count):
    """Magnitudes of the codes 0 .. count - 1."""
    steps = 2**mantissa_bits
    values = [m / steps * 2.0 ** (1 - bias) for m in range(steps)]
    values += [(1 + m / steps) * 2.0 ** (e - bias) for e in range(1, 2**exponent_bits) for m in range(steps)]
    return values[:count]


E4M3 = small_floats(4, 3, 7, 127)  # 448 is the last; above it comes NaN
E2M1 = small_floats(2, 1, 1, 8)


def nearest(magnitude, numbers):
    """Index of the nearest number, of two the even one."""
    low, high = 0, len(numbers) - 1
    while low < high:  # the first that is not smaller
        middle = (low + high) // 2
        low, high = (middle + 1, high) if numbers[middle] < magnitude else (low, middle)
    if low == 0 or numbers[low] <= magnitude:
        return low
    below, above = magnitude - numbers[low - 1], numbers[low] - magnitude
    return low if above < below or (above == below and low % 2 == 0) else low - 1


def float_codes(numbers, sign_bit):
    return lambda x: nearest(abs(float(x)), numbers) | (sign_bit if np.signbit(x) else 0)


def whole_codes(low, high, offset):
    def code(x):
        down = int(np.floor(float(x)))
        part = float(x) - down
        whole = down + (1 if part > 0.5 or (part == 0.5 and down % 2 != 0) else 0)
        return min(max(whole, low), high) + offset

    return code


def quotient(divisor):
    return lambda largest: f32(largest / f32(divisor))


def power_above(divisor):
    def scale(largest):
        exponent = -127
        while 2.0**exponent < float(f32(largest / f32(divisor))):
            exponent += 1
        return f32(2.0**exponent)

    return scale


def power_even(largest):
    if largest == 0:
        return f32(2.0**-127)
    exponent = -149
    while 2.0 ** (exponent + 1) <= float(largest):
        exponent += 1
    half_steps = int(np.floor(float(largest) / 2.0**exponent * 2 + 0.5))  # 2, 3 or 4 halves
    return f32(2.0 ** max(exponent + (half_steps == 4) - 2, -127))


e4m3, e2m1 = float_codes(E4M3, 128), float_codes(E2M1, 8)
# rule: rows and columns that share a scale (0 = all), scale, codes, code of zero
RULES = {
    "fp8_per_tensor_static": (0, 0, quotient(448), e4m3, 0),
    "fp8_per_channel_static": (1, 0, quotient(448), e4m3, 0),
    "fp8_per_block_static": (128, 128, quotient(448), e4m3, 0),
    "mxfp8": (1, 32, power_above(448), e4m3, 0),
    "mxfp4": (1, 32, power_even, e2m1, 0),
    "int8_per_channel_static": (1, 0, quotient(127), whole_codes(-127, 127, 128), 128),
    "int8_per_group_32": (1, 32, quotient(127), whole_codes(-127, 127, 128), 128),
    "int4_per_group_32": (1, 32, quotient(7), whole_codes(-7, 7, 8), 8),
    "rtn8_128": (1, 128, lambda largest: f32(f32(2) * largest / f32(255)), whole_codes(-128, 127, 128), 128),
    "rtn4_row": (1, 0, lambda largest: f32(f32(2) * largest / f32(15)), whole_codes(-8, 7, 8), 8),
}


def quantize(w, rule):
    rows, columns, scale_of, code_of, zero = RULES[rule]
    n, k = w.shape
    rows, columns = rows or n, columns or k
    codes, scales = np.zeros(w.shape, np.uint8), np.zeros((n, -(-k // columns)), f32)
    for top in range(0, n, rows):
        for left in range(0, k, columns):
            block = w[top : top + rows, left : left + columns]
            scale = scale_of(np.abs(block).max())
            scales[top : top + rows, left // columns] = scale
            for (r, c), value in np.ndenumerate(block):
                codes[top + r, left + c] = code_of(f32(value / scale)) if scale != 0 else zero
    return codes, scales


def make_tall(random):
    w = (random.standard_normal((7, 167)) * np.exp2(random.integers(-10, 3, (7, 167)))).astype(f32)
    ties = np.zeros(167, f32)
    ties[:16] = [448, 17, 19, -17, 2**-10, 3 * 2**-10, 5 * 2**-10, -(2**-10), 232, 248, 0.5, 1.5, 2.5, -0.5, -0.0, 1.0625]
    ties[32:48] = [6, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -0.25, -0.75, -1.25, -1.75, -2.5, -3.5, -5, 0.125]
    ties[64:80] = [7, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.5, 6.5, -6.5, 5, -5, 4.5, 3, 6, -7]
    ties[96:104] = [127, 0.5, 1.5, 2.5, -3.5, 126.5, -126.5, -127]
    ties[128:140] = [127.5, -127.5, 0.5, 1.5, -1.5, 2.5, 126.5, -126.5, 3.5, -0.5, 100, -100]
    w[1] = ties
    w[2] = 0
    w[3] = 0
    w[3, :12] = [7.5, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -7.5, 6.5, -6.5, 4, -0.0]  # of rtn with 4 bits
    w[4] = (random.standard_normal(167) * 1e-40).astype(f32)  # subnormal, the scales as well
    w[5] = np.where(np.arange(167) % 3 == 0, f32(1e-44), f32(0))  # whose scale becomes 0
    w[6, :32] = 0
    w[6, 32:64] *= f32(2.0**-100)
    w[6, 64] = 1e38
    return w


def main():
    random = np.random.default_rng(7)
    wide = (random.standard_normal((131, 130)) * np.exp2(random.integers(-6, 1, (131, 130)))).astype(f32)
    tall, one = make_tall(random), random.standard_normal((1, 40)).astype(f32)
    tensors = {"wide": wide, "tall": tall, "one": one}
    cases = [("wide", "fp8_per_block_static"), ("wide", "fp8_per_tensor_static")] + [(name, rule) for name in ("tall", "one") for rule in RULES]
    for name, rule in cases:
        tensors[f"{name}.{rule}.codes"], tensors[f"{name}.{rule}.scales"] = quantize(tensors[name], rule)
    golden_file.save("online", tensors)


main()
