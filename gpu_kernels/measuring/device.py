"""A GPU through CuPy: it runs the very cubin that the simulator decodes, as `KernelLaunch` says."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.measuring.tensor_maps import encode
from sim.errors import TcsimError
from sim.isa.launch import Argument, Buffer, BufferRef, KernelLaunch, TensorMap

POISON = 0xFF  # every float format reads bytes of ones as NaN
ALL_SHARED = 100  # percent of the unified L1 that a kernel asks for as shared memory
Pointers = Mapping[str, int]


def import_cupy() -> Any:
    """Import CuPy and look for a GPU, or say what is missing."""
    try:
        cupy = importlib.import_module("cupy")
        cupy.cuda.runtime.getDeviceCount()
    except (
        ImportError,
        AttributeError,
        RuntimeError,
    ) as error:  # RuntimeError: CUDA's, where there is no driver
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TcsimError(f"measuring needs an NVIDIA GPU and CuPy (extra [gpu]): {reason}") from None
    return cupy


def arguments(
    launch: KernelLaunch, pointers: Pointers, driver: Any = None
) -> tuple[np.generic | np.ndarray[Any, Any], ...]:
    """Return the kernel's arguments: 64-bit addresses, maps as ``driver`` encodes them, the rest as CuPy takes it."""
    return tuple(_argument(each, pointers, driver) for each in launch.args)


def _argument(argument: Argument, pointers: Pointers, driver: Any) -> np.generic | np.ndarray[Any, Any]:
    if isinstance(argument, TensorMap):
        return encode(argument, pointers[argument.buffer] + argument.offset_bytes, driver)
    if isinstance(argument, BufferRef):
        return np.uint64(pointers[argument.name] + argument.offset_bytes)
    return np.asarray(argument) if isinstance(argument, np.void) else argument


class Device:
    """The current GPU, one stream, and the kernels loaded so far."""

    def __init__(self, cupy: Any = None) -> None:
        self.cupy = import_cupy() if cupy is None else cupy
        self.stream = self.cupy.cuda.Stream(non_blocking=True)
        self._kernels: dict[tuple[str, str], Any] = {}
        self._folder = Path(
            tempfile.mkdtemp(prefix="tcsim-cubins-")
        )  # CuPy may read a cubin as late as a launch
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @cached_property
    def properties(self) -> dict[str, Any]:
        """Return the runtime's device properties."""
        found: dict[str, Any] = self.cupy.cuda.runtime.getDeviceProperties(self.cupy.cuda.Device().id)
        return found

    @property
    def l2_bytes(self) -> int:
        """Capacity of the L2 as the runtime reports it."""
        return int(self.properties["l2CacheSize"])

    def synchronize(self) -> None:
        """Wait for everything; an error of an earlier launch is raised here."""
        self.cupy.cuda.Device().synchronize()

    def is_alive(self) -> bool:
        """Tell whether the context can still be used: after a fault in a kernel every call fails."""
        try:
            self.synchronize()
        except RuntimeError:  # CuPy's CUDA errors
            return False
        return True

    def free_unused(self) -> None:
        """Give cached memory back to the driver."""
        self.cupy.get_default_memory_pool().free_all_blocks()

    def kernel(self, launch: KernelLaunch) -> Any:
        """Load the program's cubin once; allow it the launch's dynamic shared memory."""
        key = launch.program.identity, launch.program.name
        if key not in self._kernels:
            path = self._folder / f"{launch.program.identity}.cubin"
            path.write_bytes(launch.program.cubin)
            self._kernels[key] = self.cupy.RawModule(path=str(path)).get_function(launch.program.name)
        kernel = self._kernels[key]
        kernel.max_dynamic_shared_size_bytes = launch.dynamic_shared_bytes
        kernel.preferred_shared_memory_carveout = ALL_SHARED
        return kernel

    def empty(self, nbytes: int) -> Any:
        """Allocate bytes that hold anything."""
        return self.cupy.empty(nbytes, dtype=np.uint8)

    def upload(self, array: np.ndarray[Any, Any]) -> Any:
        """Copy an array to the GPU as bytes."""
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        target = self.empty(flat.nbytes)
        target.set(flat)
        return target

    def place(self, launch: KernelLaunch, resident: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Allocate every buffer of a launch but those already ``resident``: data, zeros, or poison."""
        held = resident or {}
        arrays = {
            each.name: held[each.name] if each.name in held else self._allocate(each)
            for each in launch.buffers
        }
        self.synchronize()
        return arrays

    def _allocate(self, buffer: Buffer) -> Any:
        if buffer.data is not None:
            return self.upload(buffer.data)
        target = self.empty(buffer.nbytes)
        target.data.memset(0 if buffer.zeroed else POISON, buffer.nbytes)
        return target

    def poison(self, array: Any) -> None:
        """Overwrite an array so that what a kernel leaves unwritten is seen."""
        array.data.memset(POISON, array.nbytes)
        self.synchronize()

    def enqueue(self, launch: KernelLaunch, pointers: Pointers) -> None:
        """Launch on this device's stream; the stream must be current (``with device.stream``)."""
        kernel = self._kernels.get((launch.program.identity, launch.program.name)) or self.kernel(launch)
        kernel(launch.grid, launch.block, arguments(launch, pointers), shared_mem=launch.dynamic_shared_bytes)

    def run(self, launch: KernelLaunch, pointers: Pointers) -> None:
        """Launch once and wait."""
        self.kernel(launch)
        with self.stream:
            self.enqueue(launch, pointers)
        self.synchronize()


def addresses(arrays: Mapping[str, Any]) -> dict[str, int]:
    """Return where device arrays lie."""
    return {name: int(array.data.ptr) for name, array in arrays.items()}
