"""The SM clock while something ran: every SM's cycle counter and the GPU's timer, read before and after."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gpu_kernels.measuring.device import Device
from gpu_kernels.measuring.soft import attempt

NANOSECOND_MHZ = 1e3  # cycles per nanosecond -> MHz
SOURCE = r"""
extern "C" __global__ void stamp(unsigned long long* to) {
    unsigned sm;
    unsigned long long nanoseconds;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(nanoseconds));
    if (threadIdx.x == 0) {
        to[2 * sm] = clock64();
        to[2 * sm + 1] = nanoseconds;
    }
}
"""
Stamps = npt.NDArray[np.uint64]  # [SMs, 2]: cycles, nanoseconds; zeros where no CTA ran


class ClockStamps:
    """Two sets of stamps; without NVRTC there are none and the clock stays unknown."""

    def __init__(self, device: Device) -> None:
        self._sms = int(device.properties["multiProcessorCount"])
        self._kernel = _stamp_kernel(device.cupy)
        self._sets = [device.empty(16 * self._sms) for _ in range(2)]
        for each in self._sets:
            each.data.memset(0, each.nbytes)
        device.synchronize()
        self._take(self._sets[0])  # the first run of a kernel loads it
        device.synchronize()

    def before(self) -> None:
        """Stamp every SM on the current stream, ahead of what is to be timed."""
        self._take(self._sets[0])

    def after(self) -> None:
        """Stamp every SM again."""
        self._take(self._sets[1])

    def read(self) -> tuple[Stamps, Stamps] | None:
        """Return both sets, or None if the stamps could not be taken."""
        if self._kernel is None:
            return None
        first, second = (each.get().view(np.uint64).reshape(-1, 2) for each in self._sets)
        return first, second

    def _take(self, to: Any) -> None:
        if self._kernel is not None:
            self._kernel((self._sms,), (32,), (np.uint64(to.data.ptr),))


@cache
def _stamp_kernel(cupy: Any) -> Any:
    """Compile by NVRTC, which may be missing."""

    def compiled() -> Any:
        kernel = cupy.RawKernel(SOURCE, "stamp")
        kernel.compile()
        return kernel

    return attempt("the SM clock", compiled)


def mean_clock_mhz(stamps: ClockStamps) -> float | None:
    """Return the median over SMs of the mean clock between the two sets."""
    sets = stamps.read()
    return None if sets is None else clock_between(*sets)


def clock_between(before: Stamps, after: Stamps) -> float | None:
    """Return cycles over time of the SMs that both sets have, in MHz; the median of them."""
    both = (before[:, 1] > 0) & (after[:, 1] > before[:, 1]) & (after[:, 0] > before[:, 0])
    if not both.any():
        return None
    elapsed = (after[both] - before[both]).astype(np.float64)
    return float(np.median(elapsed[:, 0] / elapsed[:, 1])) * NANOSECOND_MHZ
