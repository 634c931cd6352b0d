"""LUT-GEMM: binary-coded weights with an offset, multiplied by looking up signed partial sums of the activations.

The format is that of arXiv:2206.09557: w = sum over planes p of alpha_p * b_p + offset with b_p in {-1, +1}; the
scales alpha and the offset belong to a group of columns. A uniform code 0..2^q - 1 with a scale s is the special case
alpha_p = s * 2^p / 2, whose planes are the code's bits (``from_uniform``).

Codes are 0..2^q - 1: bit p of a code says whether b_p is +1. Packing cuts each plane of a row into 32-bit words, bit t
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

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array, Arrays, Option, Options, Scheme, check_weight
from workloads.shapes import check_multiple

Words = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.uint8]

TABLES = ("private", "shared", "signed")
WORD = 32  # columns
SLAB_WORDS = 32
QUAD, BLOCK_ROWS = 4, 256  # rows
MAX_BITS = 8
_ROTATE = {"private": 7, "shared": 1}
_LARGEST = (
    float(np.finfo(np.float16).max) / 4
)  # the range of a group, its scales and its offset fit a float16
_SMALLEST_STEP = 2.0**-14  # a group of equal weights needs some scale too
_ROWS_AT_ONCE = 256  # bounds the temporaries of quantization
_FITTING_ROUNDS = 4
_RIDGE = 1e-3  # of a column's square: two planes of a group may be equal
_SHRINKS = np.linspace(1.0, 0.3, 8)  # of the range of a group, tried for few bits
_FEW_BITS = 2


class LutGemm(Scheme):
    """Operands ``codes`` uint8 [n, k], ``scales`` float16 [groups, q + 1, n], offset last; ``table`` uint8 []."""

    name = "lut_gemm"
    doc = "binary-coded weights with FP16 group scales and offsets, look-up tables of FP16 activations"
    input_type = "f16"
    weight_bits = 4
    options = (
        Option("bits", 4, tuple(range(1, MAX_BITS + 1)), "binary planes of a weight"),
        Option(
            "group_size",
            128,
            (64, 128, 256, -1),
            "columns of K that share scales and offset; -1: all of them",
        ),
        Option(
            "table", "private", TABLES, "one table per lane, one for all lanes, or one of half the entries"
        ),
        Option("mu", 8, (4, 5, 6, 7, 8), "columns that one look-up covers"),
        Option(
            "fit", "uniform", ("uniform", "binary"), "evenly spaced levels, or planes fitted to the weights"
        ),
    )

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        check_multiple("K", k, WORD, "", where)
        check_multiple("K", k, _group(k, options), "the group size", where)
        check_multiple("N", n, QUAD, "", where)

    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count an eighth of a byte per weight and plane, two bytes per scale and offset."""
        bits = int(options["bits"])
        return n * k // 8 * bits + 2 * n * (bits + 1) * (k // _group(k, options))

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Give every group the levels nearest to its weights: evenly spaced ones, or a least-squares fit of planes."""
        checked = self.check_options(options)
        check_weight(weight, _LARGEST)
        n, k = weight.shape
        self.check_shape(1, n, k, checked)
        groups, bits = k // _group(k, checked), int(checked["bits"])
        fit = _fit_planes if checked["fit"] == "binary" else _fit_uniform
        codes, scales = np.empty((n, k), np.uint8), np.empty((groups, bits + 1, n), np.float16)
        for first in range(0, n, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            grouped = weight[rows].astype(np.float32).reshape(-1, k // groups)
            levels = fit(grouped, bits).astype(np.float16)
            codes[rows] = nearest(grouped, levels).reshape(-1, k)
            scales[:, :, rows] = levels.reshape(-1, groups, bits + 1).transpose(1, 2, 0)
        return {
            "codes": codes,
            "scales": scales,
            "table": np.array(TABLES.index(str(checked["table"])), np.uint8),
        }

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return sum over planes of alpha * sign + offset in float64."""
        codes, scales = operands["codes"], operands["scales"].astype(np.float64)
        groups, planes, _ = scales.shape
        grouped = codes.reshape(len(codes), groups, -1)
        weight = np.broadcast_to(scales[:, -1].T[:, :, None], grouped.shape).copy()
        for plane in range(planes - 1):
            alpha = scales[:, plane].T[:, :, None]
            weight += np.where(grouped >> plane & 1, alpha, -alpha)
        return weight.reshape(codes.shape)

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` and ``scales`` in the order of the operands' table."""
        table, bits = TABLES[int(operands["table"])], operands["scales"].shape[1] - 1
        words, scales = _words(operands["codes"], bits), operands["scales"]
        if table == "private":
            per_slab = max(1, len(scales) * SLAB_WORDS // words.shape[2])
            return {
                "weights": _to_slabs(_rotated(words, _ROTATE[table])),
                "scales": _scales_to_slabs(scales, per_slab),
            }
        packed = _to_signed(words) if table == "signed" else _rotated(words, _ROTATE[table])
        return {"weights": _to_blocks(packed), "scales": np.ascontiguousarray(scales)}

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return codes, scales and table."""
        weights, scales = arrays["weights"], arrays["scales"]
        bits = weights.size * WORD // (n * k)
        groups = scales.size // (n * (bits + 1))
        if scales.ndim == 1:
            table = "private"
            words = _rotated(_from_slabs(weights, bits, n, k), -_ROTATE[table])
            scales = _scales_from_slabs(scales, max(1, groups * SLAB_WORDS * WORD // k), groups, bits + 1, n)
        else:
            table = "signed" if weights.dtype.kind == "i" else "shared"
            blocks = _from_blocks(weights, bits, n, k)
            words = _from_signed(blocks) if table == "signed" else _rotated(blocks, -_ROTATE[table])
        return {"codes": _codes(words), "scales": scales, "table": np.array(TABLES.index(table), np.uint8)}


def from_uniform(
    codes: Codes,
    steps: npt.NDArray[np.float16],
    zero: float,
    bits: int,
    table: str = "private",
) -> Arrays:
    """Return the operands of weights (code - zero) * step, steps [groups, n].

    They are the same weights where (2^bits - 1) / 2 - zero times a step is a float16.
    """
    step = steps.astype(np.float64)[:, None]
    planes = step * 2.0 ** np.arange(-1, bits - 1)[:, None]
    scales = np.concatenate([planes, step * ((2**bits - 1) / 2 - zero)], axis=1).astype(np.float16)
    return {"codes": codes, "scales": scales, "table": np.array(TABLES.index(table), np.uint8)}


def _group(k: int, options: Options) -> int:
    """Return the columns that share scales."""
    size = int(options["group_size"])
    return k if size == -1 else size


# ------------------------------------------------------------------------ fitting; grouped: [groups, columns]


def _fit_uniform(grouped: npt.NDArray[np.float32], bits: int) -> Array:
    """Return alphas and offset [groups, bits + 1] of levels over each group's range, a part of it for few bits."""
    low, high = grouped.min(axis=1), grouped.max(axis=1)
    best, error = _levels(low, high, bits), np.full(len(grouped), np.inf)
    for shrink in _SHRINKS if bits <= _FEW_BITS else ():
        middle, half = (low + high) / 2, (high - low) / 2 * shrink
        tried = _levels(middle - half, middle + half, bits)
        step, first = 2 * tried[:, :1], (tried[:, -1] - tried[:, :-1].sum(axis=1))[:, None]
        codes = np.clip(np.rint((grouped - first) / step), 0, 2**bits - 1)
        squares = np.square(first + codes * step - grouped).sum(axis=1)
        best[squares < error] = tried[squares < error]
        error = np.minimum(error, squares)
    return best


def _levels(low: Array, high: Array, bits: int) -> Array:
    step = np.maximum((high - low) / (2**bits - 1), _SMALLEST_STEP)
    return np.concatenate([step[:, None] * 2.0 ** np.arange(-1, bits - 1), (low + high)[:, None] / 2], axis=1)


def _fit_planes(grouped: npt.NDArray[np.float32], bits: int) -> Array:
    """Return alphas and offset [groups, bits + 1]: from even levels on, least squares and nearest levels in turn."""
    levels = _fit_uniform(grouped, bits).astype(np.float64)
    for _ in range(_FITTING_ROUNDS):
        codes = nearest(grouped, levels)
        signs = [np.where(codes >> plane & 1, 1.0, -1.0) for plane in range(bits)]
        design = np.stack([*signs, np.ones_like(signs[0])], axis=2)  # [groups, columns, bits + 1]
        wanted = design.transpose(0, 2, 1) @ grouped[:, :, None].astype(np.float64)
        normal = design.transpose(0, 2, 1) @ design + _RIDGE * np.eye(bits + 1)
        levels = np.linalg.solve(normal, wanted)[..., 0]
    return levels


def nearest(grouped: npt.NDArray[np.float32], levels: Array) -> Codes:
    """Return the codes [groups, columns] of the levels nearest to the weights; levels [groups, bits + 1]."""
    bits = levels.shape[1] - 1
    signs = 2 * (np.arange(2**bits)[:, None] >> np.arange(bits) & 1) - 1
    values = (
        levels[:, -1:].astype(np.float64) + levels[:, :-1].astype(np.float64) @ signs.T
    )  # [groups, 2^bits]
    order = np.argsort(values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    borders = (values[:, 1:] + values[:, :-1]) / 2
    place = np.zeros(grouped.shape, np.int64)
    for step in reversed(range(bits)):  # binary search of all groups at once
        tried = place + (1 << step)
        place = np.where(grouped > np.take_along_axis(borders, tried - 1, axis=1), tried, place)
    return np.take_along_axis(order, place, axis=1).astype(np.uint8)


# ------------------------------------------------------------------------ packing; words: [bits, n, k / 32]


def _words(codes: Codes, bits: int) -> Words:
    planes = [np.packbits(codes >> plane & 1, axis=1, bitorder="little").view("<u4") for plane in range(bits)]
    return np.stack(planes).astype(np.uint32, copy=False)


def _codes(words: Words) -> Codes:
    little = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    signs = np.unpackbits(little, axis=2, bitorder="little")
    shifted: Codes = signs << np.arange(len(words), dtype=np.uint8)[:, None, None]
    codes: Codes = np.bitwise_or.reduce(shifted, axis=0)
    return codes


def _rotated(words: Words, left: int) -> Words:
    left %= WORD
    return (words << np.uint32(left)) | (words >> np.uint32(WORD - left))


def _to_signed(words: Words) -> npt.NDArray[np.int32]:
    tops = words >> np.uint32(7) & np.uint32(0x01010101)
    indices = (words ^ tops * np.uint32(0x7F)) & np.uint32(0x7F7F7F7F)
    return (indices << np.uint32(1) | tops).view(np.int32)


def _from_signed(packed: npt.NDArray[np.int32]) -> Words:
    words = packed.view(np.uint32)
    tops = words & np.uint32(0x01010101)
    indices: Words = (words >> np.uint32(1) & np.uint32(0x7F7F7F7F)) ^ tops * np.uint32(0x7F)
    return indices | tops << np.uint32(7)


def _slabs(words: int) -> list[slice]:
    """Cut words along K into slabs: the whole ones together, the last."""
    whole = words // SLAB_WORDS * SLAB_WORDS
    return [part for part in (slice(0, whole), slice(whole, words)) if part.start < part.stop]


def _to_slabs(words: Words) -> Words:
    bits, n, count = words.shape
    parts = []
    for part in _slabs(count):
        cut = words[:, :, part].reshape(bits, n // QUAD, QUAD, -1, min(SLAB_WORDS, part.stop - part.start))
        parts.append(cut.transpose(3, 1, 0, 4, 2).ravel())
    return np.concatenate(parts)


def _from_slabs(packed: Words, bits: int, n: int, k: int) -> Words:
    words = np.empty((bits, n, k // WORD), np.uint32)
    for part in _slabs(k // WORD):
        width = min(SLAB_WORDS, part.stop - part.start)
        cut = packed[part.start * bits * n : part.stop * bits * n].reshape(-1, n // QUAD, bits, width, QUAD)
        words[:, :, part] = cut.transpose(2, 1, 4, 0, 3).reshape(bits, n, -1)
    return words


def _to_blocks(words: Array) -> Array:
    return np.concatenate([words[:, block].transpose(2, 0, 1).ravel() for block in _blocks(words.shape[1])])


def _from_blocks(packed: Array, bits: int, n: int, k: int) -> Array:
    words, count = np.empty((bits, n, k // WORD), packed.dtype), k // WORD
    for block in _blocks(n):
        cut = packed[block.start * bits * count : block.stop * bits * count]
        words[:, block] = cut.reshape(count, bits, -1).transpose(1, 2, 0)
    return words


def _blocks(n: int) -> list[slice]:
    return [slice(first, min(first + BLOCK_ROWS, n)) for first in range(0, n, BLOCK_ROWS)]


def _scales_to_slabs(scales: Array, per_slab: int) -> Array:
    groups, planes, n = scales.shape
    parts = []
    for first in range(0, groups, per_slab):
        cut = scales[first : first + per_slab].reshape(-1, planes, n // QUAD, QUAD)
        parts.append(cut.transpose(2, 1, 0, 3).ravel())
    return np.concatenate(parts)


def _scales_from_slabs(packed: Array, per_slab: int, groups: int, planes: int, n: int) -> Array:
    scales = np.empty((groups, planes, n), np.float16)
    flat = packed.ravel()
    for first in range(0, groups, per_slab):
        count = min(per_slab, groups - first)
        cut = flat[first * planes * n : (first + count) * planes * n].reshape(n // QUAD, planes, count, QUAD)
        scales[first : first + count] = cut.transpose(2, 1, 0, 3).reshape(count, planes, n)
    return scales


SCHEME = LutGemm()
