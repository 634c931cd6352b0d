"""Execute one CTA of a launch: real registers, real memory, real addresses; out comes what its warps did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.errors import DeadlockError, TcsimError
from sim.exec import access, asynchronous, bulk, image, mbarrier, state, warpgroup
from sim.exec.folding import contradicted
from sim.exec.interpreter import BAD_DIVERGENCE, FAULT, GROW, LEFT_THE_CODE, RUNAWAY, run_warp
from sim.exec.joint import fold_loops
from sim.exec.state import (
    AT_BARRIER,
    AT_PHASE,
    EXITED,
    FIRST_WARPGROUP,
    RUNNING,
    WARPS_SHIFT,
    Folder,
    Memory,
    Recorder,
    Registers,
)
from sim.isa.dataflow import Dependence, data_dependence
from sim.isa.launch import CtaClass, KernelLaunch
from sim.isa.opcodes import Op
from sim.isa.program import Program
from sim.isa.trace import WarpTrace

MAX_ROWS = 1 << 22  # executed instructions of one warp, folded ones not counted


@dataclass(frozen=True, eq=False)
class Execution:
    """What executing one CTA left behind."""

    trace: WarpTrace
    launch: KernelLaunch
    memory: Memory

    def buffer(self, name: str) -> npt.NDArray[np.uint8]:
        """Return the bytes of a buffer after the CTA ran (a scratch window where it has no data)."""
        index = [buffer.name for buffer in self.launch.buffers].index(name)
        start = int(self.memory.starts[index])
        size = min(int(self.memory.sizes[index]), int(self.memory.windows[index]))
        return self.memory.flat[start : start + size]


@dataclass(frozen=True)
class _Run:
    """The mutable pieces of one execution, kept together."""

    launch: KernelLaunch
    columns: tuple[npt.NDArray[Any], ...]
    registers: Registers
    memory: Memory
    folder: Folder
    scratch: state.Scratch
    fault: npt.NDArray[np.int64]


def execute(launch: KernelLaunch, cta_class: CtaClass, fold: bool = True) -> Execution:
    """Execute the representative CTA of ``cta_class``.

    With ``fold`` loops are run until they repeat and then jumped (counts and order exact, values of data not); without,
    every iteration is executed and the outputs are the kernel's own.
    """
    least_period = np.ones(len(launch.program), np.int32)
    while fold:
        result, contradiction = _attempt(launch, cta_class, least_period)
        if contradiction is None:
            assert result is not None
            return result
        header, period = contradiction
        least_period[header] = period + 1
    return _unfolded(launch, cta_class)


def execute_grid(launch: KernelLaunch) -> Iterator[Execution]:
    """Execute every CTA of a launch, in the grid's order and on one memory, without folding: all that it does."""
    memory = image.build_memory(launch, CtaClass((0, 0, 0), launch.ctas))
    gx, gy, gz = launch.grid
    for z, y, x in product(range(gz), range(gy), range(gx)):
        memory.tags[:] = -1  # each CTA is taken to find an empty L1
        yield _unfolded(launch, CtaClass((x, y, z), 1), memory)


def _unfolded(launch: KernelLaunch, cta_class: CtaClass, memory: Memory | None = None) -> Execution:
    result, _ = _attempt(launch, cta_class, None, memory)
    assert result is not None  # only a fold is tried again
    return result


def _attempt(
    launch: KernelLaunch,
    cta_class: CtaClass,
    least_period: npt.NDArray[np.int32] | None,
    memory: Memory | None = None,
) -> tuple[Execution | None, tuple[int, int] | None]:
    """Execute once, folding loops unless ``least_period`` is None; name header and period of a fold that was wrong.

    Without a result if the execution failed after a fold, which is then taken to be wrong.
    """
    fold = least_period is not None
    run = _Run(
        launch,
        instruction_columns(launch.program),
        state.build_registers(launch, cta_class.cta),
        memory or image.build_memory(launch, cta_class),
        state.build_folder(launch.warps, fold, _unsafe(launch) if fold else None, least_period),
        state.build_scratch(),
        np.zeros(4, np.int64),
    )
    recorder = state.build_recorder(launch.warps, 1 << 13, 1 << 9)
    try:
        recorder = _run_to_the_end(run, recorder)
    except TcsimError:
        last = int(run.folder.fold_count[0]) - 1
        if last < 0:
            raise
        return None, _folded_loop(
            run, last
        )  # a fold may have led there: addresses that wrap are linear until they do
    wrong = int(contradicted(recorder, run.folder)) if fold else -1
    done = Execution(_trace(launch, recorder, run.folder, run.memory), launch, run.memory)
    return done, _folded_loop(run, wrong) if wrong >= 0 else None


