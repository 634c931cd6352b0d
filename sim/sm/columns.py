"""Names become integers, once, before a run: the machine's own numbers, and what each executed row asks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.arch.spec import GpuSpec
from sim.isa.trace import WarpTrace
from sim.isa.units import LOADS, Unit
from sim.sm import layout as y
from sim.sm.banks import wavefronts
from sim.sm.instructions import QUEUED, SHARED, instruction_columns, ticks

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

BULK = (Unit.BULK_LOAD, Unit.BULK_STORE)
LINE_INSTRUCTIONS = 8  # of 16 bytes in a 128-byte line of the instruction cache


@dataclass(frozen=True, eq=False)
class SmColumns:
    """A trace on a machine, as the engine reads it (columns are named in ``layout``)."""

    trace: WarpTrace
    machine: y.Machine
    static: I32  # [instructions of the program, STATIC_COLUMNS]
    rows: I32  # [executed rows, ROW_COLUMNS]
    offset: I64  # [warps + 1]
    loops: I64  # [loops, 3]: begin, end, extra; at least one row, so that its type never changes
    needs: I64  # [mbarriers]: arrivals that complete a phase


def resolve(trace: WarpTrace, gpu: GpuSpec) -> SmColumns:
    """Resolve a trace for a machine; an mma that it lacks raises UnsupportedInstructionError."""
    machine = machine_numbers(gpu)
    loops = np.asarray(trace.loops, np.int64).reshape(-1, 3)
    loops = loops[np.argsort(loops[:, 0])]
    return SmColumns(
        trace=trace,
        machine=machine,
        static=instruction_columns(trace.program, gpu),
        rows=_rows(trace, gpu, machine, loops),
        offset=np.asarray(trace.offset, np.int64),
        loops=loops if len(loops) else np.zeros((1, 3), np.int64),
        needs=np.asarray(trace.mbarriers, np.int64),
    )


def machine_numbers(gpu: GpuSpec) -> y.Machine:
    """Return the machine's own numbers."""
    unit, memory, control = gpu.sm.load_store, gpu.sm.shared_memory, gpu.sm.control
    return y.Machine(
        sub_cores=gpu.sm.sub_cores,
        queue_entries=unit.queue_entries,
        intake_ticks=ticks(unit.intake_interval_cycles),
        window_cycles=gpu.sm.register_file.read_window_cycles,
        register_banks=gpu.sm.register_file.banks,
        load_ticks=ticks(memory.load_latency_cycles),
        wavefront_ticks=ticks(memory.extra_wavefront_latency_cycles),
        copy_ticks=ticks(unit.copy_instruction_cycles),
        copy_data_ticks=ticks(unit.copy_data_cycles),
        copy_write_ticks=ticks(unit.copy_write_wavefront_cycles),
        copy_extra_cycles=round(unit.copy_extra_latency_cycles),
        line_ticks=ticks(unit.global_line_cycles),
        missed_line_ticks=ticks(unit.missed_line_cycles),
        handed_line_ticks=ticks(unit.handed_line_cycles),
        port_sector_ticks=ticks(gpu.sm.l1.sector_bytes / gpu.sm.l1.fill_bytes_per_cycle),
        store_extra_cycles=round(unit.store_extra_latency_cycles),
        atomic_extra_cycles=round(unit.atomic_extra_latency_cycles),
        hit_cycles=gpu.sm.l1.hit_latency_cycles,
        hit_line_ticks=ticks(gpu.sm.l1.line_latency_cycles),
        hit_hidden_ticks=ticks(gpu.sm.l1.hidden_line_cycles),
        arrival_cycles=control.barrier_arrival_cycles,
        barrier_cycles=control.barrier_release_cycles,
        barrier_reset_cycles=control.barrier_reset_cycles,
        membar_cycles=control.membar_latency_cycles,
        membar_ticks=ticks(control.membar_interval_cycles),
        cta_start_cycles=control.cta_start_cycles,
        gmma_entries=gpu.sm.tensor.wgmma_queue_entries,
        gmma_slowdown=round(100 * gpu.sm.tensor.wgmma_arithmetic_factor),
        sync_ticks=ticks(control.mbarrier_arrival_interval_cycles),
        sync_cycles=control.mbarrier_arrival_latency_cycles,
        # an mbarrier's waiter then still takes its own way back
        bulk_extra_cycles=round(gpu.sm.bulk_copy.extra_latency_cycles) - control.mbarrier_wait_latency_cycles,
    )


