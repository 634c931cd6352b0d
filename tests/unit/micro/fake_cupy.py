"""Enough of CuPy to run the measuring code without a GPU: kernels do nothing but report made-up clocks.

A launch whose loop runs n times takes START + n * PER_TRIP cycles, and as many nanoseconds between events.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

START, PER_TRIP = 1_000, 96
CLOCK_MHZ = 1_000.0

_memory: dict[int, np.ndarray[Any, Any]] = {}
_now = [0.0]  # milliseconds


class Array:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.host = np.zeros(min(nbytes, 1 << 20), np.uint8)  # large buffers only have an address
        self.data = SimpleNamespace(
            ptr=self.host.ctypes.data,
            memset=self._memset,
            memset_async=lambda value, nbytes, stream=None: self._memset(value, nbytes),
        )
        _memory[self.data.ptr] = self.host

    def _memset(self, value: int, nbytes: int) -> None:
        assert nbytes <= self.nbytes
        self.host[:] = value

    def set(self, data: np.ndarray[Any, Any]) -> None:
        assert data.nbytes == self.nbytes
        self.host[: len(data)] = data[: len(self.host)]

    def get(self) -> np.ndarray[Any, Any]:
        whole = np.zeros(self.nbytes, np.uint8)
        whole[: len(self.host)] = self.host
        return whole


class Kernel:
    def __init__(self, name: str) -> None:
        self.name = name
        self.max_dynamic_shared_size_bytes = 0
        self.preferred_shared_memory_carveout = 0

    def __call__(self, grid: Any, block: Any, args: Any, shared_mem: int = 0) -> None:
        assert all(isinstance(each, np.generic | np.ndarray) for each in args)
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        if len(args) < 4:  # the clock stamps
            return
        cycles = START + PER_TRIP * int(args[2])
        warps = grid[0] * (block[0] // 32)
        clocks = _memory[int(args[0])][: 16 * warps].view(np.int64).reshape(-1, 2)
        clocks[:, 0], clocks[:, 1] = 500, 500 + cycles
        _now[0] += cycles / CLOCK_MHZ / 1e3
        self._fill(args)

    def _fill(self, args: Any) -> None:
        """Write what the kernels that report more than clocks report."""
        if self.name == "one_by_one":
            found = _memory[int(args[6])].view(np.uint32)
            found[:512] = np.where(np.arange(512) % 2, 300, 500)
        if self.name.startswith("busy"):  # tensor duty beside a stream: rate, cycles, nanoseconds
            _memory[int(args[10])].view(np.uint64)[:] = 1000
        if self.name == "loaded":
            streamed = _memory[int(args[10])][: 16 * 132].view(np.uint64).reshape(-1, 2)
            streamed[:] = 2**20, 65536 + 100 * int(args[8])


class Event:
    def __init__(self) -> None:
        self.at = 0.0

    def record(self, stream: Any = None) -> None:
        self.at = _now[0]


class Stream:
    ptr = 0

    def __init__(self, non_blocking: bool = False) -> None:
        self._begun = 0.0
        self._asked = 0

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def done(self) -> bool:
        """Say that the work is done at every eighth question."""
        self._asked += 1
        return self._asked % 8 == 0

    def synchronize(self) -> None:
        pass

    def begin_capture(self) -> None:
        self._begun = _now[0]

    def end_capture(self) -> Any:
        took = _now[0] - self._begun

        def launch(stream: Any = None) -> None:
            _now[0] += took

        return SimpleNamespace(upload=lambda stream: None, launch=launch)


class RawModule:
    def __init__(self, path: str) -> None:
        assert Path(path).read_bytes()[:4] == b"\x7fELF"

    def get_function(self, name: str) -> Kernel:
        return Kernel(name)


class RawKernel(Kernel):
    def __init__(self, source: str, name: str) -> None:
        super().__init__(name)

    def compile(self) -> None:
        pass


def _properties(_device: int) -> dict[str, Any]:
    return {"name": b"NVIDIA H200", "multiProcessorCount": 132, "l2CacheSize": 50 * 2**20}


cuda = SimpleNamespace(
    Stream=Stream,
    Event=Event,
    Device=lambda: SimpleNamespace(id=0, synchronize=lambda: None),
    get_elapsed_time=lambda a, b: b.at - a.at,
    runtime=SimpleNamespace(
        getDeviceProperties=_properties,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
    ),
)
__version__ = "0"


def empty(nbytes: int, dtype: Any = np.uint8) -> Array:
    return Array(int(nbytes))


def get_default_memory_pool() -> Any:
    return SimpleNamespace(free_all_blocks=lambda: None)
