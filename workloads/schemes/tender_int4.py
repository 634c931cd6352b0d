"""Tender W4A4 (ISCA'24) on INT4 tensor cores: two codes in a byte, 64 columns in a tensor instruction.

``tender_w4a4`` is the same arithmetic for GPUs without INT4. Half the bytes travel, and groups end at multiples of 64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sim.errors import ConfigError
from workloads.schemes._tender import Tender
from workloads.schemes.base import Array, Arrays, Options
from workloads.schemes.tender_w4a4 import LARGEST_K


class TenderInt4(Tender):
    """Operands ``codes`` int8 [n, k] and ``scales`` float32 [n]; packed, column 2j lies in the low half of byte j."""

    name = "tender_int4"
    doc = "Tender, INT4 weights and activations, two in a byte, groups of power-of-two scales, INT32 accumulation"
    input_type = "s4"
    weight_bits = 4
    bits = 4
    variants = ("software_shift", "explicit", "extension", "ideal")
    step_columns = 64

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        super()._check_shape(n, k, options, where)
        if k > LARGEST_K:
            raise ConfigError(where, f"K must be at most {LARGEST_K}, so that sums fit FP32; got {k}")

    def row_bytes(self, k: int) -> int:
        """Return the bytes of a row's codes."""
        return k // 2

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` uint8 [n, k / 2] and ``scales``."""
        return {
            "weights": pack_nibbles(operands["codes"]),
            "scales": np.ascontiguousarray(operands["scales"]),
        }

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return the codes as a matrix again."""
        return {"codes": unpack_nibbles(arrays["weights"].reshape(n, k // 2)), "scales": arrays["scales"]}

    def placed(self, codes: npt.NDArray[np.int8], options: Options) -> npt.NDArray[np.int8]:
        """Return activation codes two in a byte, [m, k / 2]."""
        return pack_nibbles(codes).view(np.int8)


def pack_nibbles(codes: Array) -> npt.NDArray[np.uint8]:
    """Return codes [rows, k] of -8 to 7 two in a byte [rows, k / 2], the first in the low half."""
    halves = codes.astype(np.uint8) & np.uint8(15)
    packed: npt.NDArray[np.uint8] = halves[:, ::2] | halves[:, 1::2] << np.uint8(4)
    return packed


def unpack_nibbles(packed: Array) -> npt.NDArray[np.int8]:
    """Return the codes int8 [rows, k] of bytes [rows, k / 2]."""
    halves = np.stack((packed << np.uint8(4), packed), axis=2).reshape(len(packed), -1).view(np.int8)
    codes: npt.NDArray[np.int8] = halves >> 4
    return codes


SCHEME = TenderInt4()
