"""The device over time: CTAs are handed to SMs, SMs in equal state move as one cohort, memory is shared between them.

A fluid model in SimPy. A cohort is a number of SMs that hold the same CTAs, all begun together; its progress runs from
0 to 1. Between events all rates are constant; when a cohort begins or ends, the memory system is balanced anew. Time
is integer picoseconds, so runs are exactly repeatable. Full generations of one class collapse into one event.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from sim.chip.memory_system import Balance, Demand, MemorySystem

PS_PER_NS = 1000


@dataclass(frozen=True)
class CtaWork:
    """CTAs of one class as the chip sees them.

    ``phases_ns(resident, latency_ns)``: how long ``resident`` of them together on one SM take until they first ask
    memory for data, until the bulk of it is there, and until they end.
    """

    name: str
    count: int
    phases_ns: Callable[[int, float], tuple[float, float, float]]
    dram_bytes: float  # per CTA, mean over the launch
    l2_bytes: float
    dram_share: float
    bulk_share: Callable[[int], float]  # of the bytes: those of the second phase; the rest moves in the third


@dataclass(frozen=True)
class Span:
    """A stretch of time in which one cohort worked under constant conditions."""

    work: str
    phase: int
    start_ns: float
    end_ns: float
    sms: float  # fractional where SMs are shared between classes
    resident: int
    latency_ns: float
    dram_utilization: float
    l2_utilization: float


@dataclass(frozen=True)
class DeviceRun:
    """When the last CTA ended, and what happened on the way."""

    duration_ns: float
    spans: tuple[Span, ...]
    waves: int


PHASES, STREAMING = 3, 1


class _Cohort:
    """SMs in equal state: ``left`` is what remains of the current phase, 1 to 0."""

    def __init__(self, work: CtaWork, sms: float, resident: int, generations: int, now_ns: float) -> None:
        self.work, self.sms, self.resident, self.generations = work, sms, resident, generations
        self.phase, self.left, self.began_ns = 0, 1.0, now_ns

    def demand(self) -> Demand:
        """Return what the cohort asks while it works through its current phase."""
        phase, bulk = self.phase, self.work.bulk_share(self.resident)
        ctas = self.sms * self.resident * (0.0, bulk, 1.0 - bulk)[phase]
        return Demand(
            lambda latency: self.work.phases_ns(self.resident, latency)[phase],
            self.work.dram_bytes * ctas,
            self.work.l2_bytes * ctas,
            self.work.dram_share,
            self.sms,
        )


class Device:
    """Hands the CTAs of one launch to the SMs and lets them run."""

    def __init__(self, memory: MemorySystem, sms: int, ctas_per_sm: int) -> None:
        self._memory, self._sms, self._slots = memory, sms, ctas_per_sm
        self._environment = simpy.Environment()
        self._cohorts: list[_Cohort] = []
        self._spans: list[Span] = []
        self._queue: deque[tuple[CtaWork, float]] = deque()
        self._waves = 0

    def run(self, works: Sequence[CtaWork]) -> DeviceRun:
        """Run all CTAs, classes in the order given, to the end."""
        self._queue.extend((work, float(work.count)) for work in works if work.count > 0)
        self._fill(float(self._sms))
        self._environment.process(self._advance())
        self._environment.run()
        return DeviceRun(self._now_ns, tuple(self._spans), self._waves)

    def _fill(self, free: float) -> None:
        """Give the next CTAs to ``free`` SMs, breadth first; full generations of one class are taken at once.

        SMs may hold CTAs of several classes. Each class then counts as a cohort of its share of these SMs.
        """
        if not self._queue or free <= 0:
            return
        self._waves += 1
        work, count = self._queue[0]
        whole = int(count // (free * self._slots))
        if whole > 1 and free == self._sms:
            self._waves += whole - 1
            self._take(work, round(whole * free * self._slots))
            self._begin(work, free, self._slots, whole)
            return
        for work, count, resident in self._deal(free):
            self._begin(work, count / resident, resident, 1)

    def _deal(self, free: float) -> list[tuple[CtaWork, float, int]]:
        """Deal one generation out. An empty chip is filled breadth first: some SMs get one CTA more than others.

        Later, CTAs go where room is first: the slots of an SM fall free together, so it takes as many as it holds.
        """
        dealt = min(float(sum(count for _, count in self._queue)), free * self._slots)
        most = (
            max(1, math.ceil(dealt / free - 1e-9)) if self._waves == 1 else min(self._slots, math.ceil(dealt))
        )
        free = min(free, dealt / most) if self._waves > 1 else free
        fuller = (dealt - (most - 1) * free) * most  # CTAs on SMs that hold `most`
        hands = []
        for resident, seats in ((most, fuller), (most - 1, dealt - fuller)):
            while resident and seats > 1e-9 and self._queue:
                work, count = self._queue[0]
                share = min(float(count), seats)
                self._take(work, share)
                seats -= share
                hands.append((work, share, resident))
        return hands

    def _take(self, work: CtaWork, count: float) -> None:
        """Take CTAs off the head of the queue."""
        _, have = self._queue.popleft()
        if have - count > 1e-9:
            self._queue.appendleft((work, have - count))

    def _begin(self, work: CtaWork, sms: float, resident: int, generations: int) -> None:
        self._cohorts.append(_Cohort(work, sms, resident, generations, self._now_ns))

    @property
    def _now_ns(self) -> float:
        return float(self._environment.now / PS_PER_NS)

    def _advance(self) -> Generator[simpy.Event, Any, None]:
        """Balance, wait for the next phase to end, refill the SMs that are free, again."""
        while self._cohorts:
            balance = self._memory.balance([cohort.demand() for cohort in self._cohorts])
            ends_ns = [c.left * t for c, t in zip(self._cohorts, balance.durations_ns, strict=True)]
            start_ns = self._now_ns
            yield self._environment.timeout(max(1, round(min(ends_ns) * PS_PER_NS)))
            self._record(start_ns, balance)
            free = self._move(balance, self._now_ns - start_ns, min(ends_ns))
            yield self._environment.timeout(self._repeat_ps())
            self._fill(free)

    def _record(self, start_ns: float, balance: Balance) -> None:
        end_ns = self._now_ns
        for cohort, latency in zip(self._cohorts, balance.latencies_ns, strict=True):
            self._spans.append(
                Span(
                    cohort.work.name, cohort.phase, start_ns, end_ns, cohort.sms, cohort.resident,
                    latency, balance.dram_utilization, balance.l2_utilization,
                )
            )  # fmt: skip

    def _move(self, balance: Balance, elapsed_ns: float, shortest_ns: float) -> float:
        """Move every cohort on; return the SMs of those that have ended."""
        free = 0.0
        for cohort, duration in zip(tuple(self._cohorts), balance.durations_ns, strict=True):
            if cohort.left * duration > shortest_ns * (1 + 1e-9) + 1e-6:
                cohort.left -= elapsed_ns / duration
                continue
            cohort.phase, cohort.left = (cohort.phase + 1) % PHASES, 1.0
            if cohort.phase == 0:
                cohort.generations -= 1
                if cohort.generations == 0:
                    self._cohorts.remove(cohort)
                    free += cohort.sms
        return free

    def _repeat_ps(self) -> int:
        """Return the time of the generations that repeat the one just ended: all but the last, if nothing else runs."""
        if len(self._cohorts) != 1:
            return 0
        cohort = self._cohorts[0]
        if cohort.phase or cohort.left < 1.0 or cohort.generations < 2:
            return 0
        repeats = cohort.generations - 1
        cohort.generations = 1
        return round((self._now_ns - cohort.began_ns) * repeats * PS_PER_NS)
