"""How much a wait for memory covers. Who waits for several lines waits for the slowest, and the more, the slower."""

from __future__ import annotations

import math

import numpy as np

from sim.isa.trace import WarpTrace
from sim.isa.units import COUNTERS, NO_COUNTER, Unit

STAGE_LINES = 64  # of the stages that ``dram.stage_excess`` was measured with
BARRIER_ROWS = 32  # a barrier so soon after a wait: all warps wait for what any of them copied


def awaited_share(trace: WarpTrace) -> float:
    """Return how much of a stage's extra latency the waits of a CTA see: ln(lines) / ln(STAGE_LINES).

    Of independent latencies with an exponential tail the largest of n exceeds the mean by a multiple of ln(n): 0 for
    the single line of a pointer chase, 1 for the stages of the measurement. The mean over the lines of the warp that
    loads most; what the copy engine brings is awaited by stages.
    """
    if (trace.program.unit[trace.pc] == Unit.BULK_LOAD).any():
        return 1.0
    waits = _waits(trace, _busiest(trace))
    total = sum(lines * times for lines, times in waits)
    if not total:
        return 1.0
    share = sum(lines * times * math.log(lines) / math.log(STAGE_LINES) for lines, times in waits)
    return share / total


def _busiest(trace: WarpTrace) -> int:
    """Return the warp whose loads touch most lines."""
    loads = np.isin(trace.program.unit[trace.pc], (Unit.GLOBAL_LOAD, Unit.ASYNC_COPY))
    lines = np.concatenate([[0], np.cumsum(np.where(loads, trace.lines * trace.repeats(), 0))])
    return int(np.argmax(np.diff(lines[trace.offset])))


def _waits(trace: WarpTrace, warp: int) -> list[tuple[int, int]]:
    """Return (lines, times) of each wait of a warp for global loads, and for copies of its own or of the CTA."""
    program, rows = trace.program, slice(int(trace.offset[warp]), int(trace.offset[warp + 1]))
    pc, times = trace.pc[rows], trace.repeats()[rows]
    units, lines = program.unit[pc], np.where(trace.misses[rows] > 0, trace.lines[rows], 0)
    warps = len(trace.offset) - 1
    pending, groups, opened, found = [0] * COUNTERS, [0], 0, []
    relevant = np.isin(units, (Unit.GLOBAL_LOAD, Unit.ASYNC_COPY, Unit.COPY_COMMIT, Unit.COPY_WAIT))
    for row in np.flatnonzero(relevant | (program.wait_mask[pc] > 0)):
        at, unit = pc[row], units[row]
        for counter in range(COUNTERS):
            if program.wait_mask[at] >> counter & 1 and pending[counter]:
                found.append((pending[counter], int(times[row])))
                pending[counter] = 0
        if unit == Unit.GLOBAL_LOAD and program.write_counter[at] != NO_COUNTER:
            pending[program.write_counter[at]] += int(lines[row])
        elif unit == Unit.ASYNC_COPY:
            opened += int(lines[row])
        elif unit == Unit.COPY_COMMIT:
            groups, opened = [*groups, opened], 0
        elif unit == Unit.COPY_WAIT:
            left = len(groups) - (int(program.argument[at]) & 63)
            together = warps if (units[row : row + BARRIER_ROWS] == Unit.BARRIER).any() else 1
            if sum(groups[:left]):
                found.append((sum(groups[:left]) * together, int(times[row])))
            groups = groups[left:]
    return found
