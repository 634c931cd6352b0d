"""The twin's integer and predicate operations, written from what the instructions mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.exec.reference_state import LANES, Array, Step
from sim.isa import opcodes as o
from sim.isa.opcodes import Op

Meaning = Callable[[Step], None]
MEANINGS: dict[Op, Meaning] = {}
_WORD = 1 << 32


def meaning(*operations: Op) -> Callable[[Meaning], Meaning]:
    """Register what an operation does."""

    def register(function: Meaning) -> Meaning:
        MEANINGS.update(dict.fromkeys(operations, function))
        return function

    return register


def unsigned(values: Array) -> Array:
    """Return mathematical integers (object or int64 array) modulo 2^32 as uint32."""
    return np.array([int(value) % _WORD for value in values], np.uint32)


def numbers(values: Array) -> Array:
    """Return an integer array as Python integers, which do not overflow."""
    return values.astype(object)


@meaning(Op.NOP, Op.MARKER, Op.COPY_COMMIT, Op.COPY_WAIT, Op.MEMBAR)
def nothing(step: Step) -> None:
    """Do nothing that a single CTA run in order could see."""


@meaning(Op.MOV, Op.R2UR)
def move(step: Step) -> None:
    """Copy a word."""
    step.write(0, step.integer(1))


@meaning(Op.IADD)
def add(step: Step) -> None:
    """Add two words."""
    step.write(0, unsigned(numbers(step.integer(1)) + numbers(step.integer(2))))


@meaning(Op.IADD3)
def add3(step: Step) -> None:
    """Add three words and, with .X, two carries; the sum's upper part is the carry out."""
    total = np.zeros(LANES, object)
    for index in (3, 4, 5):
        word = numbers(step.bits(index))
        if step.slots[index].has(o.NEG):
            word = _WORD - word  # complement plus one, carry included
        elif step.slots[index].has(o.INV):
            word = _WORD - 1 - word
        total = total + word
    if step.modified(o.CARRY_IN):
        total = total + step.truth(6).astype(object) + step.truth(7).astype(object)
    carry = np.array([int(value) // _WORD for value in total])
    step.write(0, unsigned(total))
    step.write_truth(1, carry >= 1)
    step.write_truth(2, carry >= 2)


@meaning(Op.IADD64)
def add_pairs(step: Step) -> None:
    """Add three 64-bit words."""
    total = sum((numbers(step.pair(index)) for index in (1, 2, 3)), np.zeros(LANES, object))
    step.write_pair(0, np.array([int(value) % (1 << 64) for value in total], np.uint64))


@meaning(Op.IMAD)
def multiply_add(step: Step) -> None:
    """Multiply two words and add a third, or a pair for .WIDE and .HI."""
    product = numbers(step.number(1)) * numbers(step.number(2))
    if not step.modified(o.WIDE_RESULT | o.HIGH):
        carry = step.truth(4).astype(object) if step.modified(o.CARRY_IN) else 0
        step.write(0, unsigned(product + numbers(step.integer(3)) + carry))
        return
    total = np.array([int(value) % (1 << 64) for value in product + numbers(step.pair(3))], np.uint64)
    if step.modified(o.WIDE_RESULT):
        step.write_pair(0, total)
    else:
        step.write(0, (total >> np.uint64(32)).astype(np.uint32))


@meaning(Op.LEA)
def load_effective_address(step: Step) -> None:
    """Add a shifted word, or for .HI the upper word of a shifted pair."""
    low, addend = numbers(step.integer(2)), numbers(step.integer(3))
    if not step.modified(o.HIGH):
        scaled, carry_in = low * (1 << step.slots[4].value) % _WORD, step.truth(6)
    elif step.modified(o.SIGN_EXTEND):
        whole = numbers(step.integer(2).view(np.int32))
        scaled, carry_in = whole * (1 << step.slots[4].value) // _WORD % _WORD, step.truth(5)
    else:
        whole = numbers(step.integer(4)) * _WORD + low
        scaled, carry_in = whole * (1 << step.slots[5].value) // _WORD % _WORD, step.truth(6)
    total = scaled + addend + (carry_in.astype(object) if step.modified(o.CARRY_IN) else 0)
    step.write(0, unsigned(total))
    step.write_truth(1, np.array([int(value) >= _WORD for value in total]))


def table_lookup(table: int, a: Array, b: Array, c: Array) -> Array:
    """Look up each bit triple (a is the highest index bit) in an eight-entry truth table."""
    index = 4 * a.astype(int) + 2 * b.astype(int) + c.astype(int)
    entries = np.array([bool(table >> entry & 1) for entry in range(8)])
    return np.asarray(entries[index])


def to_bits(words: Array) -> Array:
    """Return uint32[32] as bool[32 lanes, 32 bits], lowest bit first."""
    return (words[:, None] >> np.arange(32, dtype=np.uint32) & 1).astype(bool)


def from_bits(bits: Array) -> Array:
    """Return bool[32, 32] as words."""
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint32).reshape(LANES)


@meaning(Op.LOP3)
def logic3(step: Step) -> None:
    """Any logic function of three words; the predicate says whether the result is nonzero."""
    a, b, c = (to_bits(step.integer(index)) for index in (2, 3, 4))
    result = from_bits(table_lookup(step.slots[5].value, a, b, c))
    other = step.truth(6)
    step.write(1, result)
    step.write_truth(0, (result != 0) & other if step.modified(o.PRED_AND) else (result != 0) | other)


@meaning(Op.PLOP3)
def predicate_logic3(step: Step) -> None:
    """Two logic functions of the same three predicates."""
    sources = [step.truth(index) for index in (2, 3, 4)]
    first = table_lookup(step.slots[5].value, *sources)
    second = table_lookup(step.slots[6].value, *sources)
    step.write_truth(0, first)
    step.write_truth(1, second)


@meaning(Op.SHF)
def funnel_shift(step: Step) -> None:
    """Shift a pair (low, amount, high), keep one word of it."""
    low, amount, high = (numbers(step.integer(index)) for index in (1, 2, 3))
    width = 64 if step.modified(o.DOUBLE) else 32
    amount = amount % width if step.modified(o.WRAP) else np.minimum(amount, width)
    value = high * _WORD + low
    if not step.modified(o.UNSIGNED):
        value = np.where(value >= 1 << 63, value - (1 << 64), value)
    shifts = [int(each) for each in amount]
    if step.modified(o.LEFT):
        value = np.array([int(v) << s for v, s in zip(value, shifts, strict=True)], object)
    else:
        value = np.array([int(v) >> s for v, s in zip(value, shifts, strict=True)], object)
    step.write(0, unsigned(value // _WORD if step.modified(o.HIGH) else value))


@meaning(Op.PRMT)
def permute(step: Step) -> None:
    """Pick four of eight bytes; bit 3 of a selector replicates the byte's sign."""
    pool = np.stack([step.integer(1), step.integer(3)], axis=1).view(np.uint8)  # [32, 8]
    selectors = step.integer(2)[:, None] >> np.array([0, 4, 8, 12], np.uint32) & 15
    picked = np.take_along_axis(pool, (selectors & 7).astype(int), axis=1)
    signs = np.where(picked >= 128, 255, 0)
    step.write(0, np.where(selectors & 8, signs, picked).astype(np.uint8))


@meaning(Op.SEL)
def select(step: Step) -> None:
    """Choose by a predicate."""
    step.write(0, np.where(step.truth(3), step.integer(1), step.integer(2)))


@meaning(Op.IMNMX)
def minimum_maximum(step: Step) -> None:
    """The minimum where the predicate holds, elsewhere the maximum."""
    a, b = step.number(1), step.number(2)
    step.write(0, unsigned(np.where(step.truth(3), np.minimum(a, b), np.maximum(a, b))))


_ORDERED = {
    o.LT: np.less,
    o.LE: np.less_equal,
    o.GT: np.greater,
    o.GE: np.greater_equal,
    o.EQ: np.equal,
    o.NE: np.not_equal,
}


def compared(code: int, a: Array, b: Array) -> Array:
    """Compare by a comparison code, NaN by its unordered bit."""
    nan = np.isnan(a) | np.isnan(b)
    base = code & ~o.UNORDERED
    result = np.ones(LANES, bool) if base == o.NUM else _ORDERED[base](a, b)
    return np.where(nan, bool(code & o.UNORDERED), result)


def joined(step: Step, result: Array, other: Array) -> tuple[Array, Array]:
    """Join a comparison and its complement with a predicate."""
    how = {o.AND: np.logical_and, o.OR: np.logical_or, o.XOR: np.logical_xor}[step.modifiers & o.JOIN_MASK]
    return how(result, other), how(~result, other)


@meaning(Op.ISETP)
def set_predicate(step: Step) -> None:
    """Compare integers; .EX compares upper words, whose tie the lower words' result decides."""
    a, b = step.number(2), step.number(3)
    result = compared(step.modifiers & o.COMPARE_MASK, a, b)
    if step.modified(o.EX):
        result = np.where(a == b, step.truth(5), result)
    first, second = joined(step, result, step.truth(4))
    step.write_truth(0, first)
    step.write_truth(1, second)


@meaning(Op.VIADDMNMX)
def add_minimum_maximum(step: Step) -> None:
    """The minimum (maximum) of a wrapped sum and a third word."""
    total = unsigned(numbers(step.integer(1)) + numbers(step.integer(2)))
    first = total.astype(np.int64) if step.modified(o.UNSIGNED) else total.view(np.int32).astype(np.int64)
    third = step.number(3)
    step.write(0, unsigned(np.where(step.truth(4), np.minimum(first, third), np.maximum(first, third))))


@meaning(Op.IDP)
def dot_product(step: Step) -> None:
    """Four byte products added to a word."""
    first, second = (step.integer(index)[:, None].copy() for index in (1, 2))
    a = first.view(np.int8 if step.modified(o.FIRST_SIGNED) else np.uint8).astype(np.int64)
    b = second.view(np.int8 if step.modified(o.SECOND_SIGNED) else np.uint8).astype(np.int64)
    step.write(0, unsigned((a * b).sum(axis=1) + step.integer(3)))


@meaning(Op.BMSK)
def bit_mask(step: Step) -> None:
    """So many ones from a position on; .W takes both modulo 32, else bits beyond the word are dropped."""
    start, width = step.integer(1).astype(object), step.integer(2).astype(object)
    if step.modified(o.WRAP):
        start, width = start % 32, width % 32
    ones = [((1 << min(int(w), 32)) - 1) << min(int(s), 32) for s, w in zip(start, width, strict=True)]
    step.write(0, unsigned(np.array(ones, object)))


@meaning(Op.IABS)
def absolute(step: Step) -> None:
    """Absolute value of a signed word."""
    step.write(0, unsigned(np.abs(step.integer(1).view(np.int32).astype(np.int64))))


@meaning(Op.SGXT)
def extend(step: Step) -> None:
    """Keep the lowest bits and extend them by the sign or by zeros."""
    results = []
    widths = step.integer(2)
    widths = widths & np.uint32(31) if step.modified(o.WRAP) else np.minimum(widths, 32)
    for value, bits in zip(step.integer(1), widths, strict=True):
        kept = int(value) % (1 << int(bits))
        negative = bits > 0 and kept >> (int(bits) - 1) & 1 and not step.modified(o.UNSIGNED)
        results.append(kept - (1 << int(bits)) if negative else kept)
    step.write(0, unsigned(np.array(results, object)))


@meaning(Op.BREV)
def reverse(step: Step) -> None:
    """Reverse the bits."""
    step.write(0, from_bits(to_bits(step.integer(1))[:, ::-1]))


@meaning(Op.POPC)
def count_ones(step: Step) -> None:
    """Count the ones."""
    step.write(0, to_bits(step.integer(1)).sum(axis=1).astype(np.uint32))


@meaning(Op.FLO)
def find_leading_one(step: Step) -> None:
    """Number of the highest one, or the shift that would bring it to the top; all ones where there is none."""
    words = step.number(1)  # of a negative number: the highest zero
    highest = np.array([int(value if value >= 0 else ~value).bit_length() - 1 for value in words])
    found = 31 - highest if step.modified(o.SHIFT_AMOUNT) else highest
    step.write(0, unsigned(np.where(highest < 0, -1, found)))
