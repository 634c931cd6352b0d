"""The twin's FP32 and packed-half operations: exact arithmetic (fractions where FP64 is not exact), rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sim.exec.reference_integer import compared, joined, meaning
from sim.exec.reference_state import LANES, Array, Step, flushed
from sim.isa import opcodes as o
from sim.isa.opcodes import Op

NEAREST, UP, DOWN, ZERO = range(4)
_TO_WHOLE: dict[int, Callable[[Fraction], int]] = {
    NEAREST: round,
    UP: math.ceil,
    DOWN: math.floor,
    ZERO: math.trunc,
}
_SPECIAL: dict[int, Callable[[Array], Array]] = {
    o.MUFU_RCP: lambda x: 1 / x,
    o.MUFU_EX2: np.exp2,
    o.MUFU_RSQ: lambda x: 1 / np.sqrt(x),
    o.MUFU_SQRT: np.sqrt,
    o.MUFU_LG2: np.log2,
    o.MUFU_TANH: np.tanh,
}


@dataclass(frozen=True)
class Format:
    """A binary floating-point format."""

    precision: int  # significand bits, the hidden one included
    lowest: int  # exponent of the smallest normal number
    highest: int  # exponent of the largest number


FP32, FP16, BF16 = Format(24, -126, 127), Format(11, -14, 15), Format(8, -126, 127)


def rounded(value: Fraction, form: Format, mode: int = NEAREST) -> float:
    """Round an exact nonzero number to a format."""
    magnitude = abs(value)
    exponent = math.floor(math.log2(magnitude.numerator) - math.log2(magnitude.denominator))
    exponent += (magnitude >= Fraction(2) ** (exponent + 1)) - (magnitude < Fraction(2) ** exponent)
    quantum = Fraction(2) ** (max(exponent, form.lowest) - form.precision + 1)
    steps = _TO_WHOLE[mode](value / quantum)
    result = steps * quantum
    largest = (2 - Fraction(2) ** (1 - form.precision)) * Fraction(2) ** form.highest
    if abs(result) > largest:
        away = mode == NEAREST or mode == (UP if value > 0 else DOWN)
        return math.copysign(math.inf if away else float(largest), value)
    return math.copysign(float(abs(result)), value)


def fused(a: Array, b: Array, c: Array, form: Format, mode: int = NEAREST) -> Array:
    """Return a * b + c of FP64 arrays that hold FP32 numbers or narrower ones, rounded once to ``form``."""
    simple = a * b + c  # the product is exact: 48 bits
    results = np.empty(simple.shape, np.float64)
    for place in np.ndindex(simple.shape):
        x, y, z, near = float(a[place]), float(b[place]), float(c[place]), float(simple[place])
        if not math.isfinite(near):
            results[place] = near
            continue
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        if exact:
            results[place] = rounded(exact, form, mode)
        else:
            cancelled = mode == DOWN and (x * y != 0 or math.copysign(1, x * y) != math.copysign(1, z))
            results[place] = -0.0 if cancelled else near
    return results


def mode_of(step: Step) -> int:
    """Return the rounding direction that an opcode's suffix asks for."""
    for bit, mode in ((o.ROUND_UP, UP), (o.ROUND_DOWN, DOWN), (o.ROUND_ZERO, ZERO)):
        if step.modified(bit):
            return mode
    return NEAREST


def write_fp32(step: Step, value: Array) -> None:
    """Write FP32 results: NaN becomes the canonical one, .FTZ flushes subnormals, .SAT clamps to [0, 1]."""
    result = value.astype(np.float32)
    if step.modified(o.SATURATE):
        result = np.where(np.isnan(result), np.float32(0), np.clip(result, 0, 1))
        result = np.where(result == 0, np.float32(0), result)
    result = flushed(result) if step.modified(o.FTZ) else result
    bits = np.where(np.isnan(result), np.uint32(0x7FFFFFFF), result.astype(np.float32).view(np.uint32))
    step.write(0, bits.astype(np.uint32))


