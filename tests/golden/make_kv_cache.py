"""Writes kv_cache.safetensors: queries, keys and values `qkv` [tokens, (4 + 2 + 2) heads of 48] of one sequence, what a cache of
each type holds of them (`TYPE.keys`, `TYPE.values`: bytes of its blocks, zeros where no token is) and the attention that gives
(`TYPE.out`, in double). Transforms are products with whole matrices, 8-bit floats a search through all of them.
usage: make_kv_cache.py [FILE]
"""


import golden_file
import numpy as np

f32 = np.float32
HEADS, KV_HEADS, DIM, TOKENS, BLOCK = 4, 2, 48, 21, 16


def small_floats(exponent_bits, mantissa_bits, bias, largest):
    """Values of the codes from 0 up to the largest finite number."""
    values = []
    for code in range(2 ** (exponent_bits + mantissa_bits)):
        exponent, mantissa = code >> mantissa_bits, code % 2**mantissa_bits
        value = (mantissa + (2**mantissa_bits if exponent else 0)) * 2.0 ** (max(exponent, 1) - bias - mantissa_bits)
        if value > largest:
            break
        values.append(value)
    return np.array(values)


E4M3, E5M2 = small_floats(4, 3, 7, 448), small_floats(5, 2, 15, 57344)


def nearest_float(x, values):
    codes, back = np.zeros(x.shape, np.uint8), np.zeros(x.shape)
    for i, v in enumerate(x):
        distance = np.abs(values - abs(float(v)))
        best = np.flatnonzero(distance == distance.min())
        code = next((c for c in best if c % 2 == 0), best[0])  # a tie goes to the even code
        codes[i] = code | (0x80 if np.signbit(v) else 0)
        back[i] = np.copysign(values[code], v)
    return codes, back


def bits_of(value):
    return int(np.array(value, f32).view(np.uint32))


def from_bits(bits):
    return np.array(bits, np.uint32).view(f32)[()]


def encode(kind, x):
    """Units of storage of one head, the stored scale or None, and the values that these are."""
    if kind == "fp8_e4m3":
        codes, back = nearest_float(x, E4M3)
        return codes, None, back
    if kind == "fp8_e5m2":
        codes, back = nearest_float(x, E5M2)
        return codes, None, back
    if kind == "bfloat16":
        bits = x.view(np.uint32)
        codes = ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        return codes, None, (codes.astype(np.uint32) << 16).view(f32).astype(float)
    if kind == "float16":
        return x.astype(np.float16).view(np.uint16), None, x.astype(np.float16).astype(float)
    largest = np.abs(x).max()
    if kind == "fp8_per_token_head":
        scale = max(f32(largest / f32(448)), f32(1e-30))
        codes, back = nearest_float(x / scale, E4M3)
        return codes, scale, back * float(scale)
    if kind == "int8_per_token_head":
        scale = max(f32(largest / f32(127)), f32(1e-30))
        codes = np.rint(x / scale).astype(np.int8)
        return codes.view(np.uint8), scale, codes.astype(float) * float(scale)
    low, high = min(x.min(), f32(0)), max(x.max(), f32(0))
    scale = from_bits(bits_of(max((high - low) / f32(15), f32(1e-30))) & ~15)
    zero = int(min(np.rint(-low / scale), 15))
    codes = np.clip(np.rint(x / scale) + zero, 0, 15).astype(np.uint8)
    stored = from_bits(bits_of(scale) | zero)
    return codes[0::2] | codes[1::2] << 4, stored, (codes.astype(float) - zero) * float(scale)


