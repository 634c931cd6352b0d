"""Which loops jump together: warps that meet at barriers must skip the same number of meetings.

A warp proposes to skip windows of its loop. Between windows each mbarrier that it touches completes a fixed number of
times, and each barrier is passed a fixed number of times; among all warps that touch one, skipped windows times that
number must agree. A producer and its consumers fold at different loops and rates that way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

from sim.exec.folding import apply_fold
from sim.exec.mbarrier import COMPLETED
from sim.exec.state import (
    AT_BARRIER,
    AT_HEADER,
    AT_PHASE,
    EXITED,
    FIRST_WARPGROUP,
    MAX_PERIOD,
    MBARRIER,
    PC,
    PHASE,
    RING,
    RUNNING,
    WARPS_SHIFT,
    Folder,
    Memory,
    Recorder,
    Registers,
)
from sim.exec.warpgroup import GROUP_WARPS
from sim.isa.opcodes import Op
from sim.isa.program import Program

Meeting = tuple[str, int]  # ("mbarrier", its number) or ("barrier", Registers.barrier of who waits there)


@dataclass(frozen=True)
class Proposal:
    """What one warp would skip: up to ``windows`` windows, each with so many completions of each meeting."""

    warp: int
    windows: int
    meetings: Mapping[Meeting, int]


def fold_loops(
    program: Program, registers: Registers, recorder: Recorder, folder: Folder, memory: Memory
) -> bool:
    """Let the warps that stopped at loop headers jump, as far as they agree, and run on; False where none stopped."""
    stopped = [int(warp) for warp in np.flatnonzero(registers.state == AT_HEADER)]
    if not stopped:
        return False
    proposals = [_proposal(warp, program, recorder, folder) for warp in stopped]
    jumps = _jumps(proposals, registers)
    if folder.fold_count[0] + len(jumps) >= len(folder.folds):
        jumps = {}
    _advance_mbarriers(proposals, jumps, memory)
    for proposal in proposals:
        warp, slot = proposal.warp, folder.proposal[proposal.warp, 0]
        if warp in jumps:
            apply_fold(warp, jumps[warp], registers, recorder, folder)
        else:  # others may reach their headers while this warp runs on; tied by mbarriers, in the next iteration
            tied = any(kind == "mbarrier" for kind, _ in proposal.meetings)
            folder.retry_at[warp, slot] = folder.iterations[warp, slot] + (0 if tied else MAX_PERIOD)
    registers.state[stopped] = RUNNING
    return True


def _proposal(warp: int, program: Program, recorder: Recorder, folder: Folder) -> Proposal:
    slot, period, windows = (int(value) for value in folder.proposal[warp])
    last = int(folder.iterations[warp, slot]) - 1
    begin = int(folder.row[warp, slot, (last - period) % RING])
    end = int(folder.row[warp, slot, last % RING])
    rows = recorder.rows[warp, begin:end]
    before = recorder.rows[warp, 2 * begin - end : begin]
    meetings: dict[Meeting, int] = {}
    for number in np.unique(rows[:, MBARRIER]):
        at = rows[:, MBARRIER] == number
        steps = np.unique(rows[at, PHASE] - before[at, PHASE])
        if number >= 0:
            meetings["mbarrier", int(number)] = int(steps[0])
            windows = windows if len(steps) == 1 else 0  # visits of one mbarrier at different rates
    for pc in rows[:, PC]:
        if (barrier := _barrier(warp, int(pc), program)) is not None:
            meetings["barrier", barrier] = meetings.get(("barrier", barrier), 0) + 1
    return Proposal(warp, windows, meetings)


def _barrier(warp: int, pc: int, program: Program) -> int | None:
    """Return what Registers.barrier says while a warp waits at this instruction; None if it is no barrier."""
    operation = program.opcode[pc]
    if operation == int(Op.BAR):
        return int(program.operands[pc, 0, 1]) + (int(program.operands[pc, 1, 1]) // 32 << WARPS_SHIFT)
    if operation == int(Op.WGMMA_WAIT):
        return FIRST_WARPGROUP + warp // GROUP_WARPS + (GROUP_WARPS << WARPS_SHIFT)
    return None


def _jumps(proposals: Sequence[Proposal], registers: Registers) -> dict[int, int]:
    """Return warp -> windows to skip, for those that agree with all whom they meet."""
    here = {proposal.warp for proposal in proposals}
    elsewhere = {_waits_at(warp, registers) for warp in range(len(registers.state)) if warp not in here} - {
        None
    }
    jumps: dict[int, int] = {}
    for group in _tied(proposals):
        met = {meeting for proposal in group for meeting in proposal.meetings}
        everyone = any(kind == "barrier" and number >> WARPS_SHIFT == 0 for kind, number in met)
        if met & elsewhere or (everyone and (elsewhere or len(group) < len(proposals))):
            continue
        rates = _rates(group)
        if rates is None:
            continue
        times = min(proposal.windows // rates[proposal.warp] for proposal in group)
        if times >= 1:
            jumps |= {warp: times * rate for warp, rate in rates.items()}
    return jumps


def _waits_at(warp: int, registers: Registers) -> Meeting | None:
    state, at = registers.state[warp], int(registers.barrier[warp])
    if state == EXITED:
        return None
    assert state in (AT_BARRIER, AT_PHASE)
    return ("barrier" if state == AT_BARRIER else "mbarrier", at)


def _tied(proposals: Sequence[Proposal]) -> list[list[Proposal]]:
    """Group the warps that meet, directly or through others."""
    groups: list[list[Proposal]] = []
    for proposal in proposals:
        near = [
            group
            for group in groups
            if any(proposal.meetings.keys() & each.meetings.keys() for each in group)
        ]
        groups = [group for group in groups if not any(group is each for each in near)]
        groups.append([*(each for group in near for each in group), proposal])
    return groups


def _rates(group: Sequence[Proposal]) -> dict[int, int] | None:
    """Return the least whole windows of each warp in which all meetings agree; None where they cannot."""
    rates = {group[0].warp: Fraction(1)}
    at: dict[Meeting, list[Proposal]] = defaultdict(list)
    for proposal in group:
        for meeting in proposal.meetings:
            at[meeting].append(proposal)
    pending = [group[0]]
    while pending:
        proposal = pending.pop()
        for meeting, step in proposal.meetings.items():
            for other in at[meeting]:
                if other.warp in rates or not other.meetings[meeting] or not step:
                    continue
                rates[other.warp] = rates[proposal.warp] * step / other.meetings[meeting]
                pending.append(other)
    for met, all_there in at.items():
        if len({rates.get(each.warp, 0) * each.meetings[met] for each in all_there}) > 1:
            return None
    scale = lcm(*(rate.denominator for rate in rates.values()))
    return {warp: int(rate * scale) for warp, rate in rates.items()} if len(rates) == len(group) else None


def _advance_mbarriers(proposals: Sequence[Proposal], jumps: Mapping[int, int], memory: Memory) -> None:
    skipped = {
        number: jumps[proposal.warp] * step
        for proposal in proposals
        if proposal.warp in jumps
        for (kind, number), step in proposal.meetings.items()
        if kind == "mbarrier"
    }
    for number, completions in skipped.items():
        memory.mbarriers[number, COMPLETED] += completions
