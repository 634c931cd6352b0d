"""Bytes beyond the SM: what CTAs ask of L2, and what L2 must fetch from DRAM.

CTAs that run at the same time and read the same data share one fetch. Between waves, data is found again in L2 as long
as less than its capacity has been read since (least recently used, whole CTA footprints).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.chip.sharing import cta_at
from sim.isa.launch import Dim3, KernelLaunch
from sim.isa.trace import WarpTrace
from sim.isa.units import LOADS, STORES, Unit
from sim.sm.plan import bulk_rows, rows_before_fence

F64 = npt.NDArray[np.float64]
SECTOR_BYTES, LINE_BYTES = 32, 128
PROBED_WAVES = 2  # the pattern of later waves is that of the last probed one
RESIDENT_ROLES = ("activations", "output", "workspace")  # stay in L2 from launch to launch; weights rotate
RESIDENT_SHARE = 0.5  # of L2, beyond which nothing is taken to stay


@dataclass(frozen=True)
class CtaTraffic:
    """Bytes that one CTA moves between its SM and L2, per buffer of the launch; ``bulk``: until it has its data."""

    loads: F64
    stores: F64
    bulk_loads: F64
    whole_loads: F64  # of the bulk, what L2 can send to several SMs at once
    bulk_stores: float
    handed_over: float  # stored after the bulk, before a fence

    @property
    def total(self) -> float:
        """All bytes through the SM's port."""
        return float(self.loads.sum() + self.stores.sum())

    def weighted(self, store_weight: float) -> tuple[float, float]:
        """Return all bytes, and those of the bulk, a stored one counted ``store_weight`` times."""
        total = float(self.loads.sum() + store_weight * self.stores.sum())
        return total, float(self.bulk_loads.sum()) + store_weight * self.bulk_stores

    def merged(self, shares: F64) -> float:
        """Return the bytes of the bulk that L2 need not send, since it answers several SMs at once."""
        return float(((1.0 - shares) * self.whole_loads).sum())


@dataclass(frozen=True)
class DramTraffic:
    """DRAM bytes of a whole launch, and the share of the distinct data read that they are."""

    read_bytes: float
    write_bytes: float
    share: float
    reread_bytes: float = 0.0  # of the data that comes from DRAM: what is read again and found in L2


def cta_traffic(trace: WarpTrace, buffers: int) -> CtaTraffic:
    """Add up the sectors that miss L1, by buffer and direction."""
    unit = trace.program.unit[trace.pc]
    times = trace.repeats()
    touched = trace.buffer >= 0
    loads = touched & np.isin(unit, (*LOADS, Unit.ATOMIC))
    stores = touched & np.isin(unit, STORES)
    weight = SECTOR_BYTES * times
    loaded, stored, bulk = trace.misses * weight, trace.sectors * weight, bulk_rows(trace)
    return CtaTraffic(
        np.bincount(trace.buffer[loads], loaded[loads], buffers).astype(np.float64),
        np.bincount(trace.buffer[stores], stored[stores], buffers).astype(np.float64),
        np.bincount(trace.buffer[loads & bulk], loaded[loads & bulk], buffers).astype(np.float64),
        np.bincount(trace.buffer[loads & bulk], (loaded * _whole(trace))[loads & bulk], buffers).astype(
            np.float64
        ),
        float(stored[stores & bulk].sum()),
        float(stored[stores & ~bulk & rows_before_fence(trace)].sum()),
    )


def _whole(trace: WarpTrace) -> F64:
    """Return the share of each access that is asked of L2 in whole lines.

    L2 answers several SMs at once (sim/chip/sharing.py), but hardly where the copy engine asks for parts of lines:
    measured of rows of 128 bytes that a line's end cuts in two (gpu_kernels/micro/few_sms).
    """
    boxes = trace.program.unit[trace.pc] == Unit.BULK_LOAD
    present = np.minimum(trace.tx, trace.sectors * SECTOR_BYTES)  # of a box: not what is filled with zeros
    cut = trace.lines * LINE_BYTES / np.maximum(present, 1) - 1.0
    whole: F64 = np.where(boxes, np.clip(1.0 - cut, 0.0, 1.0), 1.0)
    return whole


