"""Registers of one warp as 32-lane arrays: reading operands and writing results (numba)."""

from __future__ import annotations

import numpy as np

from sim.isa import opcodes as o
from sim.isa.opcodes import Kind
from sim.jit import inner

REG, UREG, PRED, UPRED = int(Kind.REG), int(Kind.UREG), int(Kind.PRED), int(Kind.UPRED)
IMM, CONST, NONE = int(Kind.IMM), int(Kind.CONST), int(Kind.NONE)
NEG, ABS, INV, H0, H1, WIDE = o.NEG, o.ABS, o.INV, o.H0, o.H1, o.WIDE
RZ, URZ, PT = o.RZ, o.URZ, o.PT
LANES = 32


@inner
def raw(out, slot, regs, uniform, constants):
    """Read a 32-bit operand without its flags into ``out`` (uint32[32])."""
    kind, value = slot[0], slot[1]
    if kind == REG:
        for lane in range(LANES):
            out[lane] = regs[value, lane]
        return
    word = np.uint32(0)
    if kind == UREG:
        word = uniform[value]
    elif kind == IMM:
        word = np.uint32(value & 0xFFFFFFFF)
    elif kind == CONST:
        word = constants[value >> 2]
    for lane in range(LANES):
        out[lane] = word


@inner
def integer(out, slot, regs, uniform, constants):
    """Read an integer operand; ``-`` is two's complement, ``~`` is bitwise not."""
    raw(out, slot, regs, uniform, constants)
    if slot[2] & NEG:
        for lane in range(LANES):
            out[lane] = np.uint32(0) - out[lane]
    elif slot[2] & INV:
        for lane in range(LANES):
            out[lane] = ~out[lane]


@inner
def floating(out, slot, regs, uniform, constants):
    """Read an FP32 operand as bits; ``|x|`` first, then ``-``."""
    raw(out, slot, regs, uniform, constants)
    if slot[2] & ABS:
        for lane in range(LANES):
            out[lane] &= np.uint32(0x7FFFFFFF)
    if slot[2] & NEG:
        for lane in range(LANES):
            out[lane] ^= np.uint32(0x80000000)


@inner
def halves(out, slot, regs, uniform, constants):
    """Read a packed-half operand as bits: half selection, then ``|x|``, then ``-``."""
    raw(out, slot, regs, uniform, constants)
    flags = slot[2]
    for lane in range(LANES):
        word = out[lane]
        if flags & H0:
            word = (word & np.uint32(0xFFFF)) | (word << np.uint32(16))
        elif flags & H1:
            word = (word >> np.uint32(16)) | (word & np.uint32(0xFFFF0000))
        if flags & ABS:
            word &= np.uint32(0x7FFF7FFF)
        if flags & NEG:
            word ^= np.uint32(0x80008000)
        out[lane] = word


@inner
def wide(out, slot, regs, uniform, constants):
    """Read a 64-bit operand (a register pair, or a zero-extended immediate) into uint64[32]."""
    kind, value = slot[0], slot[1]
    if kind == REG:
        for lane in range(LANES):
            high = np.uint64(0) if value == RZ else np.uint64(regs[value + 1, lane])
            out[lane] = np.uint64(regs[value, lane]) | (high << np.uint64(32))
    else:
        word = np.uint64(0)
        if kind == UREG and value != URZ:
            word = np.uint64(uniform[value]) | (np.uint64(uniform[value + 1]) << np.uint64(32))
        elif kind == IMM:
            word = np.uint64(np.int64(np.int32(np.uint32(value & 0xFFFFFFFF))))
        elif kind == CONST:
            word = np.uint64(constants[value >> 2]) | (
                np.uint64(constants[(value >> 2) + 1]) << np.uint64(32)
            )
        for lane in range(LANES):
            out[lane] = word
    if slot[2] & NEG:
        for lane in range(LANES):
            out[lane] = np.uint64(0) - out[lane]


@inner
def predicate(out, slot, predicates, uniform_predicates):
    """Read a predicate operand into uint8[32]; an absent one reads as false."""
    kind, value = slot[0], slot[1]
    flip = np.uint8(1) if slot[2] & INV else np.uint8(0)
    if kind == PRED:
        for lane in range(LANES):
            out[lane] = predicates[value, lane] ^ flip
    else:
        bit = uniform_predicates[value] ^ flip if kind == UPRED else np.uint8(0)
        for lane in range(LANES):
            out[lane] = bit


@inner
def first_active(active):
    """Return the lowest active lane (0 where there is none)."""
    for lane in range(LANES):
        if active[lane]:
            return lane
    return 0


@inner
def write(slot, value, active, regs, uniform):
    """Write a 32-bit result to the active lanes of a general register, or to a uniform register."""
    number = slot[1]
    if slot[0] == REG:
        if number != RZ:
            for lane in range(LANES):
                if active[lane]:
                    regs[number, lane] = value[lane]
    elif number != URZ:
        uniform[number] = value[first_active(active)]


@inner
def write_wide(slot, value, active, regs, uniform):
    """Write a 64-bit result to a register pair."""
    number = slot[1]
    if slot[0] == REG:
        if number != RZ:
            for lane in range(LANES):
                if active[lane]:
                    regs[number, lane] = np.uint32(value[lane] & np.uint64(0xFFFFFFFF))
                    regs[number + 1, lane] = np.uint32(value[lane] >> np.uint64(32))
    elif number != URZ:
        lane = first_active(active)
        uniform[number] = np.uint32(value[lane] & np.uint64(0xFFFFFFFF))
        uniform[number + 1] = np.uint32(value[lane] >> np.uint64(32))


@inner
def write_predicate(slot, value, active, predicates, uniform_predicates):
    """Write a predicate result (uint8[32]); PT, UPT and an absent destination swallow it."""
    number = slot[1]
    if number == PT or slot[0] == NONE:
        return
    if slot[0] == PRED:
        for lane in range(LANES):
            if active[lane]:
                predicates[number, lane] = value[lane]
    else:
        uniform_predicates[number] = value[first_active(active)]