@meaning(Op.FADD, Op.FMUL, Op.FFMA)
def fp32_arithmetic(step: Step) -> None:
    """Add, multiply or both, rounded once."""
    operation = Op(step.operation)
    a, b = step.fp32(1).astype(np.float64), step.fp32(2).astype(np.float64)
    if operation == Op.FADD:
        a, b, c = a, np.ones(LANES), b
    elif operation == Op.FMUL:
        c = np.copysign(0.0, a) * np.copysign(1.0, b)  # a zero of the product's own sign changes nothing
    else:
        c = step.fp32(3).astype(np.float64)
    write_fp32(step, fused(a, b, c, FP32, mode_of(step)))


def chosen(a: Array, b: Array, minimum: Array) -> Array:
    """Return the smaller number where ``minimum``, else the larger; a number beats NaN, -0 is below +0."""
    smaller = (a < b) | ((a == b) & np.signbit(a))
    result = np.where(smaller == minimum, a, b)
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, result))


@meaning(Op.FMNMX)
def fp32_minimum_maximum(step: Step) -> None:
    """Minimum or maximum of FP32 numbers."""
    write_fp32(step, chosen(step.fp32(1), step.fp32(2), step.truth(3)))


@meaning(Op.FSEL)
def fp32_select(step: Step) -> None:
    """Choose bits by a predicate."""
    step.write(0, np.where(step.truth(3), step.fp32(1).view(np.uint32), step.fp32(2).view(np.uint32)))


@meaning(Op.FSETP)
def fp32_set_predicate(step: Step) -> None:
    """Compare FP32 numbers."""
    result = compared(step.modifiers & o.COMPARE_MASK, step.fp32(2), step.fp32(3))
    first, second = joined(step, result, step.truth(4))
    step.write_truth(0, first)
    step.write_truth(1, second)


@meaning(Op.FCHK)
def check_division(step: Step) -> None:
    """Whether a division needs its slow path, by the operands' exponents (measured on an H200)."""
    a, b = (step.bits(index) >> np.uint32(23) & np.uint32(0xFF) for index in (1, 2))
    ratio = a.astype(int) - b.astype(int)
    fast = (a > 24) & (a < 255) & (b > 1) & (b < 252) & (ratio >= -124) & (ratio <= 126)
    step.write_truth(0, ~fast)


@meaning(Op.MUFU)
def special_function(step: Step) -> None:
    """Approximations of the hardware, here correctly rounded; subnormals are zeros, but for TANH."""
    keeps = step.modifiers & 15 == o.MUFU_TANH
    value = (step.fp32(1) if keeps else flushed(step.fp32(1))).astype(np.float64)
    result = _SPECIAL[step.modifiers & 15](value).astype(np.float32)
    write_fp32(step, result if keeps else flushed(result))


@meaning(Op.I2F)
def integer_to_fp32(step: Step) -> None:
    """Convert a word; every word is exact in FP64."""
    values = step.number(1)
    if step.modified(o.BYTE | o.SHORT):  # of the lowest bytes
        kind = {o.BYTE: "int8", o.SHORT: "int16"}[step.modifiers & (o.BYTE | o.SHORT)]
        narrow = np.dtype(f"u{kind}" if step.modified(o.UNSIGNED) else kind)
        values = step.integer(1)[:, None].view(narrow)[:, 0].astype(np.int64)
    results = [rounded(Fraction(int(v)), FP32, mode_of(step)) if v else 0.0 for v in values]
    write_fp32(step, np.array(results))


@meaning(Op.F2I)
def fp32_to_integer(step: Step) -> None:
    """Convert to an integer, saturating; NaN is zero."""
    lowest, highest = (0, 2**32 - 1) if step.modified(o.UNSIGNED) else (-(2**31), 2**31 - 1)
    results = []
    for value in step.fp32(1).astype(np.float64):
        if math.isnan(value):
            results.append(0)
        elif math.isinf(value):
            results.append(highest if value > 0 else lowest)
        else:
            whole = _whole(float(value), step)
            results.append(min(max(whole, lowest), highest))
    step.write(0, np.array([each % 2**32 for each in results], np.uint32))


@meaning(Op.FRND)
def fp32_to_whole(step: Step) -> None:
    """Round to a whole FP32 number, keeping the sign of zero."""
    values = step.fp32(1).astype(np.float64)
    whole = [math.copysign(_whole(float(v), step), v) if math.isfinite(v) else v for v in values]
    write_fp32(step, np.array(whole))


