"""Activations with outlier channels, their decomposition, and accumulators of any width: what studies vary.

The channels' magnitudes follow the profile of ``layout.group_sizes``: logarithms of a Laplace distribution, the largest
of 4096 about 64 times the median, as published for LLM activations. They are synthetic and no measure of any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.tender.layout import TAIL_EXPONENT

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
MODES = ("wrap", "saturate")
STEP = 32  # products that one tensor instruction adds before the accumulator is written


@dataclass(frozen=True)
class Decomposed:
    """Codes in group order: columns of group 1, the largest scale, first."""

    codes: I64  # [m, k]
    order: I64  # [k]: the channel of each column
    sizes: tuple[int, ...]
    scale: float  # of the last group; each one before it has twice its successor's


@dataclass(frozen=True)
class Accumulated:
    """Sums of a narrow accumulator."""

    sums: I64  # [m, n]
    overflows: int  # of the steps of all sums, how many left the range
    steps: int  # of all sums
    widest_bits: int  # that the sums would have needed, sign included


def activations(m: int, k: int, generator: np.random.Generator) -> F64:
    """Draw [m, k]: normal within a channel, the channels' magnitudes by the profile, in random order."""
    share = (np.arange(k) + 0.5) / k
    tail = np.minimum(share, 1 - share) * 2
    octaves = np.where(share < 0.5, 1.0, -1.0) * -np.log2(tail) / TAIL_EXPONENT
    magnitudes: F64 = np.exp2(generator.permutation(octaves))
    drawn: F64 = generator.standard_normal((m, k)) * magnitudes
    return drawn


def decompose(x: F64, groups: int, bits: int, alpha: int = 2) -> Decomposed:
    """Group channels by their largest magnitude: group g holds those in (T / alpha^g, T / alpha^(g - 1)]."""
    largest = 2 ** (bits - 1) - 1
    peaks = np.maximum(np.abs(x).max(axis=0), np.finfo(np.float64).tiny)
    top = float(peaks.max())
    own = np.floor(np.log(top / peaks) / np.log(alpha) + 1e-12).astype(np.int64).clip(0, groups - 1)
    order = np.argsort(own, kind="stable")
    scales = top / largest / float(alpha) ** own[order]
    codes = np.rint(x[:, order] / scales).clip(-largest - 1, largest).astype(np.int64)
    sizes = tuple(int(count) for count in np.bincount(own, minlength=groups))
    return Decomposed(codes, order, sizes, top / largest / float(alpha) ** (groups - 1))


def step_sums(codes: I64, weights: I64, sizes: tuple[int, ...]) -> list[I64 | None]:
    """Return what each step of STEP products adds to the sums [m, n], in order; None is a border.

    codes [m, k] and weights [n, k] of at most 16 bits, in group order. Floats hold such sums exactly, and BLAS is fast.
    """
    x, w = codes.astype(np.float64), weights.astype(np.float64).T
    found: list[I64 | None] = []
    first = 0
    for number, size in enumerate(sizes):
        found += [None] if number else []
        for begin in range(first, first + size, STEP):
            end = min(begin + STEP, first + size)
            found.append((x[:, begin:end] @ w[begin:end]).astype(np.int64))
        first += size
    return found


def accumulate(
    codes: I64, weights: I64, sizes: tuple[int, ...], width: int = 64, mode: str = "wrap", shift: int = 1
) -> Accumulated:
    """Run the integer path: steps of STEP products, sums shifted left at each border, kept in ``width`` bits.

    codes [m, k] and weights [n, k] in group order. ``wrap`` keeps the low bits, ``saturate`` the nearest number.
    """
    return hold(step_sums(codes, weights, sizes), width, mode, shift)


def hold(steps: Sequence[I64 | None], width: int = 64, mode: str = "wrap", shift: int = 1) -> Accumulated:
    """Run the integer path over the sums of its steps."""
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    first = next(each for each in steps if each is not None)
    sums = np.zeros_like(first)
    peak, overflows = 0, 0
    for each in steps:
        wide = sums << shift if each is None else sums + each
        least, most = int(wide.min(initial=0)), int(wide.max(initial=0))
        peak = max(peak, -least, most)
        if low <= least and most <= high:
            sums = wide
            continue
        overflows += int(((wide < low) | (wide > high)).sum())
        sums = np.clip(wide, low, high) if mode == "saturate" else _wrapped(wide, width)
    return Accumulated(sums, overflows, len(steps) * first.size, peak.bit_length() + 1)


def _wrapped(values: I64, width: int) -> I64:
    if width >= 64:
        return values
    half = np.int64(1) << (width - 1)
    kept: I64 = ((values + half) & ((np.int64(1) << width) - 1)) - half
    return kept


def quantized_rows(weight: F64, bits: int) -> tuple[I64, F64]:
    """Return symmetric codes [n, k] and a scale per row [n]."""
    largest = 2 ** (bits - 1) - 1
    scales: F64 = np.abs(weight).max(axis=1) / largest
    return np.rint(weight / scales[:, None]).astype(np.int64), scales


def sqnr_db(want: F64, got: F64) -> float:
    """Return the signal-to-quantization-noise ratio in dB."""
    noise = float(np.square(got - want).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(np.square(want).sum() / noise))
