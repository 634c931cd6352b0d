"""What blocks a run that cannot end, in one sentence."""

from __future__ import annotations

from sim.errors import DeadlockError
from sim.isa.units import Unit
from sim.sm import engine as e
from sim.sm import layout as y
from sim.sm.columns import SmColumns


def explain(columns: SmColumns, state: e.State, drive: y.Drive, cycle: int, status: int) -> DeadlockError:
    """Name the first warp that waits, its instruction and the dependence."""
    program = columns.trace.program
    warps = len(columns.offset) - 1
    waiting = [w for w in range(len(state.warp)) if state.warp[w, e.W_WHY] != e.DONE]
    if status == y.TOO_LONG:
        head = f"{program.name}: not finished after {drive.max_cycles} cycles"
    else:
        head = f"{program.name}: nothing can go on after cycle {cycle}"
    if not waiting:
        return DeadlockError(head)
    w = waiting[0]
    cta = int(state.slot[w // warps, e.C_CTA])
    return DeadlockError(
        f"{head}: warp {w % warps} of CTA {cta} {_what(columns, state, w, warps)} ({len(waiting)} warps wait)"
    )


def _what(columns: SmColumns, state: e.State, w: int, warps: int) -> str:
    """Say which instruction waits, and for what."""
    row = int(state.warp[w, e.W_ROW])
    why = int(state.warp[w, e.W_WHY])
    if why == y.BARRIER_STALL:
        barrier = int(state.warp[w, e.W_RESUME]) % y.BARRIERS
        slot = w // warps
        arrived, alive = int(state.arrived[slot, barrier]), int(state.slot[slot, e.C_ALIVE])
        return f"waits at barrier {barrier}, where {arrived} of {alive} running warps have arrived"
    pc = int(columns.rows[row, y.R_PC])
    place = f"at {pc * 16:#06x} {columns.trace.program.text[pc]!r}"
    if columns.rows[row, y.R_UNIT] == Unit.MBARRIER_WAIT and why == y.LONG:
        return f"waits {place} for {_phase(columns, state, row, w // warps)}"
    if why in (y.LONG, y.SHORT):
        return f"waits {place} for {_counter(columns, state, w, row, pc)}"
    return f"waits {place} ({y.STALL_NAMES[why]})"


def _phase(columns: SmColumns, state: e.State, row: int, slot: int) -> str:
    """Say what the present phase of a row's mbarrier lacks."""
    number = int(columns.rows[row, y.R_MBARRIER])
    arrived, missing, completed = (int(value) for value in state.mbarrier[slot, number])
    return (
        f"mbarrier {number}, in whose phase {completed + 1} {arrived} of {int(columns.needs[number])} arrivals "
        f"and all but {missing} bytes have come"
    )


def _counter(columns: SmColumns, state: e.State, w: int, row: int, pc: int) -> str:
    """Name the dependence counter that an instruction waits for."""
    held = int(columns.static[pc, y.S_WAIT]) & int(state.warp[w, e.W_HELD])
    if held:
        counter, wanted = (held & -held).bit_length() - 1, 0
    elif columns.rows[row, y.R_UNIT] == Unit.COPY_WAIT:
        counter, wanted = divmod(int(columns.static[pc, y.S_ARGUMENT]), 64)
    else:
        counter, wanted = 0, y.COMMIT_SLOTS - 1
    return f"dependence counter {counter} to fall from {int(state.counter[w, counter])} to {wanted}"
