"""W4A16: INT4 weights with a float16 scale per group of columns, float16 activations, float32 accumulation.

The format is MARLIN's (arXiv:2408.11743): symmetric, w = (code - 8) * scale with codes 0..15.

Packing: W is the A operand of mma.m16n8k16 (16 rows of n, 16 columns of k), in the register order of that
instruction, so that a thread loads 16 bytes and needs no shuffles:

* blocks of 16 rows (n) x 64 columns (k), 512 bytes each, the k blocks of one row block side by side;
* in a block, 16 bytes per lane, lane 0 first; in those, one 32-bit word per step of 16 columns;
* lane l, with g = l // 4 and t = l % 4, holds of each step the pairs of columns (c, c + 1)
      pair 0: row g,     c = 2t          pair 2: row g,     c = 2t + 8
      pair 1: row g + 8, c = 2t          pair 3: row g + 8, c = 2t + 8
  pair j with its first code at bits 4j..4j+3 and its second at bits 16+4j..16+4j+3, so that
  (word >> 4j) & 0x000f000f is register j of the A fragment before conversion to float16.

Scales are [k / group, n], row-major.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array, Arrays, Option, Options, Scheme, check_weight
from workloads.shapes import check_multiple

ZERO_POINT = 8
BLOCK_N, BLOCK_K = 16, 64
_LARGEST_CODE = 15
_SCALE_SPAN = _LARGEST_CODE / 2  # scales from one end of the codes to the other
_MAX_WEIGHT = float(np.finfo(np.float16).max) / ZERO_POINT * _SCALE_SPAN  # 8 scales must be a float16
_SMALLEST_SCALE = np.finfo(np.float16).smallest_subnormal
_ROWS_AT_ONCE = 1024  # bounds the temporaries of quantization


class W4A16(Scheme):
    """Symmetric INT4 weights; operands ``codes`` uint8 [n, k] and ``scales`` float16 [k / group, n]."""

    name = "w4a16"
    doc = "INT4 weights with FP16 group scales, FP16 activations, FP32 accumulation"
    input_type = "f16"
    weight_bits = 4
    options = (
        Option("group_size", 128, (64, 128, 256, -1), "columns of K that share a scale; -1: all of them"),
    )

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        check_multiple("K", k, BLOCK_K, "", where)
        check_multiple("K", k, _group(k, options), "the group size", where)
        check_multiple("N", n, BLOCK_N, "", where)

    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count half a byte per weight and two per scale."""
        return n * k // 2 + 2 * n * (k // _group(k, options))

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Scale each group by its largest magnitude; no weight is then off by more than half a scale."""
        checked = self.check_options(options)
        check_weight(weight, _MAX_WEIGHT)
        n, k = weight.shape
        self.check_shape(1, n, k, checked)
        groups = k // _group(k, checked)
        codes, scales = np.empty((n, k), np.uint8), np.empty((groups, n), np.float16)
        for first in range(0, n, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            codes[rows], scales[:, rows] = _quantize_rows(weight[rows].astype(np.float32), groups)
        return {"codes": codes, "scales": scales}

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return (code - 8) * scale in float64."""
        codes, scales = operands["codes"], operands["scales"]
        per_group = (codes.astype(np.float64) - ZERO_POINT).reshape(len(codes), len(scales), -1)
        weight: Array = per_group * scales.T.astype(np.float64)[:, :, None]
        return weight.reshape(codes.shape)

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` uint32 [n/16, k/64, 32 lanes, 4 steps] and ``scales`` float16 [k/g, n]."""
        return {"weights": pack_codes(operands["codes"]), "scales": np.ascontiguousarray(operands["scales"])}

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return codes [n, k] and scales."""
        return {"codes": unpack_codes(arrays["weights"], n, k), "scales": arrays["scales"].reshape(-1, n)}


def pack_codes(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Pack codes 0..15 of [n, k] into the fragment order above: uint32 [n/16, k/64, 32, 4]."""
    n, k = codes.shape
    #            n block,      +8, g,    k block,      step, +8, t, +1
    axes = (n // BLOCK_N, 2, 8, k // BLOCK_K, 4, 2, 4, 2)
    # slowest to fastest: block, lane (g, t), step, nibble (second of pair, +8 in k, +8 in n)
    nibbles = codes.reshape(axes).transpose(0, 3, 2, 6, 4, 7, 5, 1)
    packed = np.ascontiguousarray(nibbles[..., 0] | (nibbles[..., 1] << 4))
    words = packed.reshape(n // BLOCK_N, k // BLOCK_K, 32, 16).view("<u4")
    return words.astype(np.uint32, copy=False)


def unpack_codes(words: npt.NDArray[np.uint32], n: int, k: int) -> npt.NDArray[np.uint8]:
    """Invert ``pack_codes``."""
    packed = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    nibbles = np.stack((packed & 15, packed >> 4), axis=-1)
    ordered = nibbles.reshape(n // BLOCK_N, k // BLOCK_K, 8, 4, 4, 2, 2, 2)
    return np.ascontiguousarray(ordered.transpose(0, 7, 2, 1, 4, 6, 3, 5)).reshape(n, k)


def _group(k: int, options: Options) -> int:
    """Return the columns that share a scale."""
    size = int(options["group_size"])
    return k if size == -1 else size


def _quantize_rows(weight: npt.NDArray[np.float32], groups: int) -> tuple[Array, Array]:
    """Return codes [rows, k] and scales [groups, rows] of some rows."""
    grouped = weight.reshape(len(weight), groups, -1)
    scales = (np.abs(grouped).max(axis=2) / np.float32(_SCALE_SPAN)).astype(np.float16)
    scales = np.maximum(scales, _SMALLEST_SCALE)  # a group of zeros needs some scale too
    grouped = np.rint(grouped / scales[:, :, None].astype(np.float32))
    codes = np.clip(grouped + ZERO_POINT, 0, _LARGEST_CODE).astype(np.uint8)
    return codes.reshape(weight.shape), scales.T


SCHEME = W4A16()
