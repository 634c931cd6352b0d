"""What each instruction of a program asks of a machine: one row of integers per instruction, named in ``layout``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sim.arch.spec import GpuSpec, Pipe, TensorCore, TensorOp
from sim.errors import UnsupportedInstructionError
from sim.isa.program import Program
from sim.isa.units import LOADS, NO_COUNTER, STORES, Unit
from sim.isa.wgmma import parse_wgmma
from sim.sm import layout as y
from sim.sm.banks import LANES

I32 = npt.NDArray[np.int32]

ON_PORTS = (Unit.ALU, Unit.FMA, Unit.IMAD, Unit.HALF)  # whose operands pass the register file's read ports
LONG_UNITS = (*LOADS, *STORES, Unit.ATOMIC, Unit.COPY_COMMIT, Unit.BULK_COMMIT, Unit.MBARRIER_WAIT)
SHARED = (Unit.SHARED_LOAD, Unit.SHARED_STORE)
# that wait in the memory queue of a sub-core
QUEUED = (
    *SHARED,
    Unit.SHUFFLE,
    Unit.GLOBAL_LOAD,
    Unit.ASYNC_COPY,
    Unit.GLOBAL_STORE,
    Unit.ATOMIC,
    Unit.MBARRIER_ARRIVE,
)
NO_REGISTER = 255  # RZ
LEAST_LEFT = 0.25  # of the shared-memory pipe, to others beside a wgmma whose operands would fill it: assumed


def ticks(cycles: float) -> int:
    """Round cycles to fixed point."""
    return round(cycles * y.TICKS)


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


def instruction_columns(program: Program, gpu: GpuSpec) -> I32:
    """Return the columns of a program's instructions on a machine. Shape [instructions, STATIC_COLUMNS]."""
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
    _memory_columns(out, program, gpu)
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


def _memory_columns(out: I32, program: Program, gpu: GpuSpec) -> None:
    """Fill in how long an instruction's registers take to leave the sub-core, and what comes back later than LDS.32."""
    unit, memory = gpu.sm.load_store, gpu.sm.shared_memory
    out[:, y.S_SENT] = 0
    out[:, y.S_RELEASE] = 1
    for pc in np.flatnonzero(np.isin(program.unit, QUEUED)):
        text, kind = program.text[pc], program.unit[pc]
        sent = registers_sent(text)
        further = max(0, sent - 1)
        out[pc, y.S_READS] = min(
            1, sent
        )  # one, mostly of its address; others follow when the memory pipe takes it
        out[pc, y.S_SENT] = unit.address_interval_cycles + further * unit.register_interval_cycles
        copies = kind == Unit.ASYNC_COPY
        released = unit.source_release_cycles + further * unit.register_interval_cycles
        out[pc, y.S_RELEASE] = unit.copy_release_cycles if copies else released
        wide = _words(text) - 1 if text.split("LDS")[0] != text and "LDSM" not in text else 0
        out[pc, y.S_LATENCY] = wide * memory.further_register_latency_cycles
        if kind == Unit.SHUFFLE:
            out[pc, y.S_LATENCY] = round(unit.shuffle_latency_cycles - memory.load_latency_cycles)


def registers_sent(text: str) -> int:
    """Return how many general registers a memory instruction reads: its address, then its data."""
    address = re.findall(r"\[R\d+(\.64)?", text)
    sent = sum(2 if wide else 1 for wide in address)
    behind = text.rpartition("]")[2] if address or "[" in text else text.partition("PT,")[2].partition(",")[2]
    data = len(re.findall(r"\bR\d+", behind))
    return sent + data * (_words(text) if "]" in text else 1)


def _words(text: str) -> int:
    """Return the registers of a lane's data, by the size in the opcode: STS.128, STSM.16.M88.4."""
    size = re.search(r"^(?:@\S+ )?[A-Z]+[A-Z0-9.]*?\.(128|64|4|2)(?:\.[A-Z]+)*(?: |$)", text)
    return {"128": 4, "64": 2, "4": 4, "2": 2}[size.group(1)] if size else 1


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
        reads = read_cycles(program.mma_names[program.mma[pc]], gpu.sm.register_file.banks)
        out[pc, y.S_READS] = min(reads, interval // y.TICKS)  # a faster tensor core would have ports to match
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


def read_cycles(name: str, banks: int) -> int:
    """Return how long an mma reads its operands through one port per bank: m16n8k16.f32.f16 has 4 + 2 + 4 registers."""
    shape, *_, sum_type, input_type = name.split(".")  # what stands between is an extension's name
    m, n, k = map(int, re.findall(r"\d+", shape))
    sums, inputs = operand_bits(sum_type), operand_bits(input_type)
    registers = sum(math.ceil(bits / LANES / 32) for bits in (m * k * inputs, n * k * inputs, m * n * sums))
    return math.ceil(registers / banks)


def operand_bits(kind: str) -> int:
    """Return the bits of a number: ``s8``, ``bf16``, ``e4m3``."""
    return 1 + sum(map(int, re.findall(r"\d", kind))) if kind[0] == "e" else int(re.sub(r"\D", "", kind))


def _operands(text: str) -> tuple[int, int, int]:
    """Return base registers of D, A and C of ``HMMA.16816.F32 R4, R8, R12, R4``; -1 for none (RZ)."""
    registers = [int(name) if name != "Z" else -1 for name in re.findall(r"\bR(Z|\d+)\b", text)]
    return (registers[0], registers[1], registers[3]) if len(registers) >= 4 else (-1, -1, -1)


def _port_columns(out: I32, program: Program) -> None:
    reads = np.asarray(program.register_reads, np.int32).copy()
    reads[reads >= NO_REGISTER] = -1
    reads[~np.isin(program.unit, ON_PORTS)] = -1
    out[:, y.S_SLOT_A : y.S_SLOT_C + 1] = reads
