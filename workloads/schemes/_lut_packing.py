"""How LUT-GEMM's planes and scales are laid out for its kernels.

Packing cuts each plane of a row into 32-bit words, bit t
of word j for column 32 j + t. ``table`` says how a kernel looks up, and so the order and what is done to the words:

* ``private``: lanes are words along K and own a table each. Slabs of 32 words (fewer in the last one):
  [slab][n / 4][plane][word][4 rows], each word rotated left by 7. Scales: [slab][n / 4][q + 1][groups of the slab]
  [4 rows], a slab of one group where groups are longer.
* ``shared``: lanes are rows and share a table. Blocks of 256 rows (fewer in the last one): [block][k / 32][q][row],
  each word rotated left by 1. Scales: [groups, q + 1, n].
* ``signed``: as ``shared``, for tables of half the size, T[~i] = -T[i]: each byte b is turned into (i << 1) | s with s
  its top bit and i its other bits, inverted if s is 1.

Packed arrays say for which table they are: the words of ``signed`` are int32, those of the others uint32, and the
scales of ``private`` have one dimension, those of the others three.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array

Words = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.uint8]

WORD = 32  # columns
SLAB_WORDS = 32
QUAD, BLOCK_ROWS = 4, 256  # rows
ROTATE = {"private": 7, "shared": 1}


def words(codes: Codes, bits: int) -> Words:
    """Cut the planes of codes [n, k] into words [bits, n, k / 32]."""
    planes = [np.packbits(codes >> plane & 1, axis=1, bitorder="little").view("<u4") for plane in range(bits)]
    return np.stack(planes).astype(np.uint32, copy=False)


def codes(words: Words) -> Codes:
    """Invert ``words``."""
    little = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    signs = np.unpackbits(little, axis=2, bitorder="little")
    shifted: Codes = signs << np.arange(len(words), dtype=np.uint8)[:, None, None]
    codes: Codes = np.bitwise_or.reduce(shifted, axis=0)
    return codes


def rotated(words: Words, left: int) -> Words:
    """Rotate every word left; right if negative."""
    left %= WORD
    return (words << np.uint32(left)) | (words >> np.uint32(WORD - left))


def to_signed(words: Words) -> npt.NDArray[np.int32]:
    """Turn the bytes of words into indices of half a table, with a sign."""
    tops = words >> np.uint32(7) & np.uint32(0x01010101)
    indices = (words ^ tops * np.uint32(0x7F)) & np.uint32(0x7F7F7F7F)
    return (indices << np.uint32(1) | tops).view(np.int32)


def from_signed(packed: npt.NDArray[np.int32]) -> Words:
    """Invert ``to_signed``."""
    words = packed.view(np.uint32)
    tops = words & np.uint32(0x01010101)
    indices: Words = (words >> np.uint32(1) & np.uint32(0x7F7F7F7F)) ^ tops * np.uint32(0x7F)
    return indices | tops << np.uint32(7)


def _slabs(words: int) -> list[slice]:
    """Cut words along K into slabs: the whole ones together, the last."""
    whole = words // SLAB_WORDS * SLAB_WORDS
    return [part for part in (slice(0, whole), slice(whole, words)) if part.start < part.stop]


def to_slabs(words: Words) -> Words:
    """Lay words [bits, n, k / 32] out for private tables."""
    bits, n, count = words.shape
    parts = []
    for part in _slabs(count):
        cut = words[:, :, part].reshape(bits, n // QUAD, QUAD, -1, min(SLAB_WORDS, part.stop - part.start))
        parts.append(cut.transpose(3, 1, 0, 4, 2).ravel())
    return np.concatenate(parts)


def from_slabs(packed: Words, bits: int, n: int, k: int) -> Words:
    """Invert ``to_slabs``."""
    words = np.empty((bits, n, k // WORD), np.uint32)
    for part in _slabs(k // WORD):
        width = min(SLAB_WORDS, part.stop - part.start)
        cut = packed[part.start * bits * n : part.stop * bits * n].reshape(-1, n // QUAD, bits, width, QUAD)
        words[:, :, part] = cut.transpose(2, 1, 4, 0, 3).reshape(bits, n, -1)
    return words


def to_blocks(words: Array) -> Array:
    """Lay words [bits, n, k / 32] out for shared tables."""
    return np.concatenate([words[:, block].transpose(2, 0, 1).ravel() for block in _blocks(words.shape[1])])


def from_blocks(packed: Array, bits: int, n: int, k: int) -> Array:
    """Invert ``to_blocks``."""
    words, count = np.empty((bits, n, k // WORD), packed.dtype), k // WORD
    for block in _blocks(n):
        cut = packed[block.start * bits * count : block.stop * bits * count]
        words[:, block] = cut.reshape(count, bits, -1).transpose(1, 2, 0)
    return words


def _blocks(n: int) -> list[slice]:
    return [slice(first, min(first + BLOCK_ROWS, n)) for first in range(0, n, BLOCK_ROWS)]


def scales_to_slabs(scales: Array, per_slab: int) -> Array:
    """Lay scales [groups, q + 1, n] out for private tables, ``per_slab`` groups in a slab."""
    groups, planes, n = scales.shape
    parts = []
    for first in range(0, groups, per_slab):
        cut = scales[first : first + per_slab].reshape(-1, planes, n // QUAD, QUAD)
        parts.append(cut.transpose(2, 1, 0, 3).ravel())
    return np.concatenate(parts)


def scales_from_slabs(packed: Array, per_slab: int, groups: int, planes: int, n: int) -> Array:
    """Invert ``scales_to_slabs``."""
    scales = np.empty((groups, planes, n), np.float16)
    flat = packed.ravel()
    for first in range(0, groups, per_slab):
        count = min(per_slab, groups - first)
        cut = flat[first * planes * n : (first + count) * planes * n].reshape(n // QUAD, planes, count, QUAD)
        scales[first : first + count] = cut.transpose(2, 1, 0, 3).reshape(count, planes, n)
    return scales
