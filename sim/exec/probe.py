"""Where each CTA's data begins: its first address in every buffer, from its first instructions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sim.exec import image, state
from sim.exec.execute import instruction_columns, release_barriers
from sim.exec.interpreter import GROW, run_warp
from sim.isa.launch import CtaClass, Dim3, KernelLaunch
from sim.isa.units import Unit

PROBE_ROWS = 1 << 9  # instructions of a warp within which a kernel has begun to load all that it shares
LOADS = (Unit.GLOBAL_LOAD, Unit.ASYNC_COPY, Unit.BULK_LOAD)


def first_touches(launch: KernelLaunch, ctas: Sequence[Dim3]) -> npt.NDArray[np.int64]:
    """Return int64[len(ctas), buffers]: the first address that a CTA reads of each buffer, -1 where none is.

    CTAs with the same address read the same data (of a matmul: the same rows of a matrix). Warp 0 speaks for all, up to
    its first barrier after a load; where a warp of its own feeds the copy engine, every warp up to its first mbarrier.
    """
    touches = np.full((len(ctas), max(1, len(launch.buffers))), -1, np.int64)
    warps = launch.warps if bool((launch.program.unit == int(Unit.BULK_LOAD)).any()) else 1
    columns = instruction_columns(launch.program)
    memory = image.build_memory(launch, CtaClass((0, 0, 0), 1))
    folder = state.build_folder(launch.warps, False)
    scratch = state.build_scratch()
    recorder = state.build_recorder(warps, PROBE_ROWS, 1 << 9)
    fault = np.zeros(4, np.int64)
    loads = np.isin(launch.program.unit, [int(unit) for unit in LOADS])
    for index, cta in enumerate(ctas):
        recorder.count[:] = memory.mbarrier_count[:] = 0
        registers = state.build_registers(launch, cta)
        goes_on = True
        while goes_on:
            for warp in np.flatnonzero(registers.state[:warps] == state.RUNNING):
                status = run_warp(warp, *columns, registers, memory, recorder, folder, scratch, fault)  # type: ignore[call-arg, no-untyped-call]
                if status == GROW:
                    registers.state[warp] = state.EXITED  # what was seen so far will do
            goes_on = release_barriers(registers) if warps > 1 else _passes(registers, recorder, loads)
        _note(touches[index], recorder, loads)
    return touches


def _passes(registers: state.Registers, recorder: state.Recorder, loads: npt.NDArray[np.bool_]) -> bool:
    """Let warp 0 pass a barrier that stands before all its loads, as if the other warps were there."""
    rows = recorder.rows[0, : int(recorder.count[0])]
    if registers.state[0] != state.AT_BARRIER or loads[rows[:, state.PC]].any():
        return False
    registers.state[0] = state.RUNNING
    return True


def _note(first: npt.NDArray[np.int64], recorder: state.Recorder, loads: npt.NDArray[np.bool_]) -> None:
    """Write the first address of every buffer that the recorded rows load from."""
    for warp, count in enumerate(recorder.count):
        rows = recorder.rows[warp, : int(count)]
        chosen = np.flatnonzero((rows[:, state.BUFFER] >= 0) & loads[rows[:, state.PC]])
        buffers, at = np.unique(rows[chosen, state.BUFFER], return_index=True)
        fresh = first[buffers] < 0
        first[buffers[fresh]] = recorder.address[warp, chosen[at[fresh]]]
