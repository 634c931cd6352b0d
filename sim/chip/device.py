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

    ``duration_ns(resident, latency_ns)``: how long ``resident`` of them take together on one SM.
    """

    name: str
    count: int
    duration_ns: Callable[[int, float], float]
    dram_bytes: float  # per CTA, mean over the launch
    l2_bytes: float
    dram_share: float


@dataclass(frozen=True)
class Span:
    """A stretch of time in which one cohort worked under constant conditions."""

    work: str
    start_ns: float
    end_ns: float
    sms: float  # fractional where SMs are shared between classes
    resident: int
    generations: float  # of CTAs completed per SM in the span
    latency_ns: float
    dram_utilization: float
    l2_utilization: float


@dataclass(frozen=True)
class DeviceRun:
    """When the last CTA ended, and what happened on the way."""

    duration_ns: float
    spans: tuple[Span, ...]
    waves: int


class _Cohort:
    def __init__(self, work: CtaWork, sms: float, resident: int, generations: int) -> None:
        self.work, self.sms, self.resident, self.generations = work, sms, resident, generations
        self.left = float(generations)

    def demand(self) -> Demand:
        """Return what the cohort asks while it works through one generation."""
        ctas = self.sms * self.resident
        return Demand(
            lambda latency: self.work.duration_ns(self.resident, latency),
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
        self._fill(self._sms)
        self._environment.process(self._advance())
        self._environment.run()
        return DeviceRun(self._environment.now / PS_PER_NS, tuple(self._spans), self._waves)

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
            self._cohorts.append(_Cohort(work, free, self._slots, whole))
            return
        for work, count, resident in self._deal(free):
            self._cohorts.append(_Cohort(work, count / resident, resident, 1))

    def _deal(self, free: float) -> list[tuple[CtaWork, float, int]]:
        """Deal one generation out: some SMs get one CTA more than the others."""
        dealt = min(float(sum(count for _, count in self._queue)), free * self._slots)
        most = max(1, math.ceil(dealt / free - 1e-9))
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

    def _advance(self) -> Generator[simpy.Event, Any, None]:
        """Balance, wait for the next cohort to end, refill its SMs, again."""
        while self._cohorts:
            balance = self._memory.balance([cohort.demand() for cohort in self._cohorts])
            ends_ns = [c.left * t for c, t in zip(self._cohorts, balance.durations_ns, strict=True)]
            delay_ps = max(1, round(min(ends_ns) * PS_PER_NS))
            start_ns = self._environment.now / PS_PER_NS
            yield self._environment.timeout(delay_ps)
            self._record(start_ns, balance)
            self._retire(balance, delay_ps / PS_PER_NS, min(ends_ns))

    def _record(self, start_ns: float, balance: Balance) -> None:
        end_ns = self._environment.now / PS_PER_NS
        for cohort, duration, latency in zip(
            self._cohorts, balance.durations_ns, balance.latencies_ns, strict=True
        ):
            self._spans.append(
                Span(
                    cohort.work.name, start_ns, end_ns, cohort.sms, cohort.resident,
                    (end_ns - start_ns) / duration, latency, balance.dram_utilization, balance.l2_utilization,
                )
            )  # fmt: skip

    def _retire(self, balance: Balance, elapsed_ns: float, shortest_ns: float) -> None:
        """Move every cohort on; those that end with the first free their SMs."""
        free = 0.0
        going: list[_Cohort] = []
        for cohort, duration in zip(self._cohorts, balance.durations_ns, strict=True):
            if cohort.left * duration <= shortest_ns * (1 + 1e-9):
                free += cohort.sms
            else:
                cohort.left -= elapsed_ns / duration
                going.append(cohort)
        self._cohorts = going
        self._fill(free)
