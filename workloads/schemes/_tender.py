"""What the Tender schemes share: integer codes in group order, groups of power-of-two scales, one order for all rows.

Activations are quantized and gathered into group order by their producer, the layer before. A row as the kernel reads
it is its K codes and 16 bytes more: the last group's scale in FP32, and padding. Weights are stored in the same order
of columns, with a scale per output. workloads/tender decomposes real activations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array, Arrays, Option, Options, Scheme, check_weight
from workloads.shapes import check_multiple
from workloads.tender.layout import PROFILES, STEP_COLUMNS, Sizes, aligned, borders, group_sizes

TRAILER_BYTES = 16
ROW_CHUNK = 256  # rows that share their scales
HEADROOM = 6.0  # standard deviations of a sum that INT32 holds
MAX_HALF = float(np.finfo(np.float16).max)
GROUPS = (1, 2, 4, 8, 14, 20)


def sizes_of(k: int, options: Options, step: int = STEP_COLUMNS) -> Sizes:
    """Return the groups that the options name, aligned to steps of the tensor instruction."""
    return aligned(group_sizes(k, int(options["groups"]), str(options["profile"])), step)


class Tender(Scheme):
    """Codes of ``bits`` bits in bytes, for weights and activations; INT32 accumulation that wraps."""

    bits: int
    variants: tuple[str, ...]
    step_columns: int = STEP_COLUMNS  # of K in one tensor instruction

    def __init_subclass__(cls) -> None:
        """Derive the options from the variants."""
        cls.options = (
            Option("variant", cls.variants[0], cls.variants, "how the accumulators cross a group's border"),
            Option("groups", 8, GROUPS, "groups of activation channels, scales halving from one to the next"),
            Option(
                "profile",
                "outliers",
                PROFILES,
                "the sizes of the groups: as of channels with outliers, or even",
            ),
        )

    @property
    def largest(self) -> int:
        """The largest code."""
        return int(2 ** (self.bits - 1)) - 1

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        check_multiple("K", k, self.step_columns, "groups end at steps of the tensor instruction", where)
        check_multiple("N", n, 8, "rows of the output start at multiples of 16 bytes", where)

    def borders(self, k: int, options: Options) -> npt.NDArray[np.uint32]:
        """Return the steps of K before which the accumulators are worth one position more; see ``tender.cuh``."""
        return borders(self.sizes(k, options), self.step_columns)

    def sizes(self, k: int, options: Options) -> Sizes:
        """Return how many columns each group has, whole steps."""
        return sizes_of(k, options, self.step_columns)

    def row_bytes(self, k: int) -> int:
        """Return the bytes of a row's codes."""
        return k

    def weight_rows(self, n: int) -> int:
        """Return the rows of the packed weights."""
        return n

    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count the codes and four bytes per output."""
        return self.weight_rows(n) * self.row_bytes(k) + 4 * n

    def compulsory_bytes(self, m: int, n: int, k: int, options: Options | None = None) -> int:
        """Count codes, factors and scales read once, the half output written once."""
        weights = self.weight_bytes(n, k, self.check_options(options))
        return m * (self.row_bytes(k) + TRAILER_BYTES) + weights + 2 * m * n

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Scale each output by its largest magnitude: ``codes`` int8 [n, k], ``scales`` float32 [n]."""
        self.check_options(options)
        check_weight(weight, MAX_HALF)
        scales = (np.abs(weight).max(axis=1) / self.largest).astype(np.float32)
        scales = np.maximum(scales, np.float32(np.finfo(np.float32).tiny))
        codes = np.rint(weight / scales[:, None]).clip(-self.largest, self.largest)
        return {"codes": codes.astype(np.int8), "scales": scales}

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return code * scale in float64."""
        weight: Array = operands["codes"] * operands["scales"].astype(np.float64)[:, None]
        return weight

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` int8 [n, k] and ``scales`` float32 [n]."""
        return {
            "weights": np.ascontiguousarray(operands["codes"]),
            "scales": np.ascontiguousarray(operands["scales"]),
        }

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return the codes as a matrix again."""
        return {"codes": arrays["weights"].reshape(n, k), "scales": arrays["scales"]}

    def activations(
        self, generator: np.random.Generator, m: int, k: int, options: Options
    ) -> tuple[Array, Array]:
        """Draw codes, so small in the leading groups that INT32 holds their sums with the weights' codes.

        Return the float64 numbers they stand for, and rows of codes and factor as bytes [m, k + 16].
        """
        sizes = self.sizes(k, options)
        ideal = options["variant"] == "ideal"
        doubled = np.ones(len(sizes)) if ideal else np.exp2(np.arange(len(sizes))[::-1])
        amplitude, spread = self._amplitudes(sizes, doubled)
        normal = generator.standard_normal((m, k), dtype=np.float32)
        normal *= np.repeat(amplitude, sizes)
        codes = np.rint(normal).clip(-self.largest, self.largest).astype(np.int8)
        weight_scale = 4 / self.largest / k**0.5  # of about the largest of k normal weights of variance 1/k
        chunk = np.arange(m) // ROW_CHUNK % 4
        factors = (np.exp2(-np.ceil(np.log2(spread * weight_scale))) * (1 + chunk / 4)).astype(np.float32)
        return codes * (factors[:, None] * np.repeat(doubled, sizes)), pack_rows(
            self.placed(codes, options), factors
        )

    def placed(self, codes: npt.NDArray[np.int8], options: Options) -> npt.NDArray[np.int8]:
        """Return activation codes [m, k] as the kernel reads them: rows of ``row_bytes``."""
        return codes

    def _amplitudes(
        self, sizes: Sizes, doubled: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Return the standard deviation of each group's codes, and that of the sum of their products."""
        widest, weights = self.largest / 3.0, self.largest / 4.0
        count = np.maximum(1, np.array(sizes))
        allowed = 2.0**31 / HEADROOM / len(sizes) ** 0.5 / (np.sqrt(count) * doubled * weights)
        amplitude = np.minimum(widest, allowed)
        spread = np.sqrt(np.sum((amplitude * weights * doubled) ** 2 * np.array(sizes)))
        return amplitude.astype(np.float32), float(spread)


def pack_rows(codes: npt.NDArray[np.int8], factors: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return rows as the kernel reads them: codes as placed, the row's factor, padding; uint8 [m, bytes + 16]."""
    rows = np.zeros((len(codes), codes.shape[1] + TRAILER_BYTES), np.uint8)
    rows[:, : codes.shape[1]] = codes.view(np.uint8)
    rows[:, codes.shape[1] : codes.shape[1] + 4] = factors.astype("<f4").view(np.uint8).reshape(-1, 4)
    return rows
