"""The device over time: CTAs are handed to SMs, SMs in equal state move as one cohort, memory is shared between them.

A fluid model in SimPy. A cohort is a number of SMs that hold the same CTAs, all begun together; its progress runs from
0 to 1. Between events all rates are constant; when a cohort begins or ends, the memory system is balanced anew. Time
is integer picoseconds, so runs are exactly repeatable. Of many full waves only the first few run.
"""

from __future__ import annotations

import math
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
    memory for data, until the bulk of it is there, until they first store after that, until they wait at a fence for
    these stores (not at all, where nothing is handed over to other CTAs), and until they end.
    """

    name: str
    count: int
    phases_ns: Callable[[int, float], tuple[float, ...]]
    dram_reads: float  # bytes per CTA, mean over the launch: in the second phase
    dram_writes: float  # in the last
    l2_bulk: (
        float  # bytes of the second phase; a written one counts as often as it takes longer than a read one
    )
    l2_merged: float  # of the second phase, those that L2 sends along with another SM's
    rereads: float  # bytes of the second phase that came from DRAM for an earlier reader
    l2_handed_over: float  # stored for other CTAs, before a fence: of the fourth phase
    l2_rest: float  # of the last
    dram_share: float  # of the distinct data of the second phase; what the last asks is in L2
    awaited: float = 1.0  # of a stage's extra latency, what the CTAs' waits see


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


ALMOST_NOTHING = 1e-9  # of an SM
SIMULATED_WAVES = 4  # full waves that run; what each further one adds is the difference between 3 and 4


@dataclass(frozen=True)
class DeviceRun:
    """When the last CTA ended, and what happened on the way."""

    duration_ns: float
    spans: tuple[Span, ...]
    waves: int


PHASES, STREAMING, COMPUTING, STORING = 5, 1, 2, 3
UNLOADED_NS = 0.0  # less than any latency: what does not stream finds its data in L2


class _Cohort:
    """SMs in equal state: ``left`` is what remains of the current phase, 1 to 0.

    SMs begin their first CTAs together, phase by phase. They end them one after the other, and from then on they are in
    all phases at the same time: ``apart``, one phase in which each SM asks what it asks on average.
    """

    def __init__(self, work: CtaWork, sms: float, resident: int, generations: int, apart: bool) -> None:
        self.work, self.sms, self.resident, self.generations = work, sms, resident, generations
        self.apart = apart
        self.phase, self.left = STREAMING if apart else 0, 1.0
        self._streamed_ns = self._latency_time = 0.0  # how long it streamed, and latency over that time

    def move(self, elapsed_ns: float, duration_ns: float, latency_ns: float) -> None:
        """Go on in the current phase, which would take ``duration_ns`` in all."""
        self.left -= elapsed_ns / duration_ns
        self.note(elapsed_ns, latency_ns)

    def note(self, elapsed_ns: float, latency_ns: float) -> None:
        """Remember the latency that the stream sees: the later its data come, the less is left to compute then."""
        if self.phase == STREAMING:
            self._streamed_ns += elapsed_ns
            self._latency_time += elapsed_ns * latency_ns

    def advance(self) -> bool:
        """Go on to the next phase; return whether the last CTAs have ended."""
        self.left = 1.0
        if not self.apart and self.phase + 1 < PHASES:
            self.phase += 1
            return False
        self.generations -= 1
        self.apart, self.phase = True, STREAMING
        self._streamed_ns = self._latency_time = 0.0
        return self.generations == 0

    def demand(self) -> Demand:
        """Return what the cohort asks while it works through its current phase."""
        return self._average() if self.apart else self._of_phase()

    def _average(self) -> Demand:
        work, ctas = self.work, self.sms * self.resident

        def duration_ns(latency_ns: float) -> float:
            until_results = work.phases_ns(self.resident, latency_ns)[:STORING]
            return sum(until_results) + sum(work.phases_ns(self.resident, UNLOADED_NS)[STORING:])

        return Demand(
            duration_ns,
            ctas * (work.dram_reads + work.dram_writes),
            ctas * (work.l2_bulk + work.l2_handed_over + work.l2_rest),
            work.dram_share,
            self.sms,
            True,
            False,
            work.awaited,
            ctas * work.l2_merged,
            ctas * work.rereads,
        )

    def _of_phase(self) -> Demand:
        phase, work = self.phase, self.work
        ctas = self.sms * self.resident
        seen = self._latency_time / self._streamed_ns if self._streamed_ns else UNLOADED_NS
        return Demand(
            lambda latency: work.phases_ns(self.resident, seen if phase == COMPUTING else latency)[phase],
            ctas * (0.0, work.dram_reads, 0.0, 0.0, work.dram_writes)[phase],
            ctas * (0.0, work.l2_bulk, 0.0, work.l2_handed_over, work.l2_rest)[phase],
            work.dram_share if phase == STREAMING else 0.0,
            self.sms,
            phase == STREAMING,
            phase == STREAMING,
            work.awaited,
            ctas * (work.l2_merged if phase == STREAMING else 0.0),
            ctas * (work.rereads if phase == STREAMING else 0.0),
            phase == STORING,
        )


class Device:
    """Hands the CTAs of one launch to the SMs and lets them run.

    Classes are mixed evenly over the launch, and CTAs are spread evenly over SMs, in the last wave too: the CTAs of an
    SM began one after the other, so the first slots of all SMs fall free before the second ones.
    """

    def __init__(self, memory: MemorySystem, sms: int, ctas_per_sm: int) -> None:
        self._memory, self._sms, self._slots = memory, sms, ctas_per_sm
        self._environment = simpy.Environment()
        self._cohorts: list[_Cohort] = []
        self._spans: list[Span] = []
        self._queue: list[tuple[CtaWork, float]] = []
        self._most = ctas_per_sm  # CTAs of the last wave on one SM

    def run(self, works: Sequence[CtaWork], full_waves: int) -> tuple[float, tuple[Span, ...]]:
        """Run ``full_waves`` waves and what the launch has beyond full waves; return the end in ns, and the spans."""
        total = float(sum(work.count for work in works))
        wave = float(self._sms * self._slots)
        rest = total % wave
        self._most = math.ceil(rest / self._sms)
        if total >= wave:
            for work in works:
                self._begin(work, self._sms * work.count / total, self._slots, full_waves)
            self._queue = [(work, rest * work.count / total) for work in works]
        else:
            self._queue = [(work, float(work.count)) for work in works]
            self._deal(float(self._sms))
        self._environment.process(self._advance())
        self._environment.run()
        return self._now_ns, tuple(self._spans)

    def _deal(self, free: float) -> None:
        """Give waiting CTAs to SMs that are free: some SMs get one more than the others."""
        waiting = sum(count for _, count in self._queue)
        dealt = min(waiting, free * self._most)
        if dealt <= ALMOST_NOTHING or free <= ALMOST_NOTHING:
            return
        most = math.ceil(dealt / free - ALMOST_NOTHING)
        fuller = (dealt - (most - 1) * free) * most  # CTAs on SMs that hold `most`
        for resident, seats in ((most, fuller), (most - 1, dealt - fuller)):
            for work, count in self._queue if resident and seats > ALMOST_NOTHING else ():
                self._begin(work, seats * count / waiting / resident, resident, 1, self._now_ns > 0)
        left = 1.0 - dealt / waiting
        self._queue = [(work, count * left) for work, count in self._queue if left > ALMOST_NOTHING]

    def _begin(self, work: CtaWork, sms: float, resident: int, generations: int, apart: bool = False) -> None:
        self._cohorts.append(_Cohort(work, sms, resident, generations, apart))

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
            self._deal(free)

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
        states = zip(tuple(self._cohorts), balance.durations_ns, balance.latencies_ns, strict=True)
        for cohort, duration, latency in states:
            if cohort.left * duration > shortest_ns * (1 + 1e-9) + 1e-6:
                cohort.move(elapsed_ns, duration, latency)
                continue
            cohort.note(elapsed_ns, latency)
            if cohort.advance():
                self._cohorts.remove(cohort)
                free += cohort.sms
        return free


def run_device(memory: MemorySystem, sms: int, ctas_per_sm: int, works: Sequence[CtaWork]) -> DeviceRun:
    """Run all CTAs of a launch; the cost does not grow with their number."""
    present = [work for work in works if work.count > 0]
    total, wave = sum(work.count for work in present), sms * ctas_per_sm
    full = total // wave
    end_ns, spans = Device(memory, sms, ctas_per_sm).run(present, min(full, SIMULATED_WAVES))
    if full > SIMULATED_WAVES:
        before_ns, _ = Device(memory, sms, ctas_per_sm).run(present, SIMULATED_WAVES - 1)
        end_ns += (full - SIMULATED_WAVES) * (end_ns - before_ns)
    return DeviceRun(end_ns, spans, full + (total % wave > 0))
