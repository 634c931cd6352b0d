"""Tender W4A4 (ISCA'24) on INT8 tensor cores: INT4 codes in bytes, whose spare bits can hold the groups' powers of two.

With ``variant=operand_shift`` a column that is worth 2^p more than the last group's has its activation codes shifted
by up to four positions and its weight codes by up to four more when they are packed, which fills a byte: nine
positions, p mod 9, need no work in the matmul. Only from one nine to the next the accumulator is shifted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sim.errors import ConfigError
from workloads.schemes._tender import Tender, sizes_of
from workloads.schemes.base import Array, Arrays, Options
from workloads.tender.layout import STEP_COLUMNS, positions

SPARE_BITS = 4  # of a byte beside a code
NINE = 2 * SPARE_BITS + 1  # positions that two operands hold
LARGEST_K = 65536  # sums of one group stay below 2^22


class TenderW4A4(Tender):
    """Operands ``codes`` int8 [n, k], ``scales`` float32 [n], ``shifts`` uint8 [k] of the columns' codes."""

    name = "tender_w4a4"
    doc = "Tender, INT4 weights and activations in bytes, groups of power-of-two scales, INT32 accumulation"
    input_type = "s8"
    weight_bits = 8
    bits = 4
    variants = ("software_shift", "operand_shift", "explicit", "extension", "ideal")

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        super()._check_shape(n, k, options, where)
        if k > LARGEST_K:
            raise ConfigError(where, f"K must be at most {LARGEST_K}, so that sums fit FP32; got {k}")

    def weight_rows(self, n: int) -> int:
        """Return the rows of the packed weights: the last one holds the shifts."""
        return n + 1

    def borders(self, k: int, options: Options) -> npt.NDArray[np.uint32]:
        """Return the steps before which the accumulators are doubled: nine times at once where operands are shifted."""
        if options["variant"] != "operand_shift":
            return super().borders(k, options)
        nine = positions(sizes_of(k, options)) // NINE
        begins = [int((nine > lower).sum()) // STEP_COLUMNS for lower in range(int(nine.max()))][::-1]
        return np.repeat(np.array(begins, np.uint32), NINE)

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Scale each output by its largest magnitude; the shifts are of the options' groups."""
        checked = self.check_options(options)
        found = super().quantize(weight, checked)
        _, shifts = shifts_of(found["codes"].shape[1], checked)
        return {**found, "shifts": shifts}

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` int8 [n + 1, k], shifted, the shifts in the last row, and ``scales``."""
        rows = (
            operands["codes"] << operands["shifts"].astype(np.int8),
            operands["shifts"][None].astype(np.int8),
        )
        return {"weights": np.vstack(rows), "scales": np.ascontiguousarray(operands["scales"])}

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Shift the codes back."""
        rows = arrays["weights"].reshape(n + 1, k)
        return {
            "codes": rows[:-1] >> rows[-1],
            "scales": arrays["scales"],
            "shifts": rows[-1].astype(np.uint8),
        }

    def placed(self, codes: npt.NDArray[np.int8], options: Options) -> npt.NDArray[np.int8]:
        """Shift activation codes by what their bytes hold."""
        shifts, _ = shifts_of(codes.shape[1], options)
        return codes << shifts.astype(np.int8)


def shifts_of(k: int, options: Options) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return by how many positions each column's activation and weight codes are shifted, [k] each."""
    if options["variant"] != "operand_shift":
        return np.zeros(k, np.uint8), np.zeros(k, np.uint8)
    inside = positions(sizes_of(k, options)) % NINE
    activations = np.minimum(inside, SPARE_BITS)
    return activations.astype(np.uint8), (inside - activations).astype(np.uint8)


SCHEME = TenderW4A4()
