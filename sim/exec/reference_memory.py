"""The twin's accesses to memory: whole-array NumPy, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sim.errors import TcsimError
from sim.exec.access import GLOBAL_BASE_HIGH, KIND_LOAD, KIND_MATRIX, KIND_STORE, LOCAL_BYTES, STACK_TOP
from sim.exec.reference_state import LANES, Array, Step, flushed
from sim.isa import opcodes as o
from sim.isa.launch import TensorMap
from sim.isa.opcodes import Kind, Op


@dataclass
class Access:
    """What one instruction asked of the memories."""

    pattern: tuple[int, ...] | None = None  # size, kind, 32 lane offsets
    lines: int = 0
    sectors: int = 0
    misses: int = 0
    buffer: int = -1
    mbarrier: int = -1
    phase: int = 0
    arrivals: int = 0
    tx: int = 0


@dataclass
class Mbarrier:
    """One mbarrier: a phase ends when nothing that it waits for is missing."""

    number: int
    address: int
    expected: int
    pending: int
    announced: int = 0  # bytes not yet delivered
    completed: int = 0

    def report(self, arrivals: int, announced: int) -> None:
        """Count arrivals and bytes; delivered ones are negative."""
        self.pending -= arrivals
        self.announced += announced
        if self.pending < 0:
            raise TcsimError(f"too many arrivals at mbarrier {self.number}")
        if self.pending == 0 and self.announced == 0:
            self.completed += 1
            self.pending = self.expected


@dataclass
class Seen:
    """What the warps share: the sectors that L1 holds (without capacity), mbarriers; and the access being made."""

    sectors: set[int] = field(default_factory=set)
    access: Access = field(default_factory=Access)
    mbarriers: list[Mbarrier] = field(default_factory=list)
    maps: dict[int, TensorMap] = field(default_factory=dict)  # by generic address
    buffers: list[str] = field(default_factory=list)


def size_of(step: Step) -> int:
    """Return the bytes one lane accesses."""
    return 1 << ((step.modifiers & o.SIZE_MASK) >> o.SIZE_SHIFT)


def addresses(step: Step, at: int) -> Array:
    """Return the sum of an address operand's base, uniform base and offset, int64[32]."""
    total = np.full(LANES, step.slots[at + 2].value, np.int64)
    for index in (at, at + 1):
        slot = step.slots[index]
        if slot.kind == Kind.NONE:
            continue
        value = step.pair(index) if slot.has(o.WIDE) else step.bits(index).astype(np.uint64)
        total = total + (value << np.uint64(slot.flags >> 8)).astype(np.int64)
    return total


def shared_bytes(step: Step, at: int, size: int, lanes: Array, kind: int, seen: Seen) -> Array:
    """Return byte indices [32, size] into shared memory, checked, and note the access pattern."""
    address = addresses(step, at) & 0xFFFFFF
    _check(address, lanes, size, len(step.warp.memory.shared), "shared")
    lowest = int(address[lanes].min()) // 128 * 128 if lanes.any() else 0
    offsets = np.where(lanes, address - lowest, -1)
    seen.access.pattern = (size, kind, *(int(offset) for offset in offsets))
    return np.where(lanes, address, 0)[:, None] + np.arange(size)


