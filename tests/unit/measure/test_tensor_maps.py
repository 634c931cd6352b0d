from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.measuring.device import arguments
from gpu_kernels.measuring.tensor_maps import encode
from sim.arch.load import load_gpu
from sim.errors import TcsimError
from sim.isa.launch import TensorMap

WEIGHTS = TensorMap(
    "weights", 2, dims=(200, 70), strides_bytes=(416,), box=(64, 32), swizzle_bytes=128, offset_bytes=32
)
PATTERN = bytes(range(128))


class FakeDriver:
    """Keeps what it is told and writes a pattern as the map."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.told: list[Any] = []

    def cuTensorMapEncodeTiled(self, room: Any, *told: Any) -> int:  # noqa: N802, the driver's name
        assert room.value % 64 == 0, "the driver refuses another alignment"
        ctypes.memmove(room.value, PATTERN, len(PATTERN))
        self.told = [list(each) if isinstance(each, ctypes.Array) else each.value for each in told]
        return self.status


def test_the_driver_is_told_the_tensor_in_its_own_terms() -> None:
    driver = FakeDriver()
    encode(WEIGHTS, 2**40, driver)
    half, swizzle_128b, zeros = 1, 3, 0
    kind, rank, address, dims, strides, box, steps, interleave, swizzle, _, outside = driver.told
    assert (kind, rank, address) == (half, 2, 2**40)
    assert (dims, strides[:1], box, steps) == ([200, 70], [416], [64, 32], [1, 1])
    assert (interleave, swizzle, outside) == (0, swizzle_128b, zeros)


def test_an_argument_is_the_map_of_where_the_buffer_lies() -> None:
    (launch,) = catalog.launches("fp16_wgmma", 5, 136, 192, {}, load_gpu("h200"), "16x64")
    driver = FakeDriver()
    pointers = {each.name: 2**33 + 4096 * index for index, each in enumerate(launch.buffers)}
    got = arguments(launch, pointers, driver)
    assert [each.nbytes for each in got] == [each.size for each in launch.program.params]
    assert isinstance(got[1], np.ndarray) and got[1].shape == (1,) and got[1].tobytes() == PATTERN
    maps = [each for each in launch.args if isinstance(each, TensorMap)]
    assert [each.buffer for each in maps] == ["activations", "weights", "activations"]
    assert driver.told[2] == pointers["activations"], "the last map is that of the last tokens"


def test_what_the_driver_refuses_is_named() -> None:
    with pytest.raises(TcsimError, match="the driver refuses the tensor map of weights: CUDA error 1"):
        encode(WEIGHTS, 2**40, FakeDriver(status=1))