def _whole(value: float, step: Step) -> int:
    if step.modified(o.TRUNCATE):
        return math.trunc(value)
    if step.modified(o.ROUND_DOWN):
        return math.floor(value)
    return math.ceil(value) if step.modified(o.ROUND_UP) else round(value)


# ------------------------------------------------------------------------------------------------- 16-bit pairs


def pairs(step: Step, index: int) -> Array:
    """Return a packed source as FP64 numbers [32, 2]."""
    if not step.modified(o.BF16):
        return step.halves(index).astype(np.float64)
    slot = step.slots[index]
    bits = np.ascontiguousarray(step.bits(index)).view(np.uint16).reshape(LANES, 2)
    if slot.flags & (o.H0 | o.H1):
        bits = bits[:, [0, 0] if slot.has(o.H0) else [1, 1]]
    value = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    value = np.abs(value) if slot.has(o.ABS) else value
    return np.negative(value) if slot.has(o.NEG) else value


def pack(step: Step, value: Array) -> Array:
    """Return FP64 numbers [32, 2], already rounded to 16 bits or not, as packed words; NaN is 0x7FFF."""
    if step.modified(o.BF16):
        exact = np.array([rounded(Fraction(v), BF16) if math.isfinite(v) and v else v for v in value.ravel()])
        high = (
            (exact.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16).reshape(value.shape)
        )
    else:
        high = value.astype(np.float16).view(np.uint16)
    result = np.where(np.isnan(value), np.uint16(0x7FFF), high).astype(np.uint16)
    return np.ascontiguousarray(result).view(np.uint32).reshape(LANES)


@meaning(Op.HADD2, Op.HMUL2, Op.HFMA2)
def half_arithmetic(step: Step) -> None:
    """Add, multiply or both on two halves, rounded once."""
    operation = Op(step.operation)
    form = BF16 if step.modified(o.BF16) else FP16
    a, b = pairs(step, 1), pairs(step, 2)
    if operation == Op.HADD2:
        a, b, c = a, np.ones_like(a), b
    elif operation == Op.HMUL2:
        c = np.copysign(0.0, a) * np.copysign(1.0, b)
    else:
        c = pairs(step, 3)
    step.write(0, pack(step, fused(a, b, c, form)))


@meaning(Op.HMNMX2)
def half_minimum_maximum(step: Step) -> None:
    """Minimum or maximum of two halves."""
    step.write(0, pack(step, chosen(pairs(step, 1), pairs(step, 2), step.truth(3)[:, None])))


def half_comparisons(step: Step, a: Array, b: Array, other: Array) -> Array:
    """Compare both halves and join each with a predicate, bool[32, 2]."""
    columns = [compared(step.modifiers & o.COMPARE_MASK, a[:, side], b[:, side]) for side in range(2)]
    return np.stack([joined(step, column, other)[0] for column in columns], axis=1)


@meaning(Op.HSETP2)
def half_set_predicates(step: Step) -> None:
    """The low halves' comparison to the first predicate, the high halves' to the second."""
    result = half_comparisons(step, pairs(step, 2), pairs(step, 3), step.truth(4))
    step.write_truth(0, result[:, 0])
    step.write_truth(1, result[:, 1])


@meaning(Op.HSET2)
def half_set(step: Step) -> None:
    """Masks of ones, or with .BF the number 1.0, where the comparison holds."""
    a, b = step.halves(1).astype(np.float64), step.halves(2).astype(np.float64)
    result = half_comparisons(step, a, b, step.truth(3))
    yes = np.float16(1).view(np.uint16) if step.modified(o.BF16) else np.uint16(0xFFFF)
    step.write(0, np.where(result, yes, np.uint16(0)))


@meaning(Op.HADD2_F32)
def half_add_to_fp32(step: Step) -> None:
    """Add the low halves in FP32."""
    write_fp32(step, pairs(step, 1)[:, 0] + pairs(step, 2)[:, 0])


@meaning(Op.F2FP)
def pack_halves(step: Step) -> None:
    """Round two FP32 numbers to 16 bits: the first becomes the high half."""
    step.write(0, pack(step, np.stack([step.fp32(2), step.fp32(1)], axis=1).astype(np.float64)))