def global_bytes(
    step: Step, at: int, size: int, lanes: Array, seen: Seen, cached: bool, stored: bool = False
) -> Array:
    """Return byte indices [32, size] into the flat image of global memory, checked, and note lines and sectors."""
    memory = step.warp.memory
    address = addresses(step, at)
    buffer, offset = (address >> 32) - GLOBAL_BASE_HIGH, address & 0xFFFFFFFF
    known = lanes & (buffer >= 0) & (buffer < len(memory.sizes))
    safe = np.where(known, buffer, 0)
    if np.any(lanes & (~known | (offset + size > memory.sizes[safe]))):
        raise TcsimError("global address in no buffer")
    _check(offset, lanes, size, 1 << 40, "global")
    if lanes.any():
        touched = address[lanes][:, None] + np.arange(size)
        sectors = {int(sector) for sector in (touched // 32).ravel()}
        seen.access.lines = len(np.unique(touched // 128))
        seen.access.sectors = len(sectors) if stored else _requested(address, lanes, size, len(sectors))
        seen.access.misses = len(sectors - seen.sectors) if cached else len(sectors)
        seen.access.buffer = int(buffer[np.argmax(lanes)])
        if cached:
            seen.sectors |= sectors
    inside = memory.starts[safe] + offset % memory.windows[safe]
    return np.where(lanes, inside, 0)[:, None] + np.arange(size)


def _requested(address: Array, lanes: Array, size: int, distinct: int) -> int:
    """Return the sectors that a load asks for: 16-byte ones are made by quarters of the warp, each on its own."""
    if size != 16:
        return distinct
    quarters = (np.flatnonzero(lanes[first : first + 8]) + first for first in range(0, 32, 8))
    return sum(len(np.unique(address[quarter] // 32)) for quarter in quarters)


def _check(address: Array, lanes: Array, size: int, end: int, space: str) -> None:
    if np.any(lanes & (address + size > end)):
        raise TcsimError(f"{space} address out of range")
    if np.any(lanes & (address % size != 0)):
        raise TcsimError(f"{space} address misaligned")


def load(step: Step, at: int, data: Array) -> None:
    """Write loaded bytes [32, size] to the registers of slot ``at``; narrow ones are extended."""
    size = data.shape[1]
    if size < 4:
        sign = (data[:, -1] >= 128) & step.modified(o.SIGNED_LOAD)
        filler = np.where(sign, 255, 0).astype(np.uint8)[:, None]
        data = np.concatenate([data, np.repeat(filler, 4 - size, axis=1)], axis=1)
    words = np.ascontiguousarray(data).view(np.uint32)
    number = step.slots[at].value
    for part in range(words.shape[1]):
        if number != o.RZ:
            step.write_register(Kind.REG, number + part, words[:, part].copy())


def stored(step: Step, at: int, size: int) -> Array:
    """Return the bytes [32, size] of the registers of slot ``at``."""
    number = step.slots[at].value
    parts = [
        step.warp.register(number if number == o.RZ else number + part) for part in range(max(1, size // 4))
    ]
    return np.ascontiguousarray(np.stack(parts, axis=1)).view(np.uint8)[:, :size]


def scatter(memory: Array, index: Array, data: Array, lanes: Array) -> None:
    """Store the lanes' bytes in ascending lane order: the last one wins."""
    for lane in np.flatnonzero(lanes):
        memory[index[lane]] = data[lane]


def _lds(step: Step, seen: Seen) -> None:
    index = shared_bytes(step, 1, size_of(step), step.active, KIND_LOAD, seen)
    load(step, 0, step.warp.memory.shared[index])


def _sts(step: Step, seen: Seen) -> None:
    index = shared_bytes(step, 0, size_of(step), step.active, KIND_STORE, seen)
    scatter(step.warp.memory.shared, index, stored(step, 3, size_of(step)), step.active)


def _matrices(step: Step, at: int, seen: Seen) -> tuple[int, Array]:
    """Return how many 8x8 matrices there are and the byte indices [32, 16] of their rows."""
    count = (step.modifiers & o.MATRICES_MASK) >> o.MATRICES_SHIFT
    lanes = step.active & (np.arange(LANES) < 8 * count)
    return count, shared_bytes(step, at, 16, lanes, KIND_MATRIX, seen)


def _ldsm(step: Step, seen: Seen) -> None:
    count, index = _matrices(step, 1, seen)
    for matrix in range(count if step.slots[0].value != o.RZ else 0):
        rows = step.warp.memory.shared[index[8 * matrix : 8 * matrix + 8]].view(np.uint16)
        rows = rows.T if step.modified(o.TRANSPOSE) else rows
        step.write_register(
            Kind.REG, step.slots[0].value + matrix, np.ascontiguousarray(rows).view(np.uint32).reshape(LANES)
        )


def _stsm(step: Step, seen: Seen) -> None:
    count, index = _matrices(step, 0, seen)
    number = step.slots[3].value
    for matrix in range(count):
        words = step.warp.register(number if number == o.RZ else number + matrix)
        rows = words.view(np.uint16).reshape(8, 8)
        rows = rows.T if step.modified(o.TRANSPOSE) else rows
        step.warp.memory.shared[index[8 * matrix : 8 * matrix + 8]] = (
            np.ascontiguousarray(rows).view(np.uint8).reshape(8, 16)
        )


def _ldg(step: Step, seen: Seen) -> None:
    index = global_bytes(step, 1, size_of(step), step.active, seen, cached=not step.modified(o.BYPASS))
    load(step, 0, step.warp.memory.flat[index])


def _stg(step: Step, seen: Seen) -> None:
    index = global_bytes(step, 0, size_of(step), step.active, seen, cached=False, stored=True)
    scatter(step.warp.memory.flat, index, stored(step, 3, size_of(step)), step.active)


def _ldgsts(step: Step, seen: Seen) -> None:
    size = size_of(step)
    to = shared_bytes(step, 0, size, step.active, KIND_STORE, seen)
    present = step.active & (step.truth(6) if step.slots[6].kind != Kind.NONE else True)
    index = global_bytes(step, 3, size, present, seen, cached=False)
    data = np.where(present[:, None], step.warp.memory.flat[index], 0).astype(np.uint8)
    scatter(step.warp.memory.shared, to, data, step.active)


def _atomic(step: Step, seen: Seen) -> None:
    returns = Op(step.operation) == Op.ATOMG
    index = global_bytes(step, 2 if returns else 0, 4, step.active, seen, cached=False)
    _read_modify_write(step, step.warp.memory.flat, index, 5 if returns else 3, returns)


def _shared_atomic(step: Step, seen: Seen) -> None:
    index = shared_bytes(step, 1, 4, step.active, KIND_STORE, seen)
    _read_modify_write(step, step.warp.memory.shared, index, 4, True)


def _read_modify_write(step: Step, memory: Array, index: Array, data_at: int, returns: bool) -> None:
    """Lanes in ascending order; the old word returns in slot 0 (shared) or 1."""
    code = (step.modifiers & o.ATOMIC_MASK) >> o.ATOMIC_SHIFT
    value = step.bits(data_at)
    swap = step.bits(data_at + 1) if code in (o.CAS, o.TEST_AND_SET) else value
    old, succeeded = np.zeros(LANES, np.uint32), np.zeros(LANES, bool)
    for lane in np.flatnonzero(step.active):
        old[lane] = memory[index[lane]].view(np.uint32)[0]
        succeeded[lane] = old[lane] == value[lane]
        new = np.array([_combined(step, code, old[lane], value[lane], swap[lane])], np.uint32)
        memory[index[lane]] = new.view(np.uint8)
    if returns and code == o.TEST_AND_SET:
        old = succeeded.astype(np.uint32)
    if returns:
        step.write(0 if Op(step.operation) == Op.ATOMS else 1, old)


def _combined(step: Step, code: int, old: np.uint32, value: np.uint32, swap: np.uint32) -> np.uint32 | int:
    if code == o.ADD and step.modified(o.FLOAT):
        a, b = flushed(np.array([old, value]).view(np.float32))
        return np.uint32(np.float32(a + b).view(np.uint32))
    signed = not step.modified(o.UNSIGNED)
    a, b = (int(old.view(np.int32)), int(value.view(np.int32))) if signed else (int(old), int(value))
    result = {
        o.ADD: a + b,
        o.MIN: min(a, b),
        o.MAX: max(a, b),
        o.INC: int(old) + 1 if int(old) < int(value) or step.modified(o.DOUBLE) else 0,
        o.EXCH: b,
        o.AND_OP: a & b,
        o.OR_OP: a | b,
        o.XOR_OP: a ^ b,
        o.CAS: int(swap) if old == value else int(old),
        o.TEST_AND_SET: int(swap) if old == value else int(old),
    }[code]
    return result % (1 << 32)


def _local_bytes(step: Step, at: int, seen: Seen) -> Array:
    """Return byte indices [32, size] into the threads' stacks; one line holds a word of every thread."""
    size = size_of(step)
    offset = (addresses(step, at) & 0xFFFFFF) - (STACK_TOP - LOCAL_BYTES)
    _check(offset, step.active & (offset >= 0), size, LOCAL_BYTES, "local")
    if np.any(step.active & (offset < 0)):
        raise TcsimError("local address out of range")
    seen.access.lines, seen.access.sectors = max(1, size // 4), 4 * max(1, size // 4)
    thread = 32 * step.warp.number + np.arange(LANES)
    return np.where(step.active, thread * LOCAL_BYTES + offset, 0)[:, None] + np.arange(size)


def _ldl(step: Step, seen: Seen) -> None:
    load(step, 0, step.warp.memory.local[_local_bytes(step, 1, seen)])


def _stl(step: Step, seen: Seen) -> None:
    index = _local_bytes(step, 0, seen)
    scatter(step.warp.memory.local, index, stored(step, 3, size_of(step)), step.active)


ACCESSES: dict[Op, Callable[[Step, Seen], None]] = {
    Op.LDS: _lds, Op.STS: _sts, Op.LDSM: _ldsm, Op.STSM: _stsm, Op.LDG: _ldg, Op.STG: _stg,
    Op.LDGSTS: _ldgsts, Op.RED: _atomic, Op.ATOMG: _atomic, Op.ATOMS: _shared_atomic, Op.LDL: _ldl, Op.STL: _stl,
}  # fmt: skip
