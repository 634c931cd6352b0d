"""MXINT8 (OCP Microscaling 1.0): INT8 weights and activations, each 32 neighbours along K with a power-of-two scale.

Codes are whole numbers here; the standard's elements are their 64th part, and its scales 64 times as large.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workloads.schemes._mx import Mx, octaves
from workloads.schemes.base import Array

LARGEST, FRACTION_BITS = 127, 6


class MxW8A8(Mx):
    """Bytes, -127 to 127; the largest of a block is 64 or more."""

    name = "mx_w8a8"
    doc = "MXINT8 weights and activations, a power-of-two scale per 32 along K, by a block-scaled mma with FP32 sums"
    input_type = "s8"
    weight_bits = 8

    def elements(self, blocks: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Round to even and clamp."""
        unit = octaves(blocks) - FRACTION_BITS
        codes = np.rint(np.ldexp(blocks, -unit[..., None])).clip(-LARGEST, LARGEST)
        return codes.astype(np.int8), unit

    def values(self, codes: Array) -> npt.NDArray[np.float64]:
        """Return the codes."""
        return codes.astype(np.float64)

    def placed(self, codes: Array) -> npt.NDArray[np.uint8]:
        """Return a byte each."""
        return np.ascontiguousarray(codes).view(np.uint8)

    def taken(self, placed: Array) -> Array:
        """Return the codes."""
        return placed.view(np.int8)


SCHEME = MxW8A8()