def _folded_loop(run: _Run, fold: int) -> tuple[int, int]:
    """Return the header and the period of a loop that was folded."""
    header, period = (int(value) for value in run.folder.folds[fold, 4:6])
    return header, period


def _run_to_the_end(run: _Run, recorder: Recorder) -> Recorder:
    """Run until every warp has exited; return the recorder, which may have grown."""
    while True:
        recorder = _run_ready_warps(run, recorder)
        if bool(np.all(run.registers.state == EXITED)):
            return recorder
        released = release_barriers(run.registers) or _release_phases(run.registers, run.memory)
        if not (released or fold_loops(run.launch.program, run.registers, recorder, run.folder, run.memory)):
            raise DeadlockError(_blocked(run))


def _unsafe(launch: KernelLaunch) -> npt.NDArray[np.int32]:
    """Mark the instructions whose loops may not be folded; without data all look-ups go to the same place."""
    dependence = data_dependence(launch.program)
    has_data = any(buffer.data is not None for buffer in launch.buffers)
    return (dependence >= (Dependence.ADDRESS if has_data else Dependence.CONTROL)).astype(np.int32)


def instruction_columns(program: Program) -> tuple[npt.NDArray[Any], ...]:
    """Return the columns the hot loop reads; branch targets as instruction indices."""
    target = np.zeros(len(program), np.int64)
    for operation, slot in ((Op.BRA, 1), (Op.CALL, 0)):
        branches = program.opcode == int(operation)
        target[branches] = program.operands[branches, slot, 1] // 16
    return program.opcode, program.modifiers, program.operands, program.guard, target


def _run_ready_warps(run: _Run, recorder: Recorder) -> Recorder:
    for warp in range(run.launch.warps):
        while run.registers.state[warp] == RUNNING:
            status = run_warp(
                warp, *run.columns, run.registers, run.memory, recorder, run.folder, run.scratch, run.fault
            )
            if status == FAULT:
                raise TcsimError(_fault_text(run, warp))
            if status == GROW:
                if recorder.rows.shape[1] >= MAX_ROWS:
                    run.fault[0] = RUNAWAY
                    raise TcsimError(_fault_text(run, warp))
                recorder = state.grown(recorder)
    return recorder


def release_barriers(registers: Registers) -> bool:
    """Let the warps of a barrier go once all have arrived: every warp that still runs, or as many as it names."""
    live = registers.state != EXITED
    waiting = registers.state == AT_BARRIER
    released = False
    for barrier in np.unique(registers.barrier[waiting]):
        here = waiting & (registers.barrier == barrier)
        warps = int(barrier) >> WARPS_SHIFT
        if here.sum() == warps or (warps == 0 and np.array_equal(live, here)):
            registers.state[here] = RUNNING
            released = True
    return released


def _release_phases(registers: Registers, memory: Memory) -> bool:
    """Let warps that an mbarrier holds look again once a phase of any has ended."""
    ready = (registers.state == AT_PHASE) & (registers.completions < memory.completions[0])
    registers.state[ready] = RUNNING
    return bool(ready.any())


def _blocked(run: _Run) -> str:
    """Name what every warp waits for."""
    parts = []
    for warp in np.flatnonzero(np.isin(run.registers.state, (AT_BARRIER, AT_PHASE))):
        parts.append(f"warp {warp} at {_place(run, int(warp))}")
    return f"{run.launch.program.name}: deadlock: {'; '.join(parts)}; no warp can arrive"


def _place(run: _Run, warp: int) -> str:
    registers, text = run.registers, run.launch.program.text
    number = int(registers.barrier[warp])
    if registers.state[warp] == AT_PHASE:
        group = int(np.flatnonzero(registers.group_wait[warp] == state.PHASE_WAIT)[0])
        completed = int(run.memory.mbarriers[number, mbarrier.COMPLETED])
        pc = int(registers.group_pc[warp, group])
        return f"mbarrier {number}, which has completed {completed} phases ({text[pc]})"
    pc = int(registers.group_pc[warp, 0]) - 1
    number &= (1 << WARPS_SHIFT) - 1
    name = f"barrier {number}" if number < FIRST_WARPGROUP else "its warpgroup's wgmma"
    return f"{name} ({text[pc]})"


