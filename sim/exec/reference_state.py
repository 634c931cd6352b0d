"""The readable twin's view of one warp: NumPy rows of 32 lanes, operands read by type, results written under a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.exec.state import Memory
from sim.isa import opcodes as o
from sim.isa.opcodes import Kind

Array = npt.NDArray[Any]
LANES = 32
LANE = np.arange(LANES)


@dataclass(frozen=True)
class Slot:
    """One operand of one instruction."""

    kind: Kind
    value: int
    flags: int

    def has(self, flag: int) -> bool:
        """Return whether the operand carries a flag."""
        return bool(self.flags & flag)


@dataclass
class Group:
    """Lanes of a warp that run together."""

    pc: int
    mask: Array
    waits_at: int | None = None  # convergence barrier
    waits_for: frozenset[int] = frozenset()  # lanes
    held: bool = False  # by an mbarrier


@dataclass
class Warp:
    """Architectural state of one warp."""

    number: int
    memory: Memory
    special: Array  # uint32 [registers, 32]
    groups: list[Group]
    exited: Array  # bool [32]
    general: Array = field(default_factory=lambda: np.zeros((256, LANES), np.uint32))
    uniform: Array = field(default_factory=lambda: np.zeros(64, np.uint32))
    predicates: Array = field(default_factory=lambda: np.zeros((8, LANES), bool))
    uniform_predicates: Array = field(default_factory=lambda: np.zeros(8, bool))
    convergence: dict[int, Array] = field(default_factory=dict)
    barrier: tuple[int, int] | None = None  # the barrier it waits at: number, warps that meet there (0: all)
    held: bool = False  # no group may run, and an mbarrier holds one

    def __post_init__(self) -> None:
        """Set the constant predicates."""
        self.predicates[o.PT] = True
        self.uniform_predicates[o.PT] = True

    def register(self, number: int) -> Array:
        """Return a general register's lanes, zeros for RZ."""
        return np.zeros(LANES, np.uint32) if number == o.RZ else self.general[number].copy()

    def uniform_register(self, number: int) -> np.uint32:
        """Return a uniform register, zero for URZ."""
        return np.uint32(0) if number == o.URZ else np.uint32(self.uniform[number])

    def truth(self, slot: Slot) -> Array:
        """Read a predicate operand; an absent one is false."""
        if slot.kind == Kind.NONE:
            return np.zeros(LANES, bool)
        bank = self.predicates if slot.kind == Kind.PRED else self.uniform_predicates
        value = np.broadcast_to(bank[slot.value], LANES)
        return np.asarray(~value if slot.has(o.INV) else value.copy())


