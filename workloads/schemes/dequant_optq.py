"""OPTQ's 3- and 4-bit weights (arXiv:2210.17323): w = code * scale - offset, both of a group of columns.

The offset is the scale times the zero point.

Packing: the 32 codes of columns 32 j .. 32 j + 31 of a row follow one another in ``bits`` 32-bit words, lowest bits
first: uint32 [k / 32, bits, n], so that lanes with consecutive rows read consecutive words. Scales: [groups, 2, n].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array, Arrays, Option, Options, Scheme, check_weight
from workloads.shapes import check_multiple

WORD = 32  # columns that are packed together
CHUNK = 64  # columns the kernel loads at a time
MULTIPLE_N = 8
_LARGEST = float(np.finfo(np.float16).max) / 4  # the range of a group and its scaled zero point fit a float16
_SMALLEST_SCALE = 2.0**-14  # a group of equal weights needs some scale too
_ROWS_AT_ONCE = 1024  # bounds the temporaries of quantization


class DequantOptq(Scheme):
    """Operands ``codes`` uint8 [n, k], ``scales`` float16 [groups, 2, n]: scale, offset; ``bits`` uint8 []."""

    name = "dequant_optq"
    doc = "3- or 4-bit weights with FP16 group scales and zeros, dequantized by pairs in a table, FP16 activations"
    input_type = "f16"
    weight_bits = 4
    options = (
        Option("bits", 3, (3, 4), "bits of a code"),
        Option("group_size", 128, (64, 128, 256, -1), "columns of K that share a scale; -1: all of them"),
    )

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        check_multiple("K", k, CHUNK, "", where)
        check_multiple("K", k, _group(k, options), "the group size", where)
        check_multiple("N", n, MULTIPLE_N, "", where)

    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count the bits of the codes and four bytes per group."""
        return n * k // 8 * int(options["bits"]) + 4 * n * (k // _group(k, options))

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Spread the levels evenly over each group's range and round to the nearest."""
        checked = self.check_options(options)
        check_weight(weight, _LARGEST)
        n, k = weight.shape
        self.check_shape(1, n, k, checked)
        groups, bits = k // _group(k, checked), int(checked["bits"])
        codes, scales = np.empty((n, k), np.uint8), np.empty((groups, 2, n), np.float16)
        for first in range(0, n, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            codes[rows], scales[:, :, rows] = _quantize_rows(
                weight[rows].astype(np.float32), groups, 2**bits - 1
            )
        return {"codes": codes, "scales": scales, "bits": np.array(bits, np.uint8)}

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return code * scale - offset in float64."""
        codes, scales = operands["codes"], operands["scales"].astype(np.float64)
        grouped = codes.astype(np.float64).reshape(len(codes), len(scales), -1)
        weight: Array = grouped * scales[:, 0].T[:, :, None] - scales[:, 1].T[:, :, None]
        return weight.reshape(codes.shape)

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` uint32 [k/32, bits, n] and ``scales`` float16 [groups, 2, n]."""
        codes, bits = operands["codes"], int(operands["bits"])
        n, k = codes.shape
        signs = codes[:, :, None] >> np.arange(bits, dtype=np.uint8) & 1
        packed = np.packbits(signs.reshape(n, k * bits), axis=1, bitorder="little").view("<u4")
        words = packed.reshape(n, k // WORD, bits).transpose(1, 2, 0).astype(np.uint32)
        return {"weights": np.ascontiguousarray(words), "scales": np.ascontiguousarray(operands["scales"])}

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return codes, scales and bits."""
        weights = arrays["weights"]
        bits = weights.size * WORD // (n * k)
        stream = np.ascontiguousarray(weights.reshape(-1, bits, n).transpose(2, 0, 1), dtype="<u4").view(
            np.uint8
        )
        signs = np.unpackbits(stream.reshape(n, -1), axis=1, bitorder="little").reshape(n, k, bits)
        codes = np.bitwise_or.reduce(signs << np.arange(bits, dtype=np.uint8), axis=2)
        return {
            "codes": codes,
            "scales": arrays["scales"].reshape(-1, 2, n),
            "bits": np.array(bits, np.uint8),
        }


def _group(k: int, options: Options) -> int:
    """Return the columns that share a scale."""
    size = int(options["group_size"])
    return k if size == -1 else size


def _quantize_rows(weight: npt.NDArray[np.float32], groups: int, largest: int) -> tuple[Array, Array]:
    """Return codes [rows, k] and scales with offsets [groups, 2, rows] of some rows."""
    grouped = weight.reshape(len(weight), groups, -1)
    low, high = grouped.min(axis=2), grouped.max(axis=2)
    scale = np.maximum((high - low) / largest, _SMALLEST_SCALE).astype(np.float16)
    offset = (-low).astype(np.float16)
    ratio = (grouped + offset[:, :, None].astype(np.float32)) / scale[:, :, None].astype(np.float32)
    codes = np.clip(np.rint(ratio), 0, largest).astype(np.uint8)
    return codes.reshape(weight.shape), np.stack([scale, offset]).transpose(2, 0, 1)


SCHEME = DequantOptq()
