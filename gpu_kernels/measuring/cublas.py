"""cuBLAS's half-precision matmul beside ours, called directly: CuPy does not let it into a captured graph."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gpu_kernels.measuring.device import Device
from gpu_kernels.measuring.timing import ALIGNMENT, copies_needed, repeated, time_calls
from gpu_kernels.measuring.verify import check

LIBRARIES = ("libcublas.so.13", "libcublas.so.12", "libcublas.so")
WORKSPACE_BYTES = 32 * 2**20  # what NVIDIA recommends for Hopper
NO_TRANSPOSE, TRANSPOSE = 0, 1  # cublasOperation_t
REAL_16F = 2  # cudaDataType_t
COMPUTE_32F = 68  # cublasComputeType_t
DEFAULT_ALGORITHM = -1  # cublasGemmAlgo_t
HALF_BYTES = 2
Half = npt.NDArray[np.float16]


class Cublas:
    """A cuBLAS handle on the device's stream, with a workspace of its own so that calls can be captured."""

    def __init__(self, device: Device) -> None:
        self._library = _load()
        self._handle = ctypes.c_void_p()
        self._workspace = device.empty(WORKSPACE_BYTES)
        self._one, self._zero = ctypes.c_float(1.0), ctypes.c_float(0.0)
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(int(device.stream.ptr)))
        workspace = ctypes.c_void_p(int(self._workspace.data.ptr)), ctypes.c_size_t(WORKSPACE_BYTES)
        self._call("cublasSetWorkspace_v2", self._handle, *workspace)

    @property
    def version(self) -> int:
        """Return cuBLAS's version number."""
        found = ctypes.c_int()
        self._call("cublasGetVersion_v2", self._handle, ctypes.byref(found))
        return found.value

    def matmul(self, x: int, w: int, y: int, m: int, n: int, k: int) -> None:
        """Enqueue Y[m, n] = X[m, k] · W[n, k]^T, all half and row-major, by their addresses.

        cuBLAS counts columns first: it computes Y^T = W · X^T.
        """
        self._call(
            "cublasGemmEx",
            self._handle,
            *(TRANSPOSE, NO_TRANSPOSE, n, m, k, ctypes.byref(self._one)),
            *(ctypes.c_void_p(w), REAL_16F, k, ctypes.c_void_p(x), REAL_16F, k, ctypes.byref(self._zero)),
            *(ctypes.c_void_p(y), REAL_16F, n, COMPUTE_32F, DEFAULT_ALGORITHM),
        )

    def _call(self, function: str, *args: Any) -> None:
        status = getattr(self._library, function)(*args)
        if status:
            raise RuntimeError(f"{function} returned status {status}")


def _load() -> ctypes.CDLL:
    """Open cuBLAS where NVIDIA's path finder knows it, else by its name."""
    try:
        finder = importlib.import_module("cuda.pathfinder")
        names = [str(finder.load_nvidia_dynamic_lib("cublas").abs_path), *LIBRARIES]
    except (ImportError, RuntimeError, AttributeError):
        names = [*LIBRARIES]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError(f"none of {', '.join(names)} can be opened")


class CublasWeights:
    """Half weights [n, k] in rotating copies, timed at several M."""

    def __init__(self, device: Device, cublas: Cublas, weights: Half) -> None:
        self._device, self._cublas = device, cublas
        self._n, self._k = weights.shape
        self._stride = -(-weights.nbytes // ALIGNMENT) * ALIGNMENT
        self._copies = copies_needed(weights.nbytes, device.l2_bytes)
        self._area = repeated(device, weights, self._stride, self._copies)
        device.synchronize()

    def time_us(self, x: Half, reference: npt.NDArray[np.float64]) -> float:
        """Check the result for X [m, k] and return the median time of a call."""
        m = len(x)
        device_x, y = self._device.upload(x), self._device.empty(HALF_BYTES * m * self._n)
        self._device.poison(y)
        calls = [
            self._caller(int(device_x.data.ptr), copy, int(y.data.ptr), m) for copy in range(self._copies)
        ]
        times = time_calls(self._device, calls)
        check(y.get().view(np.float16).reshape(m, self._n), reference)
        return times.median_us

    def _caller(self, x: int, copy: int, y: int, m: int) -> Callable[[], None]:
        w = int(self._area.data.ptr) + copy * self._stride
        return lambda: self._cublas.matmul(x, w, y, m, self._n, self._k)
