"""What the chip model needs of one CTA class: its time as a function of loaded memory latency.

A trace holds each loop's body once and says how often it ran. The engine replays a few iterations; what the
others take follows from the slope of the iterations' start times once the pipeline of the loop is full. The
loop with the most work is the *dominant* one; what others add is part of the prologue or of the epilogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.arch.spec import GpuSpec, L2Cache
from sim.isa.trace import WarpTrace
from sim.sm import layout as y
from sim.sm.busy import busy_cycles
from sim.sm.columns import resolve
from sim.sm.plan import Plan, bulk_sectors, plan_replays
from sim.sm.replay import Run, replay

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

LATENCY_POINTS = 7
LATENCY_SPAN = 64  # the slowest point is so many times the unloaded latency: there only round trips count
SEEDS = (0, 1)
STAGGER_CYCLES = (61, 158)  # between the starts of co-resident CTAs, one per seed in turn


@dataclass(frozen=True, eq=False)
class CtaTiming:
    """Time of ``resident`` CTAs of one class that start together on one SM.

    ``prologue + iterations * iteration + epilogue`` is the time from their start to the end of the last;
    arrays have one entry per latency. Busy cycles are those of one CTA: of the SM's memory pipe
    for ``shared`` and ``load_store``, summed over the sub-cores for ``tensor``, ``alu``, ... and ``issue``.
    """

    resident: int
    iterations: int  # of the dominant loop, folded ones included; 0 without a loop
    latencies: F64  # mean round trip of a request to memory, cycles
    prologue_cycles: F64
    iteration_cycles: F64
    epilogue_cycles: F64
    lead_cycles: F64  # of the whole time: before memory beyond L1 is first asked
    tail_cycles: F64  # of the whole time: after the bulk of what was asked is there
    finish_cycles: F64  # of these: from the first store on
    handover_cycles: F64  # of these: from the fence behind those stores on; 0 without
    spread_cycles: F64  # half range over seeds of the whole time
    busy: Mapping[str, float]  # pipe -> cycles of one CTA
    busy_per_iteration: Mapping[str, float]
    instructions: int  # warp instructions of one CTA
    stalls: F64  # [latencies, stall names]: warp cycles per issued instruction
    stall_names: tuple[str, ...] = y.STALL_NAMES

    @property
    def total_cycles(self) -> F64:
        """Time from the start of the CTAs to the end of the last."""
        return self.prologue_cycles + self.iterations * self.iteration_cycles + self.epilogue_cycles


def unloaded_latency(l2: L2Cache) -> float:
    """Return the mean round trip to L2 without load, in cycles."""
    return l2.near_latency_cycles * (1 - l2.far_fraction) + l2.far_latency_cycles * l2.far_fraction


def default_latencies(gpu: GpuSpec) -> tuple[float, ...]:
    """Return the latencies at which a CTA is timed: from unloaded L2 to a saturated DRAM."""
    first = unloaded_latency(gpu.l2)
    return tuple(float(round(v)) for v in np.geomspace(first, first * LATENCY_SPAN, LATENCY_POINTS))


@dataclass(frozen=True, eq=False)
class Point:
    """Time at one memory latency, mean over seeds; cycles, named as in ``CtaTiming``."""

    prologue: float
    iteration: float
    epilogue: float
    lead: float
    tail: float
    finish: float
    handover: float
    spread: float
    stalls: F64


class CtaTimer:
    """Times ``resident`` co-resident CTAs of one class, each memory latency when it is first asked for."""

    def __init__(
        self,
        trace: WarpTrace,
        gpu: GpuSpec,
        resident: int,
        seeds: Sequence[int] = SEEDS,
        latencies: Sequence[float] | None = None,
    ) -> None:
        self.resident = resident
        self.latencies = default_latencies(gpu) if latencies is None else tuple(latencies)
        self._gpu, self._seeds = gpu, seeds
        self._columns = resolve(trace, gpu)
        self._plan = plan_replays(self._columns)
        self._bulk = bulk_sectors(self._columns, self._plan)
        self._points: dict[int, Point] = {}

    @property
    def iterations(self) -> int:
        """Iterations of the dominant loop."""
        return self._plan.iterations

    @property
    def rows(self) -> int:
        """Executed instructions that the trace holds."""
        return len(self._columns.rows)

    def point(self, index: int) -> Point:
        """Return the timing at ``latencies[index]``."""
        if index not in self._points:
            self._points[index] = self._time(self.latencies[index])
        return self._points[index]

    def _time(self, latency: float) -> Point:
        parts, quiet, stalls = [], [], []
        for j, seed in enumerate(self._seeds):
            stagger = STAGGER_CYCLES[j % len(STAGGER_CYCLES)]
            drive = drive_for(self._gpu, self._plan, latency, self.resident, seed, stagger)
            run = replay(self._columns, drive._replace(bulk_sectors=self._bulk), self._plan.replays)
            short = run if self._plan.complete else replay(self._columns, drive, self._plan.short)
            parts.append(_parts(self._plan, run, short))
            quiet.append(_quiet(run))
            stalls.append(run.stalls / run.stalls[y.ISSUED])
        totals = [before + self._plan.iterations * each + after for before, each, after in parts]
        prologue, iteration, epilogue = np.mean(parts, axis=0).tolist()
        lead, tail, finish, handover = np.mean(quiet, axis=0).tolist()
        spread = (max(totals) - min(totals)) / 2
        return Point(
            prologue, iteration, epilogue, lead, tail, finish, handover, spread, np.mean(stalls, axis=0)
        )

    def timing(self, trace: WarpTrace) -> CtaTiming:
        """Return the timing at all latencies."""
        points = [self.point(index) for index in range(len(self.latencies))]
        return CtaTiming(
            resident=self.resident,
            iterations=self.iterations,
            latencies=np.array(self.latencies, np.float64),
            prologue_cycles=np.array([point.prologue for point in points]),
            iteration_cycles=np.array([point.iteration for point in points]),
            epilogue_cycles=np.array([point.epilogue for point in points]),
            lead_cycles=np.array([point.lead for point in points]),
            tail_cycles=np.array([point.tail for point in points]),
            finish_cycles=np.array([point.finish for point in points]),
            handover_cycles=np.array([point.handover for point in points]),
            spread_cycles=np.array([point.spread for point in points]),
            busy=busy_cycles(self._columns, trace.repeats()),
            busy_per_iteration=busy_cycles(self._columns, self._plan.in_dominant),
            instructions=int(trace.repeats().sum()),
            stalls=np.stack([point.stalls for point in points]),
        )


def time_cta(
    trace: WarpTrace,
    gpu: GpuSpec,
    resident: int,
    seeds: Sequence[int] = SEEDS,
    latencies: Sequence[float] | None = None,
) -> CtaTiming:
    """Time ``resident`` co-resident CTAs of one class against memory latency."""
    return CtaTimer(trace, gpu, resident, seeds, latencies).timing(trace)


# ---------------------------------------------------------------- one run


def drive_for(
    gpu: GpuSpec, plan: Plan, latency: float, resident: int, seed: int, stagger_cycles: int
) -> y.Drive:
    """Return the run of ``resident`` CTAs that see a mean memory latency; near and far lie around it."""
    mean = unloaded_latency(gpu.l2)
    return y.Drive(
        sms=1,
        resident=resident,
        ctas=resident,
        stagger_cycles=stagger_cycles,
        near_cycles=max(1, round(latency + gpu.l2.near_latency_cycles - mean)),
        far_cycles=max(1, round(latency + gpu.l2.far_latency_cycles - mean)),
        far_threshold=round(gpu.l2.far_fraction * 2**31),
        seed=seed,
        sector_ticks=0,
        mark_warp=plan.mark_warp,
        marks=plan.marks,
        max_cycles=1 << 31,
    )


def _parts(plan: Plan, run: Run, short: Run) -> tuple[float, float, float]:
    """Return prologue, iteration and epilogue of one run, what was not replayed added by slope."""
    end = float(run.end.max())
    if plan.dominant < 0:
        return end, 0.0, 0.0
    missing = [extra - int(plan.replays[loop]) for extra, loop in zip(plan.extras, plan.marked, strict=True)]
    slopes = [_slope(plan, run, position) for position in range(len(plan.marked))]
    dominant = plan.marked[plan.dominant]
    fewer = int(plan.replays[dominant] - plan.short[dominant])
    if fewer > 0:
        slopes[plan.dominant] = (end - float(short.end.max())) / fewer
    begin = float(run.marks[:, plan.first_mark(plan.dominant)].mean())
    before = sum(slopes[i] * missing[i] for i in range(plan.dominant))
    total = end + sum(slope * count for slope, count in zip(slopes, missing, strict=True))
    iteration = slopes[plan.dominant]
    prologue = begin + before
    return prologue, iteration, total - prologue - plan.iterations * iteration


def _quiet(run: Run) -> tuple[float, float, float, float]:
    """Return the cycles before the first request of any CTA, and those from last events on to the end.

    The events: the bulk data is there, a CTA begins to store, it waits at a fence for what it stored.
    """
    end, first = float(run.end.max()), float(run.first_request.min())
    if first >= y.FAR:
        return end, 0.0, 0.0, 0.0
    finish, handover = (_until(end, events) for events in (run.first_store, run.first_fence))
    return first, max(finish, end - float(run.last_arrival.max())), finish, handover


def _until(end: float, events: I64) -> float:
    """Return the cycles from the last of the events that happened to the end."""
    happened = events[events < y.FAR]
    return end - float(happened.max()) if len(happened) else 0.0


def _slope(plan: Plan, run: Run, position: int) -> float:
    """Return the cycles in which all CTAs advance one iteration of a loop whose pipeline is full."""
    first = plan.first_mark(position)
    count = int(plan.replays[plan.marked[position]]) + 1
    marks = run.marks[:, first : first + count]
    if count < 2:
        return 0.0
    settled = min(count // 3, count - 2)
    begin, end = float(marks[:, settled].max()), float(marks[:, -1].min())
    if end <= begin:  # the CTAs are not in the loop together: each on its own
        return float((marks[:, -1] - marks[:, settled]).mean()) / (count - 1 - settled)
    numbers = np.arange(count)
    steps = sum(float(np.interp(end, own, numbers) - np.interp(begin, own, numbers)) for own in marks)
    return (end - begin) * len(marks) / steps
