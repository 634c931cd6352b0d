"""CTA classes on one SM: their traces, and the phases of their time against memory latency."""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from sim.arch.spec import GpuSpec
from sim.chip.cache import Cache
from sim.chip.traffic import CtaTraffic
from sim.isa.launch import CtaClass
from sim.isa.trace import WarpTrace
from sim.sm.model import CtaTimer, Point

TIMINGS_KEPT = 4096

_TIMINGS = Cache(TIMINGS_KEPT, lambda timer: timer.rows)


@dataclass(frozen=True, eq=False)
class TracedClass:
    """One CTA class with what its representative did."""

    cta_class: CtaClass
    trace: WarpTrace
    signature: str  # equal for traces that differ only in how often their loops ran
    traffic: CtaTraffic
    awaited: float  # of a stage's extra latency, what its waits see


def one_loop_per_warp(trace: WarpTrace) -> bool:
    """Say whether all warps run one loop, equally often: then its iterations alone tell long from short."""
    warps = np.searchsorted(trace.offset, trace.loops[:, 0], side="right")
    return len(trace.loops) > 0 and len(set(warps)) == len(warps) and len(set(trace.loops[:, 2])) == 1


class SmTimer:
    """Times CTA classes on one machine's SM; what was timed once, on any machine with the same SM, is kept."""

    def __init__(self, gpu: GpuSpec) -> None:
        numbers = gpu.sm.model_dump(
            mode="json", exclude={"count", "max_clock_mhz", "mma_clock_mhz", "sustained_clock_mhz"}
        )
        l2 = gpu.l2.model_dump(
            mode="json",
            include={"near_latency_cycles", "far_latency_cycles", "far_fraction", "sm_port_bytes_per_cycle"},
        )
        self._gpu, self._identity = gpu, json.dumps([numbers, l2], sort_keys=True)

    def curve(self, traced: TracedClass, resident: int) -> LatencyCurve:
        """Return the time of ``resident`` CTAs of a class together on one SM, against loaded latency."""
        key = (traced.signature, self._identity, resident)
        timer = _TIMINGS.get(key, lambda: CtaTimer(traced.trace, self._gpu, resident))
        if one_loop_per_warp(traced.trace):
            return LatencyCurve(timer, int(traced.trace.loops[0, 2]) + 1)
        return LatencyCurve(timer, timer.iterations)


class LatencyCurve:
    """The phases of a CTA against latency: linear between timed points, and beyond the last as between the last two.

    Phases: until the CTA first asks memory, until the bulk of what it asked is there, until it first stores, until it
    waits at a fence for its stores (if it does), until its end.
    """

    def __init__(self, timer: CtaTimer, iterations: int) -> None:
        self._timer, self._iterations = timer, iterations

    def phases(self, latency: float) -> tuple[float, ...]:
        """Return the cycles of each phase at a mean loaded latency; below the first point nothing is gained."""
        x = self._timer.latencies
        if latency <= x[0]:
            return self._phases(0)
        right = min(bisect_left(x, latency), len(x) - 1)
        weight = (latency - x[right - 1]) / (x[right] - x[right - 1])
        low, high = self._phases(right - 1), self._phases(right)
        return tuple(a + weight * max(0.0, b - a) for a, b in zip(low, high, strict=True))

    def _nearest(self, latency: float) -> int:
        x = self._timer.latencies
        return min(range(len(x)), key=lambda index: abs(x[index] - latency))

    def _phases(self, index: int) -> tuple[float, ...]:
        point = self._timer.point(index)
        total = point.prologue + self._iterations * point.iteration + point.epilogue
        tail = min(point.tail, total - point.lead)
        finish = min(point.finish, tail)
        handover = min(point.handover, finish)
        storing = finish - handover if handover else 0.0
        return point.lead, total - point.lead - tail, tail - finish, storing, finish - storing

    def nearest(self, latency: float) -> Point:
        """Return what was timed at the latency nearest to ``latency``."""
        return self._timer.point(self._nearest(latency))
