"""A GPU that is not there: as much of CuPy's interface as measuring uses, executed at once by NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

KERNEL_MS = 0.004
EVENT_MS = 0.0
BASE = 1 << 33  # beyond 32 bits, as real addresses are


class FakeGpu:
    """Memory, a clock, and the kernel that every module contains."""

    def __init__(self) -> None:
        self.arrays: list[FakeArray] = []
        self.now_ms = 0.0
        self.capturing: list[Callable[[], None]] | None = None
        self.calls: list[dict[str, Any]] = []
        self.cubins: list[bytes] = []
        self.kernel: Callable[..., None] = fp16_kernel
        self.synchronize: Callable[[], None] = lambda: None

    def view(self, address: int, nbytes: int) -> np.ndarray[Any, Any]:
        """Return the bytes at an address; a stray one is an error."""
        for array in self.arrays:
            offset = address - array.address
            if offset >= 0 and offset + nbytes <= array.nbytes:
                return array.host[offset : offset + nbytes]
        raise AssertionError(f"stray address {address:#x}")


class FakePointer:
    def __init__(self, gpu: FakeGpu, ptr: int) -> None:
        self.gpu, self.ptr = gpu, ptr

    def __add__(self, offset: int) -> FakePointer:
        return FakePointer(self.gpu, self.ptr + offset)

    def memset(self, value: int, nbytes: int) -> None:
        self.gpu.view(self.ptr, nbytes)[:] = value

    def copy_from_device(self, source: FakePointer, nbytes: int) -> None:
        self.gpu.view(self.ptr, nbytes)[:] = self.gpu.view(source.ptr, nbytes)


class FakeArray:
    def __init__(self, gpu: FakeGpu, nbytes: int) -> None:
        last = gpu.arrays[-1] if gpu.arrays else None
        self.address = -(-(last.address + last.nbytes) // 512) * 512 + 512 if last else BASE
        self.host = np.full(nbytes, 0x3C, np.uint8)
        self.nbytes = nbytes
        self.data = FakePointer(gpu, self.address)
        gpu.arrays.append(self)

    def set(self, array: np.ndarray[Any, Any]) -> None:
        assert array.dtype == np.uint8 and array.shape == self.host.shape and array.flags.c_contiguous
        self.host[:] = array

    def get(self) -> np.ndarray[Any, Any]:
        return self.host.copy()


class FakeKernel:
    def __init__(self, gpu: FakeGpu, name: str) -> None:
        self.gpu, self.name = gpu, name
        self.max_dynamic_shared_size_bytes = 48 * 1024
        self.preferred_shared_memory_carveout = -1

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        call = {"grid": grid, "block": block, "args": args, "shared_mem": shared_mem, "name": self.name}
        if self.gpu.capturing is not None:
            self.gpu.capturing.append(lambda: self.run(call))
        else:
            self.run(call)

    def run(self, call: dict[str, Any]) -> None:
        self.gpu.calls.append(call)
        self.gpu.now_ms += KERNEL_MS
        self.gpu.kernel(self.gpu, call["args"])


class FakeStream:
    ptr = 7

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def begin_capture(self) -> None:
        assert self.gpu.capturing is None
        self.gpu.capturing = []

    def end_capture(self) -> Any:
        nodes, self.gpu.capturing = self.gpu.capturing, None
        assert nodes is not None

        def launch(stream: FakeStream) -> None:
            for node in nodes:
                node()

        return SimpleNamespace(launch=launch, upload=lambda stream: None, nodes=nodes)


class FakeEvent:
    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu, self.at = gpu, -1.0

    def record(self, stream: FakeStream) -> None:
        self.at = self.gpu.now_ms


def fp16_kernel(gpu: FakeGpu, args: tuple[Any, ...]) -> None:
    """Compute what the FP16 kernel does, from addresses as it gets them."""
    m, n, k = (int(each) for each in args[5:8])
    x = gpu.view(int(args[0]), 2 * m * k).view(np.float16).reshape(m, k)
    w = gpu.view(int(args[1]), 2 * n * k).view(np.float16).reshape(n, k)
    y = gpu.view(int(args[2]), 2 * m * n).view(np.float16)
    assert not gpu.view(int(args[4]), 4).any(), "counters must be zero"
    y[:] = (x.astype(np.float32) @ w.astype(np.float32).T).astype(np.float16).reshape(-1)


def _no_compiler(*_: object) -> Any:
    raise RuntimeError("no NVRTC here")


def fake_cupy(gpu: FakeGpu, sms: int = 132) -> Any:
    """Return what stands for the module ``cupy``."""

    class RawModule:
        def __init__(self, *, path: str) -> None:
            gpu.cubins.append(Path(path).read_bytes())

        def get_function(self, name: str) -> FakeKernel:
            return FakeKernel(gpu, name)

    properties = {"l2CacheSize": 1 << 16, "multiProcessorCount": sms, "name": b"Fake H200"}
    runtime = SimpleNamespace(
        getDeviceProperties=lambda device: properties,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
    )
    cuda = SimpleNamespace(
        Stream=lambda non_blocking: FakeStream(gpu),
        Event=lambda: FakeEvent(gpu),
        Device=lambda: SimpleNamespace(id=0, synchronize=lambda: gpu.synchronize()),
        get_elapsed_time=lambda a, b: b.at - a.at,
        runtime=runtime,
    )
    return SimpleNamespace(
        cuda=cuda,
        empty=lambda nbytes, dtype: FakeArray(gpu, nbytes),
        RawModule=RawModule,
        RawKernel=_no_compiler,
        get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
        __version__="14.2.0",
    )


class Module:
    """SimpleNamespace cannot be hashed; modules can."""

    def __init__(self, namespace: SimpleNamespace) -> None:
        self.__dict__.update(namespace.__dict__)


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu()


@pytest.fixture
def cupy(gpu: FakeGpu) -> Any:
    return Module(fake_cupy(gpu))