def _fault_text(run: _Run, warp: int) -> str:
    code, pc, lane, address = (int(value) for value in run.fault)
    program = run.launch.program
    head = f"{program.name}+{pc * 16:#06x} ({program.text[pc]})"
    line = int(program.source_line[pc])
    if line:
        head += f" at {program.source_name or 'source'}:{line}"
    if code == RUNAWAY:
        return f"{program.name}: warp {warp} executed more than {MAX_ROWS} instructions; does its loop end?"
    if code == BAD_DIVERGENCE:
        return f"{head}: warp {warp} diverged in a way that is not supported (barrier or blocked in divergent code)"
    place = f"global address {address:#x}"
    stack = f"the {access.LOCAL_BYTES} bytes of stack that a thread has"
    what = {
        access.OUT_OF_RANGE_GLOBAL: f"{place} lies in no buffer{_nearest_buffer(run.launch, address)}",
        access.OUT_OF_RANGE_SHARED: f"shared address {address:#x} is beyond the CTA's shared memory",
        LEFT_THE_CODE: "control left the kernel's code after this instruction",
        access.OUT_OF_RANGE_LOCAL: f"local address {address:#x} is outside {stack}",
        access.MISALIGNED: f"address {address:#x} is not aligned to the access",
        mbarrier.NO_MBARRIER: f"shared address {address:#x} holds no initialised mbarrier",
        mbarrier.SPREAD_MBARRIER: "the lanes name different mbarriers",
        mbarrier.TOO_MANY_ARRIVALS: "more arrivals than the mbarrier expects in a phase",
        mbarrier.TOO_MANY_MBARRIERS: f"more than {mbarrier.MBARRIERS} mbarriers",
        bulk.NO_TENSOR_MAP: "the address is not that of a tensor map argument of this rank",
        warpgroup.BAD_DESCRIPTOR: "matrix descriptors with a base offset are not supported",
        asynchronous.STATE_IS_READ: "the state that an mbarrier operation returns is not supported",
    }.get(code, "the operation is not supported by the executor")
    return f"{head}: warp {warp} lane {lane}: {what}"


def _nearest_buffer(launch: KernelLaunch, address: int) -> str:
    index = (address >> 32) - access.GLOBAL_BASE_HIGH
    if 0 <= index < len(launch.buffers):
        buffer = launch.buffers[index]
        return f" (offset {address & 0xFFFFFFFF} of {buffer.name!r}, which has {buffer.nbytes} bytes)"
    return ""


def _trace(launch: KernelLaunch, recorder: Recorder, folder: Folder, memory: Memory) -> WarpTrace:
    """Concatenate the warps' rows into the columns of a WarpTrace."""
    offset = np.concatenate([[0], np.cumsum(recorder.count)]).astype(np.int64)
    rows = np.concatenate([recorder.rows[warp, :count] for warp, count in enumerate(recorder.count)])
    folds = folder.folds[: int(folder.fold_count[0])]
    loops = np.stack(
        [folds[:, 1] + offset[folds[:, 0]], folds[:, 2] + offset[folds[:, 0]], folds[:, 3]], axis=1
    )
    columns = [np.ascontiguousarray(rows[:, index]) for index in range(state.TRACE_COLUMNS)]
    pc, lanes, pattern, lines, sectors, misses, taken, buffer, barrier, phase, arrivals, tx = columns
    patterns = recorder.patterns[: int(recorder.pattern_count[0])].copy()
    phase_step = np.zeros(len(pc), np.int32)
    for begin, end, _ in loops:
        phase_step[begin:end] = phase[begin:end] - phase[2 * begin - end : begin]
    expected = memory.mbarriers[: int(memory.mbarrier_count[0]), mbarrier.EXPECTED].astype(np.int32)
    return WarpTrace(
        launch.program, offset, pc, lanes, pattern, lines, sectors, misses, taken, buffer,
        barrier, phase, phase_step, arrivals, tx, loops[np.argsort(loops[:, 0], kind="stable")], patterns, expected,
    )  # fmt: skip
