"""L2 and DRAM as the SMs share them: rates and loaded latencies that agree with each other.

Each cohort of SMs asks for bytes at a rate that falls as its memory latency grows; each level answers with a latency
that grows with its load. The solution is where both hold. Where a cohort hides latency so well that its rate hardly
falls, the latency grows until the level's bandwidth is met: bandwidth needs no cap of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.arch.spec import GpuSpec

LIMIT_NS = 1e9  # a latency no cohort can want
ROUNDING = 1 + 1e-9  # asking for exactly a level's rate is not asking for more
SHORTEST_NS = 1e-3  # of a phase: the chip's clock ticks in picoseconds


@dataclass(frozen=True)
class Demand:
    """What one cohort asks of the memories while it works through one phase of its CTAs.

    ``duration_ns(latency_ns)`` is how long that takes at a mean loaded latency; bytes are of the whole cohort.
    """

    duration_ns: Callable[[float], float]
    dram_bytes: float
    l2_bytes: float
    dram_share: float  # of its distinct data that comes from DRAM: how much of DRAM's latency it sees
    sms: float
    streams: bool = False  # waits for whole stages, begun with none on their way
    awaited: float = 1.0  # of a stage's extra latency, what its waits see: less where they cover few lines
    merged_bytes: float = 0.0  # of l2_bytes: what L2 sends along with another SM's
    reread_bytes: float = 0.0  # of l2_bytes: what came from DRAM for an earlier reader

    @property
    def sent_bytes(self) -> float:
        """Return what leaves L2."""
        return self.l2_bytes - self.merged_bytes


@dataclass(frozen=True)
class Balance:
    """The agreed state: each cohort's duration if nothing changed, and how busy the levels are."""

    durations_ns: tuple[float, ...]
    latencies_ns: tuple[float, ...]
    dram_utilization: float
    l2_utilization: float


def _l2_load(demand: Demand) -> float:
    return demand.sent_bytes


class MemorySystem:
    """The levels beyond the SMs of one GPU at one SM clock."""

    def __init__(self, gpu: GpuSpec, clock_mhz: float) -> None:
        l2, dram = gpu.l2, gpu.dram
        self.ns_per_cycle = 1e3 / clock_mhz
        # L2 is counted in SM cycles at the highest clock; a part of the way to it and to DRAM follows the SMs' clock
        slower = 1.0 + l2.clock_share * (gpu.sm.max_clock_mhz / clock_mhz - 1.0)
        l2_cycle_ns = 1e3 / gpu.sm.max_clock_mhz * slower
        mean = l2.near_latency_cycles * (1 - l2.far_fraction) + l2.far_latency_cycles * l2.far_fraction
        self.l2_latency_ns = mean * l2_cycle_ns
        self.l2_bytes_per_ns = l2.bandwidth_bytes_per_cycle / l2_cycle_ns
        self.port_bytes_per_ns = l2.sm_port_bytes_per_cycle / self.ns_per_cycle
        self.dram_bytes_per_ns = dram.bandwidth_gb_per_s / slower
        self.stage_latency_factor = dram.stage_latency_factor
        self._hit_cost = dram.hit_cost
        self._utilization = np.array([point.utilization for point in dram.loaded_latency])
        self._latency_ns = np.array([point.latency_ns * slower for point in dram.loaded_latency])

    @property
    def unloaded_dram_ns(self) -> float:
        """What an L2 miss adds to the latency of an idle GPU."""
        return float(self._latency_ns[0])

    def balance(self, demands: Sequence[Demand]) -> Balance:
        """Solve rates against latencies: L2 queueing inside, DRAM outside."""
        dram_ns = self._solve(lambda extra: self._dram_excess(demands, extra), self.unloaded_dram_ns)
        queue_ns = self._queue(demands, dram_ns)
        latencies = tuple(self._latency(demand, dram_ns, queue_ns) for demand in demands)
        durations = tuple(
            self._duration(demand, latency) for demand, latency in zip(demands, latencies, strict=True)
        )
        return Balance(
            durations,
            latencies,
            sum(self._dram_load(d) / t for d, t in zip(demands, durations, strict=True))
            / self.dram_bytes_per_ns,
            sum(d.sent_bytes / t for d, t in zip(demands, durations, strict=True)) / self.l2_bytes_per_ns,
        )

    def _latency(self, demand: Demand, dram_ns: float, queue_ns: float) -> float:
        """Return the latency a cohort sees: of a stage, that of its slowest line."""
        slowest = 1.0 + (self.stage_latency_factor - 1.0) * demand.awaited if demand.streams else 1.0
        return self.l2_latency_ns + queue_ns + demand.dram_share * slowest * dram_ns

    def _fill(self, demand: Demand) -> float:
        """Return how long a cohort that begins to stream gets nothing: until its first bytes arrive."""
        first = self.l2_latency_ns + demand.dram_share * self.unloaded_dram_ns
        return first if demand.streams and demand.l2_bytes else 0.0

    def _duration(self, demand: Demand, latency_ns: float) -> float:
        """Return how long a cohort takes; work that does not wait for memory is still held to each level's rate."""
        ports = self.port_bytes_per_ns * demand.sms
        moving = max(
            demand.l2_bytes / ports if ports else 0.0,
            demand.sent_bytes / self.l2_bytes_per_ns,
            self._dram_load(demand) / self.dram_bytes_per_ns,
            SHORTEST_NS,
        )
        return max(demand.duration_ns(latency_ns), moving + self._fill(demand))

    def _dram_load(self, demand: Demand) -> float:
        """Return the bytes that keep DRAM busy as long as a cohort's do, with those beside them that L2 has."""
        if not demand.dram_bytes:
            return 0.0
        return demand.dram_bytes + self._hit_cost * demand.reread_bytes

    def _asked(
        self, demands: Sequence[Demand], dram_ns: float, queue_ns: float, load: Callable[[Demand], float]
    ) -> float:
        """Return the bytes per ns asked of a level at these delays."""
        return sum(
            load(d) / (self._duration(d, self._latency(d, dram_ns, queue_ns)) - self._fill(d))
            for d in demands
        )

    def _queue(self, demands: Sequence[Demand], dram_ns: float) -> float:
        """Return the L2 queueing delay at which its bandwidth is met; zero while it is not asked for."""
        limit = self.l2_bytes_per_ns * ROUNDING
        return self._solve(lambda queue: self._asked(demands, dram_ns, queue, _l2_load) - limit, 0.0)

    def _dram_excess(self, demands: Sequence[Demand], dram_ns: float) -> float:
        """Return bytes per ns asked beyond what DRAM gives at the load that has this latency."""
        asked = self._asked(demands, dram_ns, self._queue(demands, dram_ns), self._dram_load)
        return asked - self._load_at(dram_ns) * self.dram_bytes_per_ns * ROUNDING

    def _load_at(self, latency_ns: float) -> float:
        """Invert the curve of loaded latency: full load from its last point on."""
        return float(np.interp(latency_ns, self._latency_ns, self._utilization))

    @staticmethod
    def _solve(excess: Callable[[float], float], low: float) -> float:
        """Return the least latency from ``low`` on at which nothing is asked in excess (bisection)."""
        if excess(low) <= 0.0:
            return low
        step = 64.0
        high = low + step
        while excess(high) > 0.0:
            if high > LIMIT_NS:
                return high
            step *= 2.0
            low, high = high, high + step
        for _ in range(60):
            middle = 0.5 * (low + high)
            if high - low < 1e-3:
                break
            low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
        return high
