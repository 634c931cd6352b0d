"""MXFP4 (OCP Microscaling 1.0): FP4 weights and activations, each 32 neighbours along K with a power-of-two scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workloads.schemes._mx import Mx, octaves
from workloads.schemes.base import Array

MAGNITUDES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])  # E2M1
TOP_OCTAVE, SIGN = 2, 8


class MxW4A4(Mx):
    """Codes uint8: three bits of magnitude, the sign above them; packed, column 2j in the low half of byte j."""

    name = "mx_w4a4"
    doc = "MXFP4 weights and activations, a power-of-two scale per 32 along K, by a block-scaled mma with FP32 sums"
    input_type = "e2m1"
    weight_bits = 4

    def elements(self, blocks: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Take the nearest magnitude, of two the smaller; what is beyond 6 becomes 6."""
        unit = octaves(blocks) - TOP_OCTAVE
        scaled = np.ldexp(blocks, -unit[..., None])
        codes = np.searchsorted((MAGNITUDES[1:] + MAGNITUDES[:-1]) / 2, np.abs(scaled))
        return (codes | np.where(np.signbit(scaled), SIGN, 0)).astype(np.uint8), unit

    def values(self, codes: Array) -> npt.NDArray[np.float64]:
        """Return the magnitudes with their signs."""
        found: npt.NDArray[np.float64] = np.where(codes & SIGN, -1.0, 1.0) * MAGNITUDES[codes & (SIGN - 1)]
        return found

    def placed(self, codes: Array) -> npt.NDArray[np.uint8]:
        """Return two in a byte."""
        found: npt.NDArray[np.uint8] = codes[:, ::2] | codes[:, 1::2] << np.uint8(4)
        return found

    def taken(self, placed: Array) -> Array:
        """Return one in a byte."""
        return np.stack((placed & np.uint8(15), placed >> np.uint8(4)), axis=2).reshape(len(placed), -1)


SCHEME = MxW4A4()