def _rows(trace: WarpTrace, gpu: GpuSpec, machine: y.Machine, loops: I64) -> I32:
    out = np.zeros((len(trace.pc), y.ROW_COLUMNS), np.int32)
    unit = _units(trace)
    waves = np.append(wavefronts(trace.patterns, gpu.sm.shared_memory), np.int32(0))
    loads = np.isin(unit, LOADS)
    out[:, y.R_PC] = trace.pc
    out[:, y.R_UNIT] = unit
    out[:, y.R_WAVEFRONTS] = np.where(trace.pattern >= 0, waves[trace.pattern], 0)
    out[:, y.R_WAVEFRONTS] = np.where(np.isin(unit, BULK), trace.lines, out[:, y.R_WAVEFRONTS])
    out[:, y.R_COST] = _cost(trace, unit, out[:, y.R_WAVEFRONTS], gpu, machine)
    out[:, y.R_LINES] = np.maximum(trace.lines, 1)
    out[:, y.R_SECTORS] = np.where(loads, trace.misses, trace.sectors)
    out[:, y.R_HIT] = loads & (trace.misses == 0)
    out[:, y.R_MBARRIER] = trace.mbarrier
    out[:, y.R_PARITY] = trace.phase % 2
    out[:, y.R_ARRIVALS] = trace.arrivals
    out[:, y.R_TX] = trace.tx
    out[:, y.R_BEGIN : y.R_END + 1] = -1
    _mark_loops(out, loops)
    return out


def _units(trace: WarpTrace) -> npt.NDArray[np.int_]:
    """Return each row's unit: without an active lane NONE, but an access passes the memory pipe all the same.

    It takes a wavefront of it, as if it stored; copies of a predicate that is never true stand before others in code
    for sm_90.
    """
    unit = trace.program.unit[trace.pc]
    idle = np.where(np.isin(unit, QUEUED), Unit.SHARED_STORE, Unit.NONE)
    found: npt.NDArray[np.int_] = np.where(trace.lanes > 0, unit, idle)
    return found


def _cost(
    trace: WarpTrace,
    unit: npt.NDArray[np.int_],
    waves: I32,
    gpu: GpuSpec,
    machine: y.Machine,
) -> npt.NDArray[np.int_]:
    """Pipe ticks of an access, cycles of a taken branch."""
    shared = np.maximum(waves, 1) * y.TICKS
    shuffles = np.full(len(unit), ticks(gpu.sm.load_store.shuffle_interval_cycles))
    lines = np.maximum(trace.lines, 1) * machine.line_ticks
    copies = np.where(unit == Unit.ASYNC_COPY, np.maximum(machine.copy_ticks, lines), lines)
    moved = np.where(trace.tx > 0, trace.tx, trace.sectors * gpu.sm.l1.sector_bytes)
    engine = gpu.sm.bulk_copy
    pieces = trace.lines + np.maximum(0, trace.sectors - -(-moved // gpu.sm.l1.sector_bytes))
    pieces = np.where(unit == Unit.BULK_LOAD, pieces, 0)  # of stores it was not measured
    moving = np.maximum(moved / engine.bytes_per_cycle, pieces * engine.piece_interval_cycles)
    boxes = np.maximum(engine.issue_interval_cycles, moving) * y.TICKS
    missed = np.maximum(lines, np.maximum(trace.lines, 1) * machine.missed_line_ticks)
    missed = np.where(
        _handed_over(trace), missed + np.maximum(trace.lines, 1) * machine.handed_line_ticks, missed
    )
    copies = np.where((unit == Unit.GLOBAL_LOAD) & (trace.misses > 0), missed, copies)
    copies = np.where(np.isin(unit, BULK), np.rint(boxes).astype(np.int64), copies)
    stores = np.maximum(lines, trace.sectors * ticks(gpu.sm.load_store.store_sector_cycles))
    kinds = (np.isin(unit, SHARED), unit == Unit.SHUFFLE, unit == Unit.BRANCH, unit == Unit.GLOBAL_STORE)
    return np.select(kinds, (shared, shuffles, _jumps(trace, gpu), stores), copies)


def _handed_over(trace: WarpTrace) -> npt.NDArray[np.bool_]:
    """Mark loads from what CTAs hand each other: from buffers that this one stores to as well."""
    stored = trace.program.unit[trace.pc] == Unit.GLOBAL_STORE
    found: npt.NDArray[np.bool_] = (trace.buffer >= 0) & np.isin(
        trace.buffer, np.unique(trace.buffer[stored])
    )
    return found


def _jumps(trace: WarpTrace, gpu: GpuSpec) -> npt.NDArray[np.int_]:
    """Cycles that a taken branch takes beyond its stall count: its target comes late.

    The target's 128-byte line of code comes first, the one behind it later: that shows where the target is the last
    instruction of its line and does not stall itself.
    """
    stall, control = trace.program.stall, gpu.sm.control
    following = np.append(trace.pc[1:], 0)
    for begin, end, _extra in trace.loops:
        following[end - 1] = trace.pc[begin]
    own = stall[trace.pc]
    target = np.maximum(own, control.taken_branch_cycles)
    last = following % LINE_INSTRUCTIONS == LINE_INSTRUCTIONS - 1
    late = np.where(last, control.next_line_cycles - target - stall[following], 0)
    return trace.taken * (target - own + np.maximum(late, 0))


def _mark_loops(rows: I32, loops: I64) -> None:
    last = 0
    for index, (begin, end, _extra) in enumerate(loops):
        if begin < last or end <= begin:
            raise ValueError(f"loop {begin}:{end} overlaps the one before it or is empty")
        last = end
        rows[begin, y.R_BEGIN] = index
        rows[end - 1, y.R_END] = index
