"""MXINT8 (OCP Microscaling 1.0): INT8 weights and activations, each 32 neighbours along K with a power-of-two scale.

Codes are whole numbers here; the standard's elements are their 64th part, and its scales 64 times as large. Scales are
E8M0: the byte e stands for 2^(e - 127).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array, Arrays, Options, Scheme, check_weight
from workloads.shapes import check_multiple

BLOCK = 32  # columns that share a scale
WORD_BLOCKS = 4  # blocks whose scales are read together
LINE_BYTES = 16  # rows of activations begin at multiples of it
LARGEST, BIAS, FRACTION_BITS = 127, 127, 6
MAX_HALF = float(np.finfo(np.float16).max)


class MxW8A8(Scheme):
    """Operands ``codes`` int8 [n, k] and ``exponents`` uint8 [n, k / 32]."""

    name = "mx_w8a8"
    doc = "MXINT8 weights and activations, a power-of-two scale per 32 along K, by a block-scaled mma with FP32 sums"
    input_type = "s8"
    weight_bits = 8

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        check_multiple("K", k, BLOCK, "32 columns share a scale", where)
        check_multiple("N", n, 8, "rows of the output start at multiples of 16 bytes", where)

    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count codes, and scales padded to words of four."""
        return n * k + scale_words(k) * n * WORD_BLOCKS

    def compulsory_bytes(self, m: int, n: int, k: int, options: Options | None = None) -> int:
        """Count codes and scales read once, the half output written once."""
        return m * row_bytes(k) + self.weight_bytes(n, k, self.check_options(options)) + 2 * m * n

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Scale each block so that its largest magnitude is in [64, 128), round to even, clamp to 127."""
        self.check_options(options)
        check_weight(weight, MAX_HALF)
        codes, exponents = quantize_blocks(weight)
        return {"codes": codes, "exponents": exponents}

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return code * 2^(exponent - 127) in float64."""
        return dequantize_blocks(operands["codes"], operands["exponents"])

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` int8 [n, k] and ``scales`` uint8 [k / 128, n, 4], zeros where K ends."""
        exponents = operands["exponents"]
        words = np.zeros((len(exponents), scale_words(exponents.shape[1] * BLOCK) * WORD_BLOCKS), np.uint8)
        words[:, : exponents.shape[1]] = exponents
        scales = words.reshape(len(words), -1, WORD_BLOCKS).transpose(1, 0, 2)
        return {
            "weights": np.ascontiguousarray(operands["codes"]),
            "scales": np.ascontiguousarray(scales),
        }

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return codes and exponents as matrices again."""
        words = arrays["scales"].reshape(-1, n, WORD_BLOCKS).transpose(1, 0, 2).reshape(n, -1)
        return {
            "codes": arrays["weights"].reshape(n, k),
            "exponents": np.ascontiguousarray(words[:, : k // BLOCK]),
        }

    def activations(
        self, generator: np.random.Generator, m: int, k: int, options: Options
    ) -> tuple[Array, Array]:
        """Quantize normal activations; return what they stand for, and rows of codes and scales as bytes."""
        codes, exponents = quantize_blocks(generator.standard_normal((m, k), dtype=np.float32))
        return dequantize_blocks(codes, exponents), pack_rows(codes, exponents)


def scale_words(k: int) -> int:
    """Return the words of four scales in a row of K."""
    return -(-k // (BLOCK * WORD_BLOCKS))


def row_bytes(k: int) -> int:
    """Return the bytes of a row of activations: codes, scales, zeros up to a multiple of 16."""
    return k + -(-(k // BLOCK) // LINE_BYTES) * LINE_BYTES


def quantize_blocks(values: Array) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]]:
    """Return codes [rows, k] and exponents [rows, k / 32] of numbers [rows, k]."""
    blocks = values.astype(np.float64).reshape(len(values), -1, BLOCK)
    largest = np.maximum(np.abs(blocks).max(axis=2), 2.0**-100)
    octave = np.frexp(largest)[1] - 1
    codes = np.rint(np.ldexp(blocks, (FRACTION_BITS - octave)[..., None])).clip(-LARGEST, LARGEST)
    return codes.astype(np.int8).reshape(values.shape), (octave - FRACTION_BITS + BIAS).astype(np.uint8)


def dequantize_blocks(codes: Array, exponents: Array) -> npt.NDArray[np.float64]:
    """Return the numbers [rows, k] in float64."""
    blocks = codes.astype(np.float64).reshape(len(codes), -1, BLOCK)
    found: npt.NDArray[np.float64] = np.ldexp(blocks, exponents.astype(int)[..., None] - BIAS)
    return found.reshape(codes.shape)


def pack_rows(codes: Array, exponents: Array) -> npt.NDArray[np.uint8]:
    """Return rows as the kernel reads them, uint8 [m, row_bytes]."""
    m, k = codes.shape
    rows = np.zeros((m, row_bytes(k)), np.uint8)
    rows[:, :k] = codes.view(np.uint8)
    rows[:, k : k + exponents.shape[1]] = exponents
    return rows


SCHEME = MxW8A8()
