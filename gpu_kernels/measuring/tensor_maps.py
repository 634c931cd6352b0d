"""Tensor maps as the copy engine of a real GPU reads them: encoded by the driver, 128 bytes each."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.errors import TcsimError
from sim.isa.launch import TensorMap

DRIVER = "libcuda.so.1"
MAP_BYTES, MAP_ALIGNMENT = 128, 64
ENCODED = np.dtype([("opaque", np.uint8, MAP_BYTES)])  # CuPy passes one record of a structured type by value
DATA_TYPES = {1: 0, 2: 1, 4: 2, 8: 4}  # bytes per element -> CUtensorMapDataType: unsigned integers
SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}  # bytes -> CUtensorMapSwizzle
INTERLEAVE_NONE = 0
L2_PROMOTION_128B = 2
OUTSIDE_IS_ZERO = 0


def encode(tensor: TensorMap, address: int, driver: Any = None) -> npt.NDArray[np.void]:
    """Return the map of a tensor at ``address`` as one record of 128 bytes."""
    rank = len(tensor.dims)
    room = (ctypes.c_uint8 * (MAP_BYTES + MAP_ALIGNMENT))()
    skipped = -ctypes.addressof(room) % MAP_ALIGNMENT
    status = (driver or _driver()).cuTensorMapEncodeTiled(
        ctypes.c_void_p(ctypes.addressof(room) + skipped),
        ctypes.c_int(DATA_TYPES[tensor.element_bytes]),
        ctypes.c_uint32(rank),
        ctypes.c_void_p(address),
        (ctypes.c_uint64 * rank)(*tensor.dims),
        (ctypes.c_uint64 * rank)(*tensor.strides_bytes),
        (ctypes.c_uint32 * rank)(*tensor.box),
        (ctypes.c_uint32 * rank)(*([1] * rank)),  # every element of a box
        ctypes.c_int(INTERLEAVE_NONE),
        ctypes.c_int(SWIZZLES[tensor.swizzle_bytes]),
        ctypes.c_int(L2_PROMOTION_128B),
        ctypes.c_int(OUTSIDE_IS_ZERO),
    )
    if status:
        raise TcsimError(f"the driver refuses the tensor map of {tensor.buffer}: CUDA error {status}")
    return np.frombuffer(bytes(room[skipped : skipped + MAP_BYTES]), dtype=ENCODED)


@cache
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(DRIVER)
    except OSError as error:
        raise TcsimError(f"tensor maps need NVIDIA's driver: {error}") from None
