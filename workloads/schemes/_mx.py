"""What the MX schemes share (OCP Microscaling 1.0): each 32 neighbours along K have a power-of-two scale.

Scales are E8M0: the byte e stands for 2^(e - 127). Activations are quantized by their producer: a row is its elements,
its scales, and zeros up to a multiple of 16 bytes. A kernel's stage is 128 bytes of each row, with their scales.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array, Arrays, Options, Scheme, check_weight
from workloads.shapes import check_multiple

BLOCK = 32  # columns that share a scale
LINE_BYTES, STAGE_BYTES = 16, 128
BIAS = 127
MAX_HALF = float(np.finfo(np.float16).max)


class Mx(Scheme):
    """Operands ``codes`` [n, k], an element each, and ``exponents`` uint8 [n, k / 32]."""

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        check_multiple("K", k, BLOCK, "32 columns share a scale", where)
        check_multiple("N", n, 8, "rows of the output start at multiples of 16 bytes", where)

    # ------------------------------------------------------------------------------------- elements

    @abstractmethod
    def elements(self, blocks: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Return codes of blocks [rows, k / 32, 32] and the exponents of their units [rows, k / 32]."""

    @abstractmethod
    def values(self, codes: Array) -> npt.NDArray[np.float64]:
        """Return what codes stand for, in units of their block."""

    @abstractmethod
    def placed(self, codes: Array) -> npt.NDArray[np.uint8]:
        """Return codes [rows, k] as bytes [rows, row_codes]."""

    @abstractmethod
    def taken(self, placed: Array) -> Array:
        """Invert ``placed``."""

    def row_codes(self, k: int) -> int:
        """Return the bytes of a row's elements."""
        return k * self.weight_bits // 8

    # ------------------------------------------------------------------------------------- layout

    @property
    def stage_blocks(self) -> int:
        """Blocks of a row in a stage, whose scales are read together."""
        return STAGE_BYTES * 8 // self.weight_bits // BLOCK

    def stages(self, k: int) -> int:
        """Return the stages of K."""
        return -(-(k // BLOCK) // self.stage_blocks)

    def row_bytes(self, k: int) -> int:
        """Return the bytes of a row of activations."""
        return self.row_codes(k) + -(-(k // BLOCK) // LINE_BYTES) * LINE_BYTES

    def scale_bytes(self, n: int, k: int) -> int:
        """Return the bytes of the weights' scales, zeros where K ends."""
        return self.stages(k) * n * self.stage_blocks

    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count elements and scales."""
        return n * self.row_codes(k) + self.scale_bytes(n, k)

    def compulsory_bytes(self, m: int, n: int, k: int, options: Options | None = None) -> int:
        """Count elements and scales read once, the half output written once."""
        return m * self.row_bytes(k) + self.weight_bytes(n, k, self.check_options(options)) + 2 * m * n

    # ------------------------------------------------------------------------------------- operands

    def quantize_rows(self, values: Array) -> tuple[Array, npt.NDArray[np.uint8]]:
        """Return codes [rows, k] and exponents [rows, k / 32] of numbers [rows, k]."""
        codes, exponents = self.elements(values.astype(np.float64).reshape(len(values), -1, BLOCK))
        return codes.reshape(values.shape), (exponents + BIAS).clip(0, 254).astype(np.uint8)

    def dequantize_rows(self, codes: Array, exponents: Array) -> npt.NDArray[np.float64]:
        """Return the numbers [rows, k] in float64."""
        blocks = self.values(codes).reshape(len(codes), -1, BLOCK)
        found: npt.NDArray[np.float64] = np.ldexp(blocks, exponents.astype(int)[..., None] - BIAS)
        return found.reshape(codes.shape)

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Scale each block by a power of two, so that its largest element is of the format's highest octave."""
        self.check_options(options)
        check_weight(weight, MAX_HALF)
        codes, exponents = self.quantize_rows(weight)
        return {"codes": codes, "exponents": exponents}

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return element * 2^(exponent - 127) in float64."""
        return self.dequantize_rows(operands["codes"], operands["exponents"])

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` uint8 [n, row_codes] and ``scales`` uint8 [stages, n, stage_blocks]."""
        exponents = operands["exponents"]
        k = exponents.shape[1] * BLOCK
        padded = np.zeros((len(exponents), self.stages(k) * self.stage_blocks), np.uint8)
        padded[:, : exponents.shape[1]] = exponents
        scales = padded.reshape(len(padded), -1, self.stage_blocks).transpose(1, 0, 2)
        return {"weights": self.placed(operands["codes"]), "scales": np.ascontiguousarray(scales)}

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return codes and exponents as matrices again."""
        padded = arrays["scales"].reshape(-1, n, self.stage_blocks).transpose(1, 0, 2).reshape(n, -1)
        return {
            "codes": self.taken(arrays["weights"].reshape(n, self.row_codes(k))),
            "exponents": np.ascontiguousarray(padded[:, : k // BLOCK]),
        }

    def activations(
        self, generator: np.random.Generator, m: int, k: int, options: Options
    ) -> tuple[Array, Array]:
        """Quantize normal activations; return what they stand for, and rows of elements and scales as bytes."""
        codes, exponents = self.quantize_rows(generator.standard_normal((m, k), dtype=np.float32))
        rows = np.zeros((m, self.row_bytes(k)), np.uint8)
        rows[:, : self.row_codes(k)] = self.placed(codes)
        rows[:, self.row_codes(k) : self.row_codes(k) + k // BLOCK] = exponents
        return self.dequantize_rows(codes, exponents), rows


def octaves(blocks: Array) -> npt.NDArray[np.int64]:
    """Return floor(log2) of the largest magnitude of each block [rows, k / 32, 32]."""
    largest = np.maximum(np.abs(blocks).max(axis=2), 2.0**-100)
    found: npt.NDArray[np.int64] = np.frexp(largest)[1].astype(np.int64) - 1
    return found
