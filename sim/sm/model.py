"""What the chip model needs of one CTA class: its time as a function of loaded memory latency.

A trace holds each loop's body once and says how often it ran. The engine replays a few iterations; what the
others take follows from the slope of the iterations' start times once the pipeline of the loop is full. The
loop with the most work is the *dominant* one; what others add is part of the prologue or of the epilogue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sim.arch.spec import GpuSpec, L2Cache
from sim.isa.trace import WarpTrace
from sim.isa.units import Unit
from sim.sm import layout as y
from sim.sm.columns import SmColumns, resolve
from sim.sm.replay import Run, replay

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

LATENCY_POINTS = 7
LATENCY_SPAN = 64  # the slowest point is so many times the unloaded latency: there only round trips count
SEEDS = (0, 1)
STAGGER_CYCLES = (61, 158)  # between the starts of co-resident CTAs, one per seed in turn
LEAST_BULK = Fraction(1, 2)  # of what a CTA asks before it first writes; with less, all of it counts as bulk
ROWS_PER_RUN = 12_000  # warp instructions that the replayed iterations of one CTA may hold
MOST_ITERATIONS = 91  # loops that run more often are all timed alike
SHORT = Fraction(1, 3)  # of them, in the run that the slope is taken against
# Replays come in steps: long and short then differ by whole periods of a pipeline of 2, 3, 4, 6 or 12 stages.
STEP = 18


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
    bulk_share: float  # of all sectors: those asked before a CTA first writes
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
        self._bulk, asked = bulk_sectors(self._columns, self._plan)
        self.bulk_share = self._bulk / asked if asked else 1.0
        self._points: dict[int, Point] = {}

    @property
    def iterations(self) -> int:
        """Iterations of the dominant loop."""
        return self._plan.iterations

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
        lead, tail = np.mean(quiet, axis=0).tolist()
        spread = (max(totals) - min(totals)) / 2
        return Point(prologue, iteration, epilogue, lead, tail, spread, np.mean(stalls, axis=0))

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
            bulk_share=self.bulk_share,
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


# ---------------------------------------------------------------- which iterations to replay


@dataclass(frozen=True, eq=False)
class Plan:
    """Which iterations are replayed, and what stands for the others.

    Loops are numbered as in ``SmColumns.loops``. The marked warp is the one that holds the dominant loop;
    its loops are ``marked``, in the order in which it runs them.
    """

    replays: I64  # per loop
    short: I64  # the same for a shorter run: fewer iterations of the dominant loop
    complete: bool  # every iteration is replayed
    mark_warp: int
    marked: tuple[int, ...]
    dominant: int  # position in `marked`, -1 without a loop
    extras: tuple[int, ...]  # per marked loop: how often its body runs again
    iterations: int
    in_dominant: I64  # per row: executions in one iteration of the dominant loop, over all warps

    def first_mark(self, position: int) -> int:
        """Return the number of the mark at which a marked loop begins."""
        return sum(int(self.replays[loop]) + 1 for loop in self.marked[:position])

    @property
    def marks(self) -> int:
        """Marks per CTA."""
        return self.first_mark(len(self.marked))


def plan_replays(columns: SmColumns) -> Plan:
    """Choose how many iterations of each loop to replay."""
    loops = np.asarray(columns.trace.loops, np.int64).reshape(-1, 3)
    rows = len(columns.rows)
    if len(loops) == 0:
        none = np.zeros(0, np.int64)
        return Plan(none, none, True, 0, (), -1, (), 0, np.zeros(rows, np.int64))
    loops = columns.loops
    work = (loops[:, 1] - loops[:, 0]) * (loops[:, 2] + 1)
    heaviest = int(np.argmax(work))
    warps = [_loops_of(columns, warp) for warp in range(len(columns.offset) - 1)]
    mark_warp = next(warp for warp, own in enumerate(warps) if heaviest in own)
    marked = tuple(warps[mark_warp])
    position = marked.index(heaviest)
    iterations = int(loops[heaviest, 2]) + 1
    replays = _choose(loops, warps)
    complete = bool((replays == loops[:, 2]).all())
    return Plan(
        replays=replays,
        short=replays if complete else _shorten(loops, replays, warps, position),
        complete=complete,
        mark_warp=mark_warp,
        marked=marked,
        dominant=position,
        extras=tuple(int(loops[loop, 2]) for loop in marked),
        iterations=iterations,
        in_dominant=_per_iteration(loops, warps, position, iterations, rows),
    )


def _loops_of(columns: SmColumns, warp: int) -> list[int]:
    """Return the loops of a warp, in order."""
    begin, end = columns.offset[warp], columns.offset[warp + 1]
    return [i for i, loop in enumerate(columns.loops) if begin <= loop[0] < end]


def _choose(loops: I64, warps: list[list[int]]) -> I64:
    """Choose replays: the same fraction of a loop in every warp, since barriers tie them together."""
    replays = loops[:, 2].copy()
    shapes = {len(own) for own in warps if own}
    if len(shapes) > 1:
        return replays  # which loop of one warp goes with which of another is not known
    for position in range(shapes.pop()):
        group = np.array([own[position] for own in warps if own])
        extras = loops[group, 2]
        common = math.gcd(*(int(extra) for extra in extras))
        body = int(((loops[group, 1] - loops[group, 0]) * extras).sum()) / max(1, common)
        wanted = max(STEP, int(min(MOST_ITERATIONS, ROWS_PER_RUN / max(1.0, body))) // STEP * STEP)
        replays[group] = extras // max(1, common) * min(common, wanted)
    return replays


def _shorten(loops: I64, replays: I64, warps: list[list[int]], position: int) -> I64:
    """Take fewer iterations of the dominant loop, the same fraction of it in every warp."""
    short = replays.copy()
    group = np.array([own[position] for own in warps if own])
    common = math.gcd(*(int(count) for count in replays[group]))
    short[group] = replays[group] // max(1, common) * max(1, round(common * SHORT))
    return short


def _per_iteration(loops: I64, warps: list[list[int]], position: int, iterations: int, rows: int) -> I64:
    """Return per row how often it runs in one iteration of the dominant loop."""
    out = np.zeros(rows, np.int64)
    for own in warps:
        if len(own) > position:
            begin, end, extra = loops[own[position]]
            out[begin:end] = max(1, round(Fraction(int(extra) + 1, iterations)))
    return out


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


def bulk_sectors(columns: SmColumns, plan: Plan) -> tuple[int, int]:
    """Return the sectors that one replayed CTA asks before it first writes (its bulk data), and all of them."""
    times = np.ones(len(columns.rows), np.int64)
    for (begin, end, _), replays in zip(columns.loops, plan.replays, strict=False):
        times[begin:end] += replays
    sectors = columns.rows[:, y.R_SECTORS] * times * (columns.rows[:, y.R_HIT] == 0)
    stores = columns.rows[:, y.R_UNIT] == int(Unit.GLOBAL_STORE)
    bulk = 0
    for begin, end in pairwise(columns.offset):
        written = np.flatnonzero(stores[begin:end])
        bulk += int(sectors[begin : begin + written[0] if len(written) else end].sum())
    total = int(sectors.sum())
    return (bulk, total) if bulk >= LEAST_BULK * total else (total, total)


def _quiet(run: Run) -> tuple[float, float]:
    """Return the cycles before the first request of any CTA, and after the last answer to one."""
    end, first = float(run.end.max()), float(run.first_request.min())
    if first >= y.FAR:
        return end, 0.0
    return first, max(0.0, end - float(run.last_arrival.max()))


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


# ---------------------------------------------------------------- how busy the pipes are

PIPES = {
    "alu": Unit.ALU,
    "fma": Unit.FMA,
    "imad": Unit.IMAD,
    "half": Unit.HALF,
    "xu": Unit.XU,
    "uniform": Unit.UNIFORM,
    "special": Unit.SPECIAL,
    "tensor": Unit.TENSOR,
}


def busy_cycles(columns: SmColumns, times: I64) -> dict[str, float]:
    """Return the cycles that each pipe is busy for rows executed ``times`` times each.

    ``load_store`` is the memory pipe that the sub-cores share, ``shared`` what wavefronts and shuffles take of it.
    """
    rows, m = columns.rows, columns.machine
    unit = rows[:, y.R_UNIT]
    interval = columns.static[rows[:, y.R_PC], y.S_INTERVAL] * times
    busy = {name: float(interval[unit == number].sum()) / y.TICKS for name, number in PIPES.items()}
    waves = np.maximum(1, rows[:, y.R_WAVEFRONTS]) * times
    served = int(waves[np.isin(unit, (Unit.SHARED_LOAD, Unit.SHARED_STORE))].sum()) * y.TICKS
    written = int(waves[unit == Unit.ASYNC_COPY].sum()) * m.copy_write_ticks
    shuffled = int(times[unit == Unit.SHUFFLE].sum()) * m.shuffle_ticks
    busy["shared"] = float(served + written + shuffled) / y.TICKS
    asks = np.isin(unit, (Unit.GLOBAL_LOAD, Unit.GLOBAL_STORE, Unit.ATOMIC, Unit.ASYNC_COPY))
    busy["load_store"] = busy["shared"] + float((rows[:, y.R_COST] * times)[asks].sum()) / y.TICKS
    busy["issue"] = float(times.sum())
    return busy