def hadamard_matrix(dim):
    block = dim & -dim
    signs = [[(-1) ** (i & j).bit_count() for j in range(block)] for i in range(block)]
    return np.kron(np.eye(dim // block), signs).astype(f32)


def transform(x, matrix):
    """By additions of pairs, as float32 has it: the sums of a butterfly, each of halves."""
    if len(matrix) == 0:
        return x
    block = DIM & -DIM
    out = []
    for part in x.reshape(-1, block):
        parts = [part[i : i + 1] for i in range(block)]
        while len(parts) > 1:
            parts = [np.concatenate([a + b, a - b]) for a, b in zip(parts[0::2], parts[1::2])]
        out.append(parts[0])
    out = np.concatenate(out)
    assert np.allclose(out, x @ matrix, rtol=1e-4, atol=1e-4)
    return out


def cache_of(kind, qkv):
    matrix = hadamard_matrix(DIM) if kind.startswith("int4") else np.zeros((0, 0), f32)
    blocks = {"keys": [[], []], "values": [[], []]}
    first = {"keys": HEADS, "values": HEADS + KV_HEADS}
    read = {}
    n_blocks = (TOKENS + BLOCK - 1) // BLOCK
    memory = {}
    for half, start in first.items():
        sample, scale, _ = encode(kind, np.ones(DIM, f32))
        units, unit = len(sample), sample.dtype
        shape = (KV_HEADS, units, BLOCK) if half == "keys" else (KV_HEADS, BLOCK, units)
        codes = np.zeros((n_blocks, *shape), unit)
        scales = np.zeros((n_blocks, KV_HEADS, BLOCK), f32)
        read[half] = np.zeros((TOKENS, KV_HEADS, DIM))
        for token in range(TOKENS):
            block, slot = divmod(token, BLOCK)
            for head in range(KV_HEADS):
                x = transform(qkv[token, (start + head) * DIM :][:DIM], matrix)
                stored, own, back = encode(kind, x)
                if half == "keys":
                    codes[block, head, :, slot] = stored
                else:
                    codes[block, head, slot] = stored
                scales[block, head, slot] = own or 0
                # what a reader sees, transformed back
                read[half][token, head] = back @ matrix / (DIM & -DIM) if len(matrix) else back
        parts = [codes.reshape(n_blocks, -1).view(np.uint8)]
        if scale is not None:
            parts.append(scales.reshape(n_blocks, -1).view(np.uint8))
        memory[half] = np.concatenate(parts, axis=1)
    out = np.zeros((TOKENS, HEADS * DIM))
    for token in range(TOKENS):
        for head in range(HEADS):
            kv = head // (HEADS // KV_HEADS)
            q = qkv[token, head * DIM :][:DIM].astype(float)
            score = read["keys"][: token + 1, kv] @ q / np.sqrt(DIM)
            p = np.exp(score - score.max())
            out[token, head * DIM :][:DIM] = p @ read["values"][: token + 1, kv] / p.sum()
    return memory["keys"], memory["values"], out.astype(f32)


def main():
    random = np.random.default_rng(11)
    width = (HEADS + 2 * KV_HEADS) * DIM
    qkv = random.standard_normal((TOKENS, width)).astype(f32)
    qkv[:, HEADS * DIM + 7] *= 30  # keys have dimensions that stand out
    qkv[3, (HEADS + 2) * DIM :] *= f32(1e-3)
    qkv[4, HEADS * DIM : (HEADS + 1) * DIM] = 0
    qkv[5, (HEADS + 1) * DIM : (HEADS + 2) * DIM] = np.arange(DIM) / 8  # ties
    qkv[6, (HEADS + 3) * DIM :] = np.abs(qkv[6, (HEADS + 3) * DIM :])  # its range begins at 0
    qkv[7, (HEADS + 2) * DIM :] *= f32(1e4)  # beyond E4M3
    tensors = {"qkv": qkv}
    kinds = ("bfloat16", "float16", "fp8_e4m3", "fp8_e5m2", "fp8_per_token_head", "int8_per_token_head", "int4_per_token_head")
    for kind in kinds:
        tensors[kind + ".keys"], tensors[kind + ".values"], tensors[kind + ".out"] = cache_of(kind, qkv)
    golden_file.save("kv_cache", tensors)


main()
