"""Run the timing engine on a resolved trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.isa.units import COUNTERS
from sim.sm import engine as e
from sim.sm import layout as y
from sim.sm.blocked import explain
from sim.sm.columns import SmColumns

I64 = npt.NDArray[np.int64]
FIRST_HEAP = 1 << 10  # events; a run that needs more starts again with more
REGISTERS = 256


@dataclass(frozen=True, eq=False)
class Run:
    """What one replay gave."""

    end: I64  # [CTAs]: cycle after the last issue
    first_request: I64  # [CTAs]: cycle at which memory beyond L1 is first asked; FAR = never
    last_arrival: I64  # [CTAs]: cycle at which the last of its bulk data is there
    first_store: I64  # [CTAs]: cycle at which it first stores after its bulk data; FAR = never
    first_fence: I64  # [CTAs]: cycle at which it first waits at a fence after that; FAR = never
    marks: I64  # [CTAs, marks]: cycle at which the marked warp began each loop iteration
    stalls: I64  # [stall names]: warp cycles
    profile: I64  # [static instructions or 0, stall names]: warp cycles


def replay(columns: SmColumns, drive: y.Drive, replays: I64, profile: bool = False) -> Run:
    """Replay a trace; one that cannot end raises DeadlockError.

    ``replays`` says how often each loop's body runs again, in the order of ``columns.loops``.
    """
    if len(columns.rows) == 0:
        raise ValueError("a trace without instructions takes no time")
    read = e.Columns(
        columns.static, columns.rows, columns.offset, columns.loops, _replays(columns, replays), columns.needs
    )
    events = FIRST_HEAP
    while True:
        state = _new_state(columns, drive, events, profile)
        cycle = int(e.run(columns.machine, drive, read, state))
        status = int(state.run[e.G_STATUS])
        if status == y.FINISHED:
            return Run(
                state.end,
                state.first_request,
                state.last_arrival,
                state.first_store,
                state.first_fence,
                state.marks,
                state.stalls,
                state.profile,
            )
        if status != y.HEAP_FULL:
            raise explain(columns, state, drive, cycle, status)
        events *= 8


def _replays(columns: SmColumns, replays: I64) -> I64:
    """Pad to the loops' length, which is never zero."""
    out = np.zeros(len(columns.loops), np.int64)
    out[: len(replays)] = replays
    return out


def _new_state(columns: SmColumns, drive: y.Drive, events: int, profile: bool) -> e.State:
    """Return the state before the first cycle."""
    m, warps = columns.machine, len(columns.offset) - 1
    slots, cores = drive.sms * drive.resident, drive.sms * m.sub_cores
    total, queue = slots * warps, (cores, m.queue_entries)
    state = e.State(
        warp=_zeros(total, e.W_FIELDS),
        counter=_zeros(total, COUNTERS),
        owner=_zeros(total, COUNTERS),
        groups=_zeros(total, y.COMMIT_SLOTS),
        accumulator=_zeros(total, REGISTERS),
        core=_zeros(cores, e.B_FIELDS),
        pipe=_zeros(cores, e.UNITS),
        reuse=_zeros(cores, m.register_banks, 3) - 1,
        order=_zeros(cores, drive.resident * warps),
        queue_who=_zeros(*queue),
        queue_trip=_zeros(*queue),
        queue_cta=_zeros(*queue),
        queue_row=_zeros(*queue),
        queue_time=_zeros(*queue),
        queue_free=_zeros(*queue),
        sm=_zeros(drive.sms, e.M_FIELDS),
        slot=_zeros(slots, e.C_FIELDS),
        arrived=_zeros(slots, y.BARRIERS),
        counted=_zeros(slots, y.BARRIERS),
        wanted=_zeros(slots, y.BARRIERS),
        mbarrier=_zeros(slots, len(columns.needs), e.X_FIELDS),
        gemm_who=_zeros(drive.sms, events),
        gemm_row=_zeros(drive.sms, events),
        gemm_time=_zeros(drive.sms, events),
        heap_key=_zeros(events),
        heap_what=_zeros(events),
        run=_zeros(e.G_FIELDS),
        end=_zeros(drive.ctas),
        first_request=np.full(drive.ctas, y.FAR, np.int64),
        last_arrival=_zeros(drive.ctas),
        asked=_zeros(drive.ctas),
        first_store=np.full(drive.ctas, y.FAR, np.int64),
        first_fence=np.full(drive.ctas, y.FAR, np.int64),
        marks=_zeros(drive.ctas, drive.marks),
        stalls=_zeros(len(y.STALL_NAMES)),
        profile=_zeros(len(columns.static) if profile else 0, len(y.STALL_NAMES)),
    )
    state.warp[:, e.W_WHY], state.warp[:, e.W_UNTIL] = e.DONE, y.FAR
    state.core[:, e.B_NEXT], state.core[:, e.B_LAST] = y.FAR, -1
    state.sm[:, e.M_NEXT], state.slot[:, e.C_CTA] = y.FAR, -1
    state.sm[:, e.M_GEMM_NEXT], state.sm[:, e.M_GEMM_ROW], state.sm[:, e.M_GEMM_WHO] = y.FAR, -1, -1
    return state


def _zeros(*shape: int) -> I64:
    return np.zeros(shape, np.int64)
