"""Activations with outlier channels, their decomposition, and accumulators of any width: what studies vary.

The channels' magnitudes follow the profile of ``layout.group_sizes``: logarithms of a Laplace distribution, the largest
of 4096 about 64 times the median, as published for LLM activations. They are synthetic and no measure of any model.
"""

from __future__ import annotations

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


def accumulate(
    codes: I64, weights: I64, sizes: tuple[int, ...], width: int = 64, mode: str = "wrap", shift: int = 1
) -> Accumulated:
    """Run the integer path: steps of STEP products, sums shifted left at each border, kept in ``width`` bits.

    codes [m, k] and weights [n, k] in group order. ``wrap`` keeps the low bits, ``saturate`` the nearest number.
    """
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    sums = np.zeros((len(codes), len(weights)), np.int64)
    exact_peak, overflows, steps, first = 0, 0, 0, 0
    for number, size in enumerate(sizes):
        parts = [(first + at, min(first + at + STEP, first + size)) for at in range(0, size, STEP)]
        for begin, end in [*([(first, first)] if number else []), *parts]:
            wide = sums << shift if begin == end else sums + codes[:, begin:end] @ weights[:, begin:end].T
            outside = (wide < low) | (wide > high)
            overflows, steps = overflows + int(outside.sum()), steps + wide.size
            exact_peak = max(exact_peak, int(np.abs(wide).max(initial=0)))
            sums = np.clip(wide, low, high) if mode == "saturate" else _wrapped(wide, width)
        first += size
    return Accumulated(sums, overflows, steps, exact_peak.bit_length() + 1)


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
