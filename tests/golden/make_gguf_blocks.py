"""Writes gguf_blocks.safetensors: a matrix `x` [38, 512] and, by the name of each block type of ggml, its rows as ggml's own
quantizers (ggml_quantize_chunk, no importance matrix) encode them: raw blocks, row after row.
usage: make_gguf_blocks.py LIBGGML_BASE_SO [FILE]
"""

import ctypes
import sys

import golden_file
import numpy as np

f32 = np.float32
K = 512
# name: ggml's type id, elements and bytes of a block
TYPES = {
    "q4_0": (2, 32, 18),
    "q4_1": (3, 32, 20),
    "q5_0": (6, 32, 22),
    "q5_1": (7, 32, 24),
    "q8_0": (8, 32, 34),
    "q2_k": (10, 256, 84),
    "q3_k": (11, 256, 110),
    "q4_k": (12, 256, 144),
    "q5_k": (13, 256, 176),
    "q6_k": (14, 256, 210),
    "iq4_nl": (20, 32, 18),
    "iq4_xs": (23, 256, 136),
    "tq1_0": (34, 256, 54),
    "tq2_0": (35, 256, 66),
}


def inputs():
    random = np.random.default_rng(21)

    def normal(scale=1.0):
        return random.standard_normal(K) * scale

    column = np.arange(K)
    rows = [
        normal(0.02),
        normal(),
        normal() * np.exp2(random.integers(-12, 4, K)),  # many magnitudes in a group
        normal(0.02) * np.exp2(column // 32 % 13 - 12),  # and many among groups: some scales become 0
        np.zeros(K),
        np.full(K, 0.37),
        np.full(K, -0.37),
        np.where(column % 32 < 16, 0.0, -0.0),
        np.where(column // 16 % 3 == 0, 0, normal(0.1)),  # whole groups of zeros
        np.where(column // 32 % 2 == 0, -1.5, normal(0.1)),  # and of a constant
        np.arange(K) % 31 / 2.0 - 7.5,  # ties
        np.where(column % 2 == 0, 1.0, -1.0),  # equal magnitudes of both signs
        np.where(column == 77, 100.0, normal(0.01)),  # one outlier
        np.where(column == 300, -3e4, normal(0.01)),
        normal(1e4),
        normal(1e-7),
        normal(1e-20),
        normal(1e-39),  # inverses of scales overflow
        np.abs(normal()) + 3,  # one sign
        -np.abs(normal()) - 3,
    ]
    for _ in range(9):  # where the ends of the searches matter
        rows.append(np.where(random.integers(0, 20, K) == 0, 50, 1) * normal())
        rows.append(np.abs(normal()) + random.integers(0, 3, K))
    return np.stack([np.asarray(row, f32) for row in rows])


def main():
    ggml = ctypes.CDLL(sys.argv[1])
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    x = inputs()
    tensors = {"x": x}
    for name, (type_id, block, block_bytes) in TYPES.items():
        out = np.zeros((len(x), K // block * block_bytes), np.uint8)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, out)]
        sizes = [ctypes.c_int64(n) for n in (0, *x.shape)]
        assert ggml.ggml_quantize_chunk(ctypes.c_int(type_id), *pointers, *sizes, None) == out.nbytes
        tensors[name] = out
    golden_file.save("gguf_blocks", tensors, 2)


main()
