"""L2 and DRAM as the SMs share them: rates and loaded latencies that agree with each other.

Each cohort of SMs asks for bytes at a rate that falls as its memory latency grows; each level answers with a latency
that grows with its load. The solution is where both hold. Where a cohort hides latency so well that its rate hardly
falls, the latency grows until the level's bandwidth is met: bandwidth needs no cap of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sim.arch.spec import GpuSpec

LIMIT_NS = 1e9  # a latency no cohort can want
OVERLOAD = 1e3  # unloaded misses that are added while DRAM's whole rate is asked for once more
LIMIT_PRESSURE = 1e6
ROUNDING = 1 + 1e-9  # asking for exactly a level's rate is not asking for more
LEAST_SHARE = 1e-6  # of L2's bandwidth: nobody is at work
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
    streams: bool = False  # waits for whole stages
    begins: bool = False  # with none on their way
    awaited: float = 1.0  # of a stage's extra latency, what its waits see: less where they cover few lines
    merged_bytes: float = 0.0  # of l2_bytes: what L2 sends along with another SM's
    reread_bytes: float = 0.0  # of l2_bytes: what came from DRAM for an earlier reader
    pushes: bool = False  # stores, whose round trips nobody waits for: only a full queue slows it

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
        self._sms, self._share = gpu.sm.count, _Curve([(each.busy, each.share) for each in l2.busy_share])
        self.port_bytes_per_ns = l2.sm_port_bytes_per_cycle / self.ns_per_cycle
        self.dram_bytes_per_ns = dram.bandwidth_gb_per_s / slower
        self._hit_cost = dram.hit_cost
        self.unloaded_dram_ns = dram.loaded_latency[0].latency_ns * slower
        self._miss_ns = _Curve(
            [(point.utilization, point.latency_ns * slower) for point in dram.loaded_latency],
            self.unloaded_dram_ns,
        )
        self._excess_ns = _Curve(
            [(point.utilization, point.factor * self.unloaded_dram_ns) for point in dram.stage_excess],
            self.unloaded_dram_ns,
        )

    def balance(self, demands: Sequence[Demand]) -> Balance:
        """Solve rates against latencies: L2 queueing inside, DRAM outside."""
        pressure = _least(lambda trial: self._dram_excess(demands, trial), 0.0, 0.5, LIMIT_PRESSURE, 1e-6)
        queue_ns = self._queue(demands, pressure)
        latencies = tuple(self._latency(demand, pressure, queue_ns) for demand in demands)
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

    def _latency(self, demand: Demand, pressure: float, queue_ns: float) -> float:
        """Return the latency a cohort sees: of a stage, that of its slowest line."""
        slower = demand.awaited * self._excess_ns(pressure) if demand.streams and demand.awaited else 0.0
        return self.l2_latency_ns + queue_ns + demand.dram_share * (self._miss_ns(pressure) + slower)

    def _fill(self, demand: Demand) -> float:
        """Return how long a cohort that begins to stream gets nothing: until its first bytes arrive."""
        first = self.l2_latency_ns + demand.dram_share * self.unloaded_dram_ns
        return first if demand.begins and demand.l2_bytes else 0.0

    def _duration(self, demand: Demand, latency_ns: float) -> float:
        """Return how long a cohort takes; work that does not wait for memory is still held to each level's rate."""
        ports = self.port_bytes_per_ns * demand.sms
        moving = max(
            demand.l2_bytes / ports if ports else 0.0,
            demand.sent_bytes / self._l2_reach(demand.sms),
            self._dram_load(demand) / self.dram_bytes_per_ns,
            SHORTEST_NS,
        )
        slower = latency_ns / self.l2_latency_ns if demand.pushes else 1.0
        return max(demand.duration_ns(latency_ns), moving + self._fill(demand)) * slower

    def _l2_reach(self, sms: float) -> float:
        """Return the bytes per ns that so many SMs can get from L2: few of them get not all."""
        return self.l2_bytes_per_ns * max(LEAST_SHARE, self._share(min(1.0, sms / self._sms)))

    def _dram_load(self, demand: Demand) -> float:
        """Return the bytes that keep DRAM busy as long as a cohort's do, with those beside them that L2 has."""
        if not demand.dram_bytes:
            return 0.0
        return demand.dram_bytes + self._hit_cost * demand.reread_bytes

    def _asked(
        self, demands: Sequence[Demand], pressure: float, queue_ns: float, load: Callable[[Demand], float]
    ) -> float:
        """Return the bytes per ns asked of a level at these delays."""
        return sum(
            load(d) / (self._duration(d, self._latency(d, pressure, queue_ns)) - self._fill(d))
            for d in demands
        )

    def _queue(self, demands: Sequence[Demand], pressure: float) -> float:
        """Return the L2 queueing delay at which its bandwidth is met; zero while it is not asked for."""
        limit = self._l2_reach(sum(demand.sms for demand in demands if demand.sent_bytes > 0)) * ROUNDING
        return _least(
            lambda queue: self._asked(demands, pressure, queue, _l2_load) - limit, 0.0, 64.0, LIMIT_NS, 1e-3
        )

    def _dram_excess(self, demands: Sequence[Demand], pressure: float) -> float:
        """Return bytes per ns asked beyond what DRAM gives under this pressure."""
        asked = self._asked(demands, pressure, self._queue(demands, pressure), self._dram_load)
        return asked - min(1.0, pressure) * self.dram_bytes_per_ns * ROUNDING


class _Curve:
    """A curve from 0 to 1.

    Of a latency against pressure on DRAM: up to 1 its utilization; beyond, what is asked in vain makes it longer, by
    OVERLOAD times ``unit`` for the whole rate once more.
    """

    def __init__(self, points: Sequence[tuple[float, float]], unit: float = 0.0) -> None:
        self._x = [x for x, _ in points]
        self._y = [y for _, y in points]
        self._beyond = OVERLOAD * unit

    def __call__(self, pressure: float) -> float:
        if pressure >= 1.0:
            return self._y[-1] + (pressure - 1.0) * self._beyond
        right = bisect_right(self._x, pressure)
        low, high = self._x[right - 1], self._x[right]
        weight = (pressure - low) / (high - low)
        return self._y[right - 1] + weight * (self._y[right] - self._y[right - 1])


def _least(excess: Callable[[float], float], low: float, step: float, limit: float, close: float) -> float:
    """Return the least value from ``low`` on at which nothing is asked in excess, to ``close`` (bisection)."""
    if excess(low) <= 0.0:
        return low
    high = low + step
    while excess(high) > 0.0:
        if high > limit:
            return high
        step *= 2.0
        low, high = high, high + step
    while high - low > close:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    return high