@dataclass(frozen=True)
class Step:
    """One instruction as one warp executes it."""

    warp: Warp
    modifiers: int
    slots: Sequence[Slot]
    active: Array  # bool [32]
    operation: int = 0  # sim.isa.opcodes.Op

    def modified(self, bit: int) -> bool:
        """Return whether the opcode has a modifier."""
        return bool(self.modifiers & bit)

    # ------------------------------------------------------------------------------------------- sources

    def bits(self, index: int) -> Array:
        """Return the 32 bits of a source before its flags, uint32[32]."""
        slot = self.slots[index]
        if slot.kind == Kind.REG:
            return self.warp.register(slot.value)
        if slot.kind == Kind.UREG:
            return np.full(LANES, self.warp.uniform_register(slot.value))
        if slot.kind == Kind.CONST:
            return np.full(LANES, self.warp.memory.constants[slot.value // 4])
        return np.full(LANES, slot.value & 0xFFFFFFFF, np.uint32)

    def integer(self, index: int) -> Array:
        """Return an integer source, uint32[32]."""
        value, slot = self.bits(index), self.slots[index]
        if slot.has(o.NEG):
            return (-value.astype(np.int64)).astype(np.uint32)
        return ~value if slot.has(o.INV) else value

    def number(self, index: int) -> Array:
        """Return a source as mathematical integers, int64[32]: signed unless the opcode says U32."""
        value = self.integer(index)
        return (value if self.modified(o.UNSIGNED) else value.view(np.int32)).astype(np.int64)

    def fp32(self, index: int) -> Array:
        """Return an FP32 source; .FTZ takes subnormals as zeros."""
        value = self.bits(index).view(np.float32)
        slot = self.slots[index]
        value = np.abs(value) if slot.has(o.ABS) else value
        value = np.negative(value) if slot.has(o.NEG) else value
        return flushed(value) if self.modified(o.FTZ) else value

    def halves(self, index: int) -> Array:
        """Return a packed-half source as float16[32, 2], low half first."""
        slot = self.slots[index]
        value = np.ascontiguousarray(self.bits(index)).view(np.float16).reshape(LANES, 2)
        if slot.has(o.H0):
            value = value[:, [0, 0]]
        elif slot.has(o.H1):
            value = value[:, [1, 1]]
        value = np.abs(value) if slot.has(o.ABS) else value
        return np.negative(value) if slot.has(o.NEG) else value

    def pair(self, index: int) -> Array:
        """Return a 64-bit source as uint64[32]: a register pair, or two constant words."""
        slot = self.slots[index]
        low = self.bits(index).astype(np.uint64)
        high = np.zeros(LANES, np.uint64)
        if slot.kind in (Kind.REG, Kind.UREG) and slot.value != (o.RZ if slot.kind == Kind.REG else o.URZ):
            upper = Slot(slot.kind, slot.value + 1, 0)
            high = Step(self.warp, 0, [upper], self.active).bits(0).astype(np.uint64)
        elif slot.kind == Kind.CONST:
            high[:] = self.warp.memory.constants[slot.value // 4 + 1]
        elif slot.kind == Kind.IMM and slot.value & 0x80000000:
            high[:] = 0xFFFFFFFF
        value = low | high << np.uint64(32)
        return ~value + np.uint64(1) if slot.has(o.NEG) else value

    def truth(self, index: int) -> Array:
        """Return a predicate source, bool[32]."""
        return self.warp.truth(self.slots[index])

    # ------------------------------------------------------------------------------------------- results

    def write(self, index: int, value: Array) -> None:
        """Write 32 bits per lane (of any 32-bit type) to a destination register."""
        slot = self.slots[index]
        self.write_register(slot.kind, slot.value, np.ascontiguousarray(value).view(np.uint32).reshape(LANES))

    def write_register(self, kind: Kind, number: int, value: Array) -> None:
        """Write uint32[32] to a register; a uniform one takes the first active lane's."""
        if kind == Kind.REG and number != o.RZ:
            self.warp.general[number][self.active] = value[self.active]
        elif kind == Kind.UREG and number != o.URZ:
            self.warp.uniform[number] = value[np.argmax(self.active)]

    def write_pair(self, index: int, value: Array) -> None:
        """Write uint64[32] to a register pair."""
        slot = self.slots[index]
        if slot.value == (o.RZ if slot.kind == Kind.REG else o.URZ):
            return
        for part in range(2):
            word = (value >> np.uint64(32 * part)).astype(np.uint32)
            self.write_register(slot.kind, slot.value + part, word)

    def write_truth(self, index: int, value: Array) -> None:
        """Write a predicate; PT and an absent destination swallow it."""
        slot = self.slots[index]
        if slot.kind == Kind.NONE or slot.value == o.PT:
            return
        if slot.kind == Kind.PRED:
            self.warp.predicates[slot.value][self.active] = value[self.active]
        else:
            self.warp.uniform_predicates[slot.value] = value[np.argmax(self.active)]


def flushed(value: Array) -> Array:
    """Replace subnormal FP32 numbers by zeros of the same sign."""
    tiny = np.abs(value) < np.finfo(np.float32).tiny
    return np.where(tiny, np.copysign(np.float32(0), value), value).astype(np.float32)
