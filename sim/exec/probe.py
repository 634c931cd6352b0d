"""Where each CTA's data begins: its first address in every buffer, from the instructions before its first barrier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sim.exec import state
from sim.exec.execute import instruction_columns
from sim.exec.interpreter import GROW, run_warp
from sim.isa.launch import CtaClass, Dim3, KernelLaunch
from sim.isa.units import Unit

PROBE_ROWS = 1 << 9  # instructions of warp 0 within which a kernel has begun to load all that it shares


def first_touches(launch: KernelLaunch, ctas: Sequence[Dim3]) -> npt.NDArray[np.int64]:
    """Return int64[len(ctas), buffers]: the first address that warp 0 reads of each buffer, -1 where none is.

    CTAs with the same address read the same data (of a matmul: the same rows of a matrix).
    """
    touches = np.full((len(ctas), max(1, len(launch.buffers))), -1, np.int64)
    columns = instruction_columns(launch.program)
    memory = state.build_memory(launch, CtaClass((0, 0, 0), 1))
    folder = state.build_folder(launch.warps, False)
    scratch = state.build_scratch()
    recorder = state.build_recorder(1, PROBE_ROWS, 1 << 9)
    fault = np.zeros(4, np.int64)
    loads = np.isin(launch.program.unit, (int(Unit.GLOBAL_LOAD), int(Unit.ASYNC_COPY)))
    for index, cta in enumerate(ctas):
        recorder.count[:] = 0
        registers = state.build_registers(launch, cta)
        status = run_warp(0, *columns, registers, memory, recorder, folder, scratch, fault)  # type: ignore[call-arg, no-untyped-call]
        if status == GROW:
            continue  # a long way to the first barrier: what was seen so far will do
        _note(touches[index], recorder, loads)
    return touches


def _note(first: npt.NDArray[np.int64], recorder: state.Recorder, loads: npt.NDArray[np.bool_]) -> None:
    """Write the first address of every buffer that the recorded rows load from."""
    rows = recorder.rows[0, : int(recorder.count[0])]
    chosen = np.flatnonzero((rows[:, state.BUFFER] >= 0) & loads[rows[:, state.PC]])
    buffers, at = np.unique(rows[chosen, state.BUFFER], return_index=True)
    first[buffers] = recorder.address[0, chosen[at]]
