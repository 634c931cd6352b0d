"""Which iterations of a trace's loops to replay, and how much of its data is bulk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sim.isa.trace import WarpTrace
from sim.isa.units import STORES, Unit
from sim.sm import layout as y
from sim.sm.columns import SmColumns

I64 = npt.NDArray[np.int64]

ROWS_PER_RUN = 12_000  # warp instructions that the replayed iterations of one CTA may hold
MOST_ITERATIONS = 91  # loops that run more often are all timed alike
SHORT = Fraction(1, 3)  # of them, in the run that the slope is taken against
# Replays come in steps: long and short then differ by whole periods of a pipeline of 2, 3, 4, 6 or 12 stages.
STEP = 18


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
    groups = _tied(columns, warps)
    dominant = next((group for group in groups if heaviest in group), np.array([heaviest]))
    replays = _choose(loops, groups)
    complete = bool((replays == loops[:, 2]).all())
    return Plan(
        replays=replays,
        short=replays if complete else _shorten(replays, dominant),
        complete=complete,
        mark_warp=mark_warp,
        marked=marked,
        dominant=position,
        extras=tuple(int(loops[loop, 2]) for loop in marked),
        iterations=iterations,
        in_dominant=_per_iteration(loops, dominant, iterations, rows),
    )


def _loops_of(columns: SmColumns, warp: int) -> list[int]:
    """Return the loops of a warp, in order."""
    begin, end = columns.offset[warp], columns.offset[warp + 1]
    return [i for i, loop in enumerate(columns.loops) if begin <= loop[0] < end]


def _tied(columns: SmColumns, warps: list[list[int]]) -> list[I64]:
    """Group the loops that must run the same fraction of their iterations: those of warps that wait for each other.

    Barriers tie the first loop of one warp to the first of the others; mbarriers tie the loops that touch them.
    Loops of which it is not known with which others they go are in no group.
    """
    if len(columns.needs):
        return _tied_by_mbarriers(columns)
    shapes = {len(own) for own in warps if own}
    if len(shapes) > 1:
        return []
    return [np.array([own[position] for own in warps if own]) for position in range(shapes.pop())]


def _tied_by_mbarriers(columns: SmColumns) -> list[I64]:
    """Group loops by the mbarriers that they touch, directly or through others."""
    groups: list[tuple[set[int], list[int]]] = []  # mbarriers, loops
    for loop, (begin, end, _) in enumerate(columns.loops):
        own = set(columns.rows[begin:end, y.R_MBARRIER].tolist()) - {-1}
        joined = [group for group in groups if group[0] & own]
        if own:
            groups = [group for group in groups if not group[0] & own]
            loops = [each for group in joined for each in group[1]]
            groups.append((own.union(*(group[0] for group in joined)), [*loops, loop]))
    return [np.array(loops) for _, loops in groups]


def _choose(loops: I64, groups: list[I64]) -> I64:
    """Choose replays: the same fraction of all loops of a group."""
    replays = loops[:, 2].copy()
    for group in groups:
        extras = loops[group, 2]
        common = math.gcd(*(int(extra) for extra in extras))
        body = int(((loops[group, 1] - loops[group, 0]) * extras).sum()) / max(1, common)
        wanted = max(STEP, int(min(MOST_ITERATIONS, ROWS_PER_RUN / max(1.0, body))) // STEP * STEP)
        replays[group] = extras // max(1, common) * min(common, wanted)
    return replays


def _shorten(replays: I64, dominant: I64) -> I64:
    """Take fewer iterations of the dominant loop, the same fraction of those it is tied to."""
    short = replays.copy()
    common = math.gcd(*(int(count) for count in replays[dominant]))
    short[dominant] = replays[dominant] // max(1, common) * max(1, round(common * SHORT))
    return short


def _per_iteration(loops: I64, dominant: I64, iterations: int, rows: int) -> I64:
    """Return per row how often it runs in one iteration of the dominant loop."""
    out = np.zeros(rows, np.int64)
    for begin, end, extra in loops[dominant]:
        out[begin:end] = max(1, round(Fraction(int(extra) + 1, iterations)))
    return out


def bulk_sectors(columns: SmColumns, plan: Plan) -> int:
    """Return how many sectors one replayed CTA has asked when it has read the last of its bulk data."""
    times = np.ones(len(columns.rows), np.int64)
    for (begin, end, _), replays in zip(columns.loops, plan.replays, strict=False):
        times[begin:end] += replays
    asked = columns.rows[:, y.R_SECTORS] * times * (columns.rows[:, y.R_HIT] == 0)
    return int(asked[bulk_rows(columns.trace)].sum())


def bulk_rows(trace: WarpTrace) -> npt.NDArray[np.bool_]:
    """Mark what each warp does until it has loaded the last of its bulk data.

    Bulk data is what lies in the buffers that a CTA reads before it first writes; all rows where there is none.
    """
    unit = trace.program.unit[trace.pc]
    stores = np.isin(unit, STORES)
    loads = (trace.buffer >= 0) & ~stores & (unit != int(Unit.ATOMIC))
    unwritten = _each_warp_until(trace, stores, first=True)
    wanted = loads & np.isin(trace.buffer, np.unique(trace.buffer[loads & unwritten]))
    return _each_warp_until(trace, wanted, first=False) if wanted.any() else np.ones(len(unit), np.bool_)


def rows_before_fence(trace: WarpTrace) -> npt.NDArray[np.bool_]:
    """Mark what each warp does before its first fence; nothing where a trace has none."""
    fences = trace.program.unit[trace.pc] == int(Unit.MEMBAR)
    return _each_warp_until(trace, fences, first=True) & bool(fences.any())


def _each_warp_until(trace: WarpTrace, events: npt.NDArray[np.bool_], first: bool) -> npt.NDArray[np.bool_]:
    """Mark each warp's rows before its first event, or up to its last."""
    marked = np.zeros(len(events), np.bool_)
    for begin, end in pairwise(trace.offset):
        found = np.flatnonzero(events[begin:end])
        if first:
            marked[begin : begin + found[0] if len(found) else end] = True
        elif len(found):
            marked[begin : begin + found[-1] + 1] = True
    return marked
