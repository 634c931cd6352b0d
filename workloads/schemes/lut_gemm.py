"""LUT-GEMM: binary-coded weights with an offset, multiplied by looking up signed partial sums of the activations.

The format is that of arXiv:2206.09557: w = sum over planes p of alpha_p * b_p + offset with b_p in {-1, +1}; the
scales alpha and the offset belong to a group of columns. A uniform code 0..2^q - 1 with a scale s is the special case
alpha_p = s * 2^p / 2, whose planes are the code's bits (``from_uniform``).

Codes are 0..2^q - 1: bit p of a code says whether b_p is +1. What ``pack`` makes of them is in
``_lut_packing.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workloads.schemes import _lut_packing as packing
from workloads.schemes._binary_coding import fit_planes, fit_uniform, nearest, nearest_even
from workloads.schemes.base import Array, Arrays, Option, Options, Scheme, check_weight
from workloads.shapes import check_multiple

Codes = npt.NDArray[np.uint8]

TABLES = ("private", "shared", "signed")
MAX_BITS = 8
CONFLICT_FREE_BITS = 6  # a table of so many index bits is 32 words of two halves, a word per bank
_LARGEST = (
    float(np.finfo(np.float16).max) / 4
)  # the range of a group, its scales and its offset fit a float16
_ROWS_AT_ONCE = 256  # bounds the temporaries of quantization


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
        Option("codes", "gaussian", ("gaussian", "random"), "drawn weights: normal ones, or all codes alike"),
    )
    code_buffers = ("weights",)

    def codes_matter(self, options: Options) -> bool:
        """Lanes meet in a bank only in a table for all of them that is larger than a word per bank."""
        index_bits = int(options["mu"]) - (options["table"] == "signed")
        return options["table"] != "private" and index_bits > CONFLICT_FREE_BITS

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        check_multiple("K", k, packing.WORD, "", where)
        check_multiple("K", k, _group(k, options), "the group size", where)
        check_multiple("N", n, packing.QUAD, "", where)

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
        binary = checked["fit"] == "binary"
        fit, assign = (fit_planes, nearest) if binary else (fit_uniform, nearest_even)
        codes, scales = np.empty((n, k), np.uint8), np.empty((groups, bits + 1, n), np.float16)
        for first in range(0, n, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            grouped = weight[rows].astype(np.float32).reshape(-1, k // groups)
            levels = fit(grouped, bits).astype(np.float16)
            codes[rows] = assign(grouped, levels).reshape(-1, k)
            scales[:, :, rows] = levels.reshape(-1, groups, bits + 1).transpose(1, 2, 0)
        return {
            "codes": codes,
            "scales": scales,
            "table": np.array(TABLES.index(str(checked["table"])), np.uint8),
        }

    def draw(self, generator: np.random.Generator, n: int, k: int, options: Options) -> Arrays:
        """Quantize normal weights, or draw codes and give their levels a variance of 1/k."""
        if options["codes"] == "gaussian":
            return super().draw(generator, n, k, options)
        bits = int(options["bits"])
        codes = generator.integers(0, 2**bits, (n, k), dtype=np.uint8)
        steps = np.full((k // _group(k, options), n), np.sqrt(12 / k / (4.0**bits - 1)), np.float16)
        return from_uniform(codes, steps, (2**bits - 1) / 2, bits, str(options["table"]))

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return sum over planes of alpha * sign + offset in float64."""
        codes, scales = operands["codes"], operands["scales"].astype(np.float64)
        weight = np.empty(codes.shape)
        for first in range(0, len(codes), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            weight[rows] = _levels_of(codes[rows], scales[:, :, rows])
        return weight

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` and ``scales`` in the order of the operands' table."""
        table, bits = TABLES[int(operands["table"])], operands["scales"].shape[1] - 1
        words, scales = packing.words(operands["codes"], bits), operands["scales"]
        if table == "private":
            per_slab = max(1, len(scales) * packing.SLAB_WORDS // words.shape[2])
            return {
                "weights": packing.to_slabs(packing.rotated(words, packing.ROTATE[table])),
                "scales": packing.scales_to_slabs(scales, per_slab),
            }
        packed = (
            packing.to_signed(words) if table == "signed" else packing.rotated(words, packing.ROTATE[table])
        )
        return {"weights": packing.to_blocks(packed), "scales": np.ascontiguousarray(scales)}

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return codes, scales and table."""
        weights, scales = arrays["weights"], arrays["scales"]
        bits = weights.size * packing.WORD // (n * k)
        groups = scales.size // (n * (bits + 1))
        if scales.ndim == 1:
            table = "private"
            words = packing.rotated(packing.from_slabs(weights, bits, n, k), -packing.ROTATE[table])
            scales = packing.scales_from_slabs(
                scales, max(1, groups * packing.SLAB_WORDS * packing.WORD // k), groups, bits + 1, n
            )
        else:
            table = "signed" if weights.dtype.kind == "i" else "shared"
            blocks = packing.from_blocks(weights, bits, n, k)
            words = (
                packing.from_signed(blocks)
                if table == "signed"
                else packing.rotated(blocks, -packing.ROTATE[table])
            )
        return {
            "codes": packing.codes(words),
            "scales": scales,
            "table": np.array(TABLES.index(table), np.uint8),
        }


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


def _levels_of(codes: Codes, scales: Array) -> Array:
    """Return the weights [rows, k] of some rows."""
    grouped, planes = codes.reshape(len(codes), len(scales), -1), scales.shape[1] - 1
    weight = np.broadcast_to((scales[:, -1] - scales[:, :-1].sum(axis=1)).T[:, :, None], grouped.shape).copy()
    for plane in range(planes):
        weight += (grouped >> plane & 1) * (2 * scales[:, plane]).T[:, :, None]
    return weight.reshape(codes.shape)


def _group(k: int, options: Options) -> int:
    """Return the columns that share scales."""
    size = int(options["group_size"])
    return k if size == -1 else size


SCHEME = LutGemm()
