"""The designs that are synthesized, what each computes, and the numbers that it is given to compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sim.arch.accumulator import Design, Overflow, Unit

I64 = npt.NDArray[np.int64]
Sizes = tuple[tuple[Unit, int, int], ...]  # operand bits, length
OVERFLOWS: tuple[Overflow, ...] = ("wrap", "saturate")
WIDTHS = (16, 20, 24, 28, 32, 36, 40)
RANGES = (1, 2, 3, 4)
UNITS: Sizes = (("pe", 4, 1), ("pe", 8, 1), ("dot", 8, 8))  # over all widths
LONGER: Sizes = (("dot", 8, 4), ("dot", 8, 16), ("dot", 8, 32), ("dot", 4, 32))  # at 32 bits
PAIRS = 512  # of one operation and the next
SEED = 0
LENGTH_OF_SUM = 2048  # products in the accumulators that come in: half of K = 4096
DEVIATIONS = 4  # of operands, up to the largest code


@dataclass(frozen=True)
class Operation:
    """What a unit is given, for many pairs side by side: a and b [pairs, length], c and shift [pairs]."""

    a: I64
    b: I64
    c: I64  # what its accumulator holds
    shift: I64  # by how many bits


def designs() -> Iterator[Design]:
    """Yield every design: for each unit, width and way to overflow, plain and with each shifter."""
    for unit, bits, length in UNITS:
        for width in WIDTHS:
            for overflow in OVERFLOWS:
                yield from variants(unit, bits, length, width, overflow)
    for unit, bits, length in LONGER:
        yield from variants(unit, bits, length, 32, "wrap")


def variants(unit: Unit, bits: int, length: int, width: int, overflow: Overflow) -> Iterator[Design]:
    """Yield a unit without a shifter, then with each one at each place."""
    plain = Design(
        unit=unit,
        operand_bits=bits,
        length=length,
        width_bits=width,
        overflow=overflow,
        position="none",
        shift_range=0,
    )
    yield plain
    for position in ("c_path", "behind_adder"):
        for reach in RANGES:
            yield plain.model_copy(update={"position": position, "shift_range": reach})


def kept(design: Design, wide: I64) -> I64:
    """Return sums as the accumulator keeps them."""
    half = np.int64(1) << (design.width_bits - 1)
    if design.overflow == "saturate":
        return np.clip(wide, -half, half - 1)
    wrapped: I64 = ((wide + half) & (2 * half - 1)) - half
    return wrapped


def result(design: Design, given: Operation) -> I64:
    """Return what a unit computes, [pairs]."""
    shifted = kept(design, given.c << given.shift)
    added = kept(design, shifted + (given.a * given.b).sum(axis=-1))
    return np.where(given.shift > 0, shifted, added) if design.position == "behind_adder" else added


def control(design: Design, shift: I64) -> I64:
    """Return the three control bits: see the Verilog."""
    if design.position == "behind_adder":
        return np.where(shift > 0, 1 | (shift - 1) << 1, 0)
    return shift


def operations(design: Design, kind: str) -> tuple[Operation, Operation, Operation | None]:
    """Draw pairs: an operation, the next one, and that next one shifting instead (None without a shifter).

    Operands are ``gaussian`` with the largest code at 4 deviations, or ``uniform``; the same for all variants.
    """
    random = np.random.default_rng(SEED)
    first, second = (_drawn(design, kind, random) for _ in range(2))
    if design.unit == "pe":  # its own sum
        second = replace(second, c=result(design, first))
    if design.position == "none":
        return first, second, None
    shift = random.integers(1, design.shift_range + 1, PAIRS)
    if design.position == "behind_adder":  # a cycle without multiplication: the operands stay
        return first, second, replace(second, a=first.a, b=first.b, shift=shift)
    return first, second, replace(second, shift=shift)


def _drawn(design: Design, kind: str, random: np.random.Generator) -> Operation:
    largest = 2 ** (design.operand_bits - 1) - 1
    shape = (PAIRS, design.length)
    if kind == "gaussian":
        deviation = largest / DEVIATIONS
        a, b = (np.rint(random.normal(0, deviation, shape)).clip(-largest, largest) for _ in range(2))
    else:
        deviation = (largest + 0.5) / 3**0.5
        a, b = (random.integers(-largest - 1, largest + 1, shape) for _ in range(2))
    half = 2.0 ** (design.width_bits - 1)
    c = random.normal(0, deviation**2 * LENGTH_OF_SUM**0.5, PAIRS).clip(-half, half - 1)
    return Operation(a.astype(np.int64), b.astype(np.int64), c.astype(np.int64), np.zeros(PAIRS, np.int64))
