"""Names become integers, once, before a run: what each instruction asks of the machine."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.arch.spec import GpuSpec, Pipe, TensorCore, TensorOp
from sim.errors import UnsupportedInstructionError
from sim.isa.program import Program
from sim.isa.trace import WarpTrace
from sim.isa.units import LOADS, NO_COUNTER, STORES, Unit
from sim.isa.wgmma import parse_wgmma
from sim.sm import layout as y
from sim.sm.banks import wavefronts

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

ON_PORTS = (Unit.ALU, Unit.FMA, Unit.IMAD, Unit.HALF)  # whose operands pass the register file's read ports
LONG_UNITS = (*LOADS, *STORES, Unit.ATOMIC, Unit.COPY_COMMIT, Unit.BULK_COMMIT, Unit.MBARRIER_WAIT)
BULK = (Unit.BULK_LOAD, Unit.BULK_STORE)
NO_REGISTER = 255  # RZ
LEAST_LEFT = 0.25  # of the shared-memory pipe, to others beside a wgmma whose operands would fill it: assumed


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
        static=_static(trace.program, gpu),
        rows=_rows(trace, gpu, machine, loops),
        offset=np.asarray(trace.offset, np.int64),
        loops=loops if len(loops) else np.zeros((1, 3), np.int64),
        needs=np.asarray(trace.mbarriers, np.int64),
    )


def ticks(cycles: float) -> int:
    """Round cycles to fixed point."""
    return round(cycles * y.TICKS)


def machine_numbers(gpu: GpuSpec) -> y.Machine:
    """Return the machine's own numbers."""
    unit, memory, control = gpu.sm.load_store, gpu.sm.shared_memory, gpu.sm.control
    return y.Machine(
        sub_cores=gpu.sm.sub_cores,
        queue_entries=unit.queue_entries,
        address_cycles=unit.address_interval_cycles,
        intake_ticks=ticks(unit.intake_interval_cycles),
        window_cycles=gpu.sm.register_file.read_window_cycles,
        mma_read_cycles=gpu.sm.register_file.mma_read_cycles,
        register_banks=gpu.sm.register_file.banks,
        load_ticks=ticks(memory.load_latency_cycles),
        wavefront_ticks=ticks(memory.extra_wavefront_latency_cycles),
        copy_ticks=ticks(unit.copy_instruction_cycles),
        copy_write_ticks=ticks(unit.copy_write_wavefront_cycles),
        copy_extra_cycles=round(unit.copy_extra_latency_cycles),
        line_ticks=ticks(unit.global_line_cycles),
        port_sector_ticks=ticks(gpu.sm.l1.sector_bytes / gpu.l2.sm_port_bytes_per_cycle),
        store_extra_cycles=round(unit.store_extra_latency_cycles),
        atomic_extra_cycles=round(unit.atomic_extra_latency_cycles),
        release_cycles=unit.source_release_cycles,
        shuffle_ticks=ticks(unit.shuffle_interval_cycles),
        hit_cycles=gpu.sm.l1.hit_latency_cycles,
        arrival_cycles=control.barrier_arrival_cycles,
        barrier_cycles=control.barrier_release_cycles,
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


def pipes(gpu: GpuSpec) -> dict[Unit, Pipe]:
    """Return the pipe of each unit that has one, the tensor core apart."""
    found = gpu.sm.pipes
    return {
        Unit.ALU: found.alu,
        Unit.FMA: found.fma,
        Unit.IMAD: found.imad,
        Unit.HALF: found.half,
        Unit.XU: found.xu,
        Unit.UNIFORM: found.uniform,
        Unit.SPECIAL: found.special,
    }


def tensor_ops(program: Program, gpu: GpuSpec) -> list[TensorOp]:
    """Return the machine's op for each of the program's mma names; of a wgmma as a warp's share of it."""
    return [_tensor_op(program, gpu, index) for index in range(len(program.mma_names))]


def _tensor_op(program: Program, gpu: GpuSpec, index: int) -> TensorOp:
    name, tensor = program.mma_names[index], gpu.sm.tensor
    shape = parse_wgmma(name)
    key = shape.types if shape else name
    table: Mapping[str, object] = tensor.wgmma if shape else tensor.mma
    if key not in table:
        first = int(np.flatnonzero(program.mma == index)[0])
        raise UnsupportedInstructionError(
            f"{program.name}: {program.text[first]!r}: {gpu.name} has no {'wgmma' if shape else 'mma'} {key!r}; "
            f"sm.tensor.{'wgmma' if shape else 'mma'} lists {', '.join(sorted(table)) or 'none'}"
        )
    return tensor_op(name, tensor)


def tensor_op(name: str, tensor: TensorCore) -> TensorOp:
    """Return issue interval and latency of an mma; of a wgmma whose operands do not wait for shared memory."""
    shape = parse_wgmma(name)
    if shape is None:
        return tensor.mma[name]
    op = tensor.wgmma[shape.types]
    busy = shape.n * op.column_interval_cycles
    if shape.a_in_registers:
        least = max(busy, tensor.wgmma_register_interval_cycles)
        return TensorOp(interval_cycles=least, latency_cycles=busy + op.register_latency_cycles)
    return TensorOp(interval_cycles=busy, latency_cycles=busy + op.shared_latency_cycles)


def _static(program: Program, gpu: GpuSpec) -> I32:
    out = np.full((len(program), y.STATIC_COLUMNS), -1, np.int32)
    unit = program.unit
    # The control bit is clear on an instruction that yields: the next cycle belongs to another warp.
    out[:, y.S_STALL] = np.maximum(program.stall, np.where(program.yields == 0, 2, 1))
    out[:, y.S_WAIT] = program.wait_mask
    own = np.isin(unit, (Unit.COPY_COMMIT, Unit.BULK_COMMIT))
    out[:, y.S_WRITE] = np.where(own, NO_COUNTER, program.write_counter)
    out[:, y.S_READ] = program.read_counter
    out[:, y.S_OWNER] = np.where(np.isin(unit, LONG_UNITS), y.LONG, y.SHORT)
    out[:, y.S_ARGUMENT] = program.argument
    out[:, y.S_REUSE] = program.reuse
    _pipe_columns(out, program, gpu)
    _tensor_columns(out, program, gpu)
    _port_columns(out, program)
    return out


def _pipe_columns(out: I32, program: Program, gpu: GpuSpec) -> None:
    out[:, y.S_INTERVAL] = 0
    out[:, y.S_LATENCY] = 1
    for unit, pipe in pipes(gpu).items():
        out[program.unit == unit, y.S_INTERVAL] = ticks(pipe.interval_cycles)
        out[program.unit == unit, y.S_LATENCY] = pipe.latency_cycles
    out[program.unit == Unit.CONSTANT_LOAD, y.S_LATENCY] = gpu.sm.load_store.constant_load_latency_cycles
    waits = np.isin(program.unit, (Unit.MBARRIER_WAIT, Unit.MBARRIER_INIT))
    out[waits, y.S_LATENCY] = gpu.sm.control.mbarrier_wait_latency_cycles


def _tensor_columns(out: I32, program: Program, gpu: GpuSpec) -> None:
    """Fill intervals, latencies and accumulators of the mma instructions, and their stall counts.

    Between two mma the compiler's stall count is its tensor core's issue interval; where this machine's is
    shorter, a compiler for it would have written that. What depends on a result is held back by the
    accumulator's own latency.
    """
    ops = tensor_ops(program, gpu)
    unit = program.unit
    for pc in np.flatnonzero(unit == Unit.TENSOR):
        op = ops[program.mma[pc]]
        interval = ticks(op.interval_cycles)
        out[pc, y.S_INTERVAL] = interval
        out[pc, y.S_LATENCY] = math.ceil(op.latency_cycles)
        out[pc, y.S_ACCUMULATE] = ticks(op.latency_cycles)
        out[pc, y.S_ACC_WRITE], out[pc, y.S_FACTOR], out[pc, y.S_ACC_READ] = _operands(program.text[pc])
        if pc + 1 < len(program) and unit[pc + 1] == Unit.TENSOR:
            out[pc, y.S_STALL] = min(out[pc, y.S_STALL], -(-interval // y.TICKS))
    _wgmma_columns(out, program, gpu, ops)


def _wgmma_columns(out: I32, program: Program, gpu: GpuSpec, ops: list[TensorOp]) -> None:
    wavefront = gpu.sm.shared_memory.banks * gpu.sm.shared_memory.bank_bytes
    for pc in np.flatnonzero(program.unit == Unit.WGMMA):
        op, shape = ops[program.mma[pc]], parse_wgmma(program.mma_names[program.mma[pc]])
        assert shape is not None
        out[pc, y.S_INTERVAL] = ticks(op.interval_cycles)
        out[pc, y.S_LATENCY] = math.ceil(op.latency_cycles)
        wavefronts_read = (shape.a_bytes + shape.b_bytes) / wavefront
        out[pc, y.S_OPERANDS] = ticks(wavefronts_read)
        left = max(LEAST_LEFT, 1 - wavefronts_read / max(wavefronts_read, op.interval_cycles))
        out[pc, y.S_CROWDING] = round(100 / left)


def _operands(text: str) -> tuple[int, int, int]:
    """Return base registers of D, A and C of ``HMMA.16816.F32 R4, R8, R12, R4``; -1 for none (RZ)."""
    registers = [int(name) if name != "Z" else -1 for name in re.findall(r"\bR(Z|\d+)\b", text)]
    return (registers[0], registers[1], registers[3]) if len(registers) >= 4 else (-1, -1, -1)


def _port_columns(out: I32, program: Program) -> None:
    reads = np.asarray(program.register_reads, np.int32).copy()
    reads[reads >= NO_REGISTER] = -1
    reads[~np.isin(program.unit, ON_PORTS)] = -1
    out[:, y.S_SLOT_A : y.S_SLOT_C + 1] = reads


def _rows(trace: WarpTrace, gpu: GpuSpec, machine: y.Machine, loops: I64) -> I32:
    out = np.zeros((len(trace.pc), y.ROW_COLUMNS), np.int32)
    unit = np.where(trace.lanes > 0, trace.program.unit[trace.pc], Unit.NONE)
    waves = np.append(wavefronts(trace.patterns, gpu.sm.shared_memory), np.int32(0))
    loads = np.isin(unit, LOADS)
    out[:, y.R_PC] = trace.pc
    out[:, y.R_UNIT] = unit
    out[:, y.R_WAVEFRONTS] = np.where(trace.pattern >= 0, waves[trace.pattern], 0)
    out[:, y.R_WAVEFRONTS] = np.where(np.isin(unit, BULK), trace.lines, out[:, y.R_WAVEFRONTS])
    out[:, y.R_COST] = _cost(trace, unit, gpu, machine)
    out[:, y.R_SECTORS] = np.where(loads, trace.misses, trace.sectors)
    out[:, y.R_HIT] = loads & (trace.misses == 0)
    out[:, y.R_MBARRIER] = trace.mbarrier
    out[:, y.R_PARITY] = trace.phase % 2
    out[:, y.R_ARRIVALS] = trace.arrivals
    out[:, y.R_TX] = trace.tx
    out[:, y.R_BEGIN : y.R_END + 1] = -1
    _mark_loops(out, loops)
    return out


def _cost(
    trace: WarpTrace, unit: npt.NDArray[np.int_], gpu: GpuSpec, machine: y.Machine
) -> npt.NDArray[np.int_]:
    """Pipe ticks of a global access, cycles of a taken branch."""
    branch = trace.taken * gpu.sm.control.taken_branch_cycles
    lines = np.maximum(trace.lines, 1) * machine.line_ticks
    copies = np.where(unit == Unit.ASYNC_COPY, np.maximum(machine.copy_ticks, lines), lines)
    moved = np.where(trace.tx > 0, trace.tx, trace.sectors * gpu.sm.l1.sector_bytes)
    engine = gpu.sm.bulk_copy
    boxes = np.maximum(engine.issue_interval_cycles, moved / engine.bytes_per_cycle) * y.TICKS
    copies = np.where(np.isin(unit, BULK), np.rint(boxes).astype(np.int64), copies)
    stores = np.maximum(lines, trace.sectors * ticks(gpu.sm.load_store.store_sector_cycles))
    return np.select((unit == Unit.BRANCH, unit == Unit.GLOBAL_STORE), (branch, stores), copies)


def _mark_loops(rows: I32, loops: I64) -> None:
    last = 0
    for index, (begin, end, _extra) in enumerate(loops):
        if begin < last or end <= begin:
            raise ValueError(f"loop {begin}:{end} overlaps the one before it or is empty")
        last = end
        rows[begin, y.R_BEGIN] = index
        rows[end - 1, y.R_END] = index
