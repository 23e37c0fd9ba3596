"""Writes deepspeedfp.safetensors: a matrix `w` [6, 96] and what its groups of 64 flattened elements become in 4, 6, 8 and 12 bits
(`w4` ... `w12`, dequantized), by DeepSpeed's rules as documented and with a search through all numbers of each format.
usage: make_deepspeedfp.py [FILE]
"""


import golden_file
import numpy as np

f32 = np.float32
# bits: exponent bits, mantissa bits, bias, what the largest magnitude of a group becomes
FORMATS = {4: (2, 1, 1, 6), 6: (3, 2, 3, 28), 8: (4, 3, 7, 480), 12: (7, 4, 63, 510)}


def normal_numbers(exponent_bits, mantissa_bits, bias):
    return np.array([(1 + m / 2**mantissa_bits) * 2.0 ** (e - bias) for e in range(1, 2**exponent_bits) for m in range(2**mantissa_bits)])


def rounded(value, numbers):
    if value == 0:
        return f32(0)
    magnitude = abs(float(value))
    above = int(np.searchsorted(numbers, magnitude))  # the first number that is not smaller
    if above == 0:
        nearest = numbers[0]
    elif above == len(numbers):
        nearest = numbers[-1]
    else:
        low, high = numbers[above - 1], numbers[above]
        nearest = high if magnitude - low >= high - magnitude else low  # a tie goes up
    return f32(np.copysign(nearest, value))


def main():
    random = np.random.default_rng(3)
    w = (random.standard_normal((6, 96)) * np.exp2(random.integers(-12, 4, (6, 96)))).astype(f32)
    w[1, 40:] = 0
    w[2, :8] = 0  # with row 1: a whole group of zeros
    w.reshape(-1)[320:384] = np.arange(64, dtype=f32) / 8 - 2  # ties
    tensors = {"w": w}
    for bits, (exponent_bits, mantissa_bits, bias, largest) in FORMATS.items():
        numbers = normal_numbers(exponent_bits, mantissa_bits, bias)
        out = np.zeros_like(w).reshape(-1)
        for first in range(0, w.size, 64):
            group = w.reshape(-1)[first : first + 64]
            scale = f32(np.abs(group).max() / f32(largest))
            if scale > 0:
                out[first : first + 64] = [rounded(f32(v / scale), numbers) * scale for v in group]
        tensors[f"w{bits}"] = out.reshape(w.shape)
    golden_file.save("deepspeedfp", {name: array.astype(f32) for name, array in tensors.items()})


main()
