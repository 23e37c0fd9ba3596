"""The float master of a model.

A matrix is put together from chunks of a pool of normal numbers, chosen at random by (seed, tensor name): what a block
encoder makes of the pool is computed once and then only copied, so that writing is bound by the disk. Every number is
rounded to bfloat16 before any encoder sees it: the bfloat16 and float32 files hold exactly the master.
"""

import math
import zlib
from functools import cached_property, lru_cache

import numpy as np

POOL_NUMBERS = 1 << 23
WIDEST_CHUNK = 256  # also the largest block of any encoder


def to_bfloat16_bits(x):
    """Round to nearest even; the numbers are finite."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def round_to_bfloat16(x):
    return (to_bfloat16_bits(x).astype(np.uint32) << 16).view(np.float32)


def rope_row_order(rows, heads):
    """HF row that stands in each GGUF row: within a head the two halves are interleaved."""
    return np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(-1)


class Weights:
    def __init__(self, seed):
        self.seed = seed
        self.encoded_pool = lru_cache(maxsize=4)(self._encoded_pool)
        self.scaled_pool = lru_cache(maxsize=2)(self._scaled_pool)

    @cached_property
    def pool(self):
        return np.random.default_rng(self.seed).standard_normal(POOL_NUMBERS, dtype=np.float32)

    def _scaled_pool(self, scale):
        return round_to_bfloat16(self.pool * np.float32(scale))

    def _encoded_pool(self, encoder, scale):
        """What the encoder makes of the pool: [blocks, bytes of a block]."""
        slices = np.array_split(self.scaled_pool(scale).reshape(-1, encoder.block), 16)
        return np.concatenate([encoder.encode(part) for part in slices])

    def _rng(self, tensor):
        return np.random.default_rng([self.seed, zlib.crc32(tensor.hf_name.encode())])

    def _chunks(self, tensor, permute):
        """Chunk width and the pool chunk at each place of the matrix: [N, K / width]."""
        rows, cols = tensor.shape
        width = math.gcd(cols, WIDEST_CHUNK)
        chunks = self._rng(tensor).integers(POOL_NUMBERS // width, size=(rows, cols // width), dtype=np.int32)
        if permute and tensor.rope_heads:
            chunks = chunks[rope_row_order(rows, tensor.rope_heads)]
        return width, chunks

    @staticmethod
    def _scale(tensor):
        return 1 / math.sqrt(tensor.shape[1])

    def vector(self, tensor, permute=False):
        """A norm (around 1) or a bias (around 0): float32 [N]."""
        x = self._rng(tensor).standard_normal(tensor.shape[0], dtype=np.float32) * np.float32(0.1)
        x = round_to_bfloat16(x + np.float32(tensor.role == "norm"))
        return x[rope_row_order(len(x), tensor.rope_heads)] if permute and tensor.rope_heads else x

    def matrix(self, tensor, permute=False):
        """float32 [N, K]."""
        width, chunks = self._chunks(tensor, permute)
        return self.scaled_pool(self._scale(tensor)).reshape(-1, width)[chunks].reshape(tensor.shape)

    def blocks(self, tensor, encoder, permute=False):
        """The encoded matrix, some rows at a time: uint8 [blocks, block_bytes]. Blocks run over the flat matrix."""
        width, chunks = self._chunks(tensor, permute)
        if width % encoder.block:  # blocks cross chunks
            yield from self._flat_blocks(self.matrix(tensor, permute).reshape(-1), encoder)
            return
        encoded = self.encoded_pool(encoder, self._scale(tensor)).reshape(POOL_NUMBERS // width, -1)
        rows = max(1, (1 << 24) // (chunks.shape[1] * encoded.shape[1]))
        for first in range(0, len(chunks), rows):
            yield encoded[chunks[first:first + rows].reshape(-1)].reshape(-1, encoder.block_bytes)

    @staticmethod
    def _flat_blocks(flat, encoder):
        flat = np.pad(flat, (0, -len(flat) % encoder.block))
        for part in np.array_split(flat.reshape(-1, encoder.block), 1 + len(flat) // (1 << 23)):
            yield encoder.encode(part)
