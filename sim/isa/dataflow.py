"""Which control flow and addresses of a kernel depend on what it loaded: a static, forward analysis of its registers.

Such an instruction may behave differently in any later iteration, however regular it looked so far. Control flow may
also hang on a counter kept in memory, which nobody but the instructions themselves advances.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import numpy as np

from sim.isa.opcodes import Op
from sim.isa.program import I32, Program
from sim.isa.registers import FILES, MEMORY_LOADS, Register, RegisterSets, register_sets

_WORD = 256  # registers of one file in a bit set
_PLACE = {kind: index for index, kind in enumerate(FILES)}
_JUMPS = {Op.BRA, Op.RET, Op.BREAK, Op.WARPSYNC}


class Dependence(IntEnum):
    """What about an instruction depends on loaded data."""

    NONE = 0
    ADDRESS = 1
    CONTROL = 2


@lru_cache(maxsize=8)
def data_dependence(program: Program) -> I32:
    """Return the Dependence of each instruction: of its guard or jump, or only of its address."""
    sets = register_sets(program)
    found = []
    for op, each, before in zip(program.opcode, sets, _taint_before(program, sets), strict=True):
        control = each.guard | (each.reads if Op(int(op)) in _JUMPS else frozenset())
        if before & _bits(control):
            found.append(Dependence.CONTROL)
        else:
            found.append(Dependence.ADDRESS if before & _bits(each.address) else Dependence.NONE)
    return np.array(found, np.int32)


def _bits(registers: frozenset[Register]) -> int:
    return sum(1 << (_WORD * _PLACE[kind] + number) for kind, number in registers)


def _taint_before(program: Program, sets: tuple[RegisterSets, ...]) -> list[int]:
    """Iterate to the fixed point: a result is tainted if a source is, or if it comes from memory."""
    reads = [_bits(each.reads) for each in sets]
    writes = [_bits(each.writes) for each in sets]
    loads = [Op(int(op)) in MEMORY_LOADS for op in program.opcode]
    followers = _followers(program)
    before = [0] * len(sets)
    pending = list(range(len(sets)))
    while pending:
        pc = pending.pop()
        after = before[pc]
        if loads[pc] or after & reads[pc]:
            after |= writes[pc]
        elif not sets[pc].guard:
            after &= ~writes[pc]
        for follower in followers[pc]:
            if after & ~before[follower]:
                before[follower] |= after
                pending.append(follower)
    return before


def _followers(program: Program) -> list[list[int]]:
    """Return where control may go after each instruction; a return may go behind any call."""
    count = len(program)
    returns = [pc + 1 for pc in range(count - 1) if program.opcode[pc] == int(Op.CALL)]
    found = []
    for pc in range(count):
        operation = Op(int(program.opcode[pc]))
        goes_on = [pc + 1] if pc + 1 < count else []
        if operation in (Op.BRA, Op.CALL):
            slot = 1 if operation == Op.BRA else 0
            found.append([*goes_on, int(program.operands[pc, slot, 1]) // 16])
        else:
            found.append([*goes_on, *returns] if operation == Op.RET else goes_on)
    return found