def dram_traffic(
    launch: KernelLaunch,
    per_class: Sequence[CtaTraffic],
    concurrent_ctas: int,
    l2_bytes: int,
    probe: Callable[[KernelLaunch, Sequence[Dim3]], npt.NDArray[np.int64]],
) -> DramTraffic:
    """Return what DRAM moves for a launch; ``probe`` tells which CTAs read the same data."""
    counts = np.array([each.count for each in launch.classes], np.float64)
    loads = counts @ np.stack([traffic.loads for traffic in per_class])
    stores = counts @ np.stack([traffic.stores for traffic in per_class])
    sizes = np.array([buffer.nbytes for buffer in launch.buffers], np.float64)
    cold = np.array([not _stays(buffer.role, buffer.nbytes, l2_bytes) for buffer in launch.buffers])
    once = np.minimum(loads, sizes)
    read = np.where(cold, once, 0.0)
    again = cold & (loads > 1.05 * sizes)
    if again.any() and once[cold].sum() > l2_bytes and launch.ctas > concurrent_ctas:
        read = np.maximum(read, _reread(launch, loads, cold, concurrent_ctas, l2_bytes, probe))
    workspace = np.array([buffer.role == "workspace" for buffer in launch.buffers])
    written = np.where(workspace, 0.0, np.minimum(stores, sizes))
    distinct = float(once.sum())
    share = min(1.0, float(read.sum()) / distinct) if distinct else 0.0
    again_bytes = float(np.maximum(0.0, loads - read)[cold].sum())
    return DramTraffic(float(read.sum()), float(written.sum()), share, again_bytes)


def _stays(role: str, nbytes: int, l2_bytes: int) -> bool:
    return role in RESIDENT_ROLES and nbytes <= RESIDENT_SHARE * l2_bytes


def _reread(
    launch: KernelLaunch,
    loads: F64,
    cold: npt.NDArray[np.bool_],
    concurrent: int,
    l2_bytes: int,
    probe: Callable[[KernelLaunch, Sequence[Dim3]], npt.NDArray[np.int64]],
) -> F64:
    """Return DRAM reads per buffer when waves re-read data: L2 as a list of the most recent CTA footprints."""
    probed = min(launch.ctas, PROBED_WAVES * concurrent)
    touches = probe(launch, [cta_at(launch.grid, index) for index in range(probed)])
    footprint = loads / launch.ctas
    cache: OrderedDict[tuple[int, int], float] = OrderedDict()
    read = np.zeros(len(loads))
    wave_read = np.zeros(len(loads))
    size = 0
    for start in range(0, probed, concurrent):
        wave = touches[start : start + concurrent]
        wave_read, size = _wave(wave, footprint, cold, cache, l2_bytes), len(wave)
        read += wave_read
    return read + wave_read * (launch.ctas - probed) / max(1, size)


def _wave(
    wave: npt.NDArray[np.int64],
    footprint: F64,
    cold: npt.NDArray[np.bool_],
    cache: OrderedDict[tuple[int, int], float],
    l2_bytes: int,
) -> F64:
    """Fetch one wave's distinct data; keep the most recent in ``cache``."""
    read = np.zeros(len(footprint))
    for buffer in np.flatnonzero(footprint > 0):
        for unit in np.unique(wave[:, buffer]):
            key = (int(buffer), int(unit))
            if key not in cache and cold[buffer]:
                read[buffer] += footprint[buffer]
            cache[key] = footprint[buffer]
            cache.move_to_end(key)
    held = sum(cache.values())
    while held > l2_bytes and cache:
        held -= cache.popitem(last=False)[1]
    return read
