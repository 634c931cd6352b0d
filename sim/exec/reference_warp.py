"""The twin's operations across lanes and between register files: votes, shuffles, reductions, special registers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce

import numpy as np

from sim.exec.reference_integer import from_bits, meaning, to_bits, unsigned
from sim.exec.reference_state import LANE, LANES, Step
from sim.isa import opcodes as o
from sim.isa.opcodes import Kind, Op

_REDUCTIONS: dict[int, Callable[[int, int], int]] = {
    o.ADD: operator.add, o.MIN: min, o.MAX: max, o.AND_OP: operator.and_, o.OR_OP: operator.or_, o.XOR_OP: operator.xor,
}  # fmt: skip


@meaning(Op.REDUX)
def reduce_lanes(step: Step) -> None:
    """Combine the active lanes' words into one."""
    words = [int(value) for value in step.number(1)[step.active]]
    code = (step.modifiers & o.ATOMIC_MASK) >> o.ATOMIC_SHIFT
    total = reduce(_REDUCTIONS[code], words)
    step.write(0, unsigned(np.full(LANES, total, object)))


@meaning(Op.P2R)
def predicates_to_register(step: Step) -> None:
    """Replace the masked low bits of a word by predicates."""
    bits = to_bits(step.integer(2))
    for number in range(7):
        if step.slots[3].value >> number & 1:
            bits[:, number] = step.warp.predicates[number]
    step.write(1, from_bits(bits))


@meaning(Op.R2P)
def register_to_predicates(step: Step) -> None:
    """Set the masked predicates from a word's low bits."""
    bits = to_bits(step.integer(1))
    for number in range(7):
        if step.slots[2].value >> number & 1:
            step.warp.predicates[number][step.active] = bits[step.active, number]


@meaning(Op.VOTE)
def vote(step: Step) -> None:
    """The active lanes' predicate as a mask, and whether any or all hold."""
    votes = step.truth(2) & step.active
    mask = from_bits(np.tile(votes, (LANES, 1)))
    agreed = bool(votes.any()) if step.modifiers & 15 == o.VOTE_ANY else bool((votes == step.active).all())
    if step.slots[0].kind != Kind.NONE:
        step.write(0, mask)
    step.write_truth(1, np.full(LANES, agreed))


@meaning(Op.SHFL)
def shuffle(step: Step) -> None:
    """Read another lane's word, as PTX defines shfl.sync: clamp in bits 0-4 of c, segment mask in bits 8-12."""
    value, b, c = step.integer(2), step.integer(3).astype(int) & 31, step.integer(4).astype(int)
    clamp, segment = c & 31, c >> 8 & 31
    last, first = LANE & segment | clamp & ~segment & 31, LANE & segment
    source = {
        o.SHFL_IDX: first | b & ~segment & 31,
        o.SHFL_BFLY: LANE ^ b,
        o.SHFL_DOWN: LANE + b,
        o.SHFL_UP: LANE - b,
    }[step.modifiers & 15]
    inside = source >= last if step.modifiers & 15 == o.SHFL_UP else source <= last
    step.write(1, value[np.where(inside, source, LANE)])
    step.write_truth(0, inside)


@meaning(Op.S2R)
def special(step: Step) -> None:
    """Read a special register; CS2R without .32 writes a pair."""
    value = step.warp.special[step.slots[1].value]
    if step.modified(o.DOUBLE):
        step.write_pair(0, value.astype(np.uint64))
    else:
        step.write(0, value)


@meaning(Op.LDC)
def load_constant(step: Step) -> None:
    """Read a constant bank at a per-lane offset."""
    offset = np.full(LANES, step.slots[3].value, np.int64)
    for index in (1, 2):
        if step.slots[index].kind != Kind.NONE:
            offset = offset + step.bits(index).view(np.int32)
    constants = step.warp.memory.constants
    slot = step.slots[0]
    for part in range(2 if step.modified(o.DOUBLE) else 1):
        if slot.value != (o.RZ if slot.kind == Kind.REG else o.URZ):
            step.write_register(slot.kind, slot.value + part, constants[offset // 4 + part])
