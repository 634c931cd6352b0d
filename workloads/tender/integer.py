"""The integer path: groups in order, the accumulator times alpha between them, INT32 that wraps or saturates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from workloads.tender.decomposition import F64, I64, Chunk, Format, chunks_of, decompose, quantize

Overflow = Literal["wrap", "saturate"]
MMA_COLUMNS = 32


@dataclass(frozen=True)
class Accumulator:
    """``bits`` of two's complement, and what happens beyond them."""

    bits: int = 32
    overflow: Overflow = "wrap"

    def hold(self, exact: I64) -> tuple[I64, int]:
        """Return what the accumulator holds of a value, and how many elements did not fit."""
        half = 1 << (self.bits - 1)
        beyond = int(((exact < -half) | (exact >= half)).sum())
        if not beyond:
            return exact, 0
        if self.overflow == "saturate":
            return exact.clip(-half, half - 1), beyond
        return (exact + half) % (2 * half) - half, beyond


INT32 = Accumulator()


@dataclass(frozen=True, eq=False)
class Result:
    """Sums [rows, n] and how often an accumulator did not hold what it should have."""

    sums: I64
    overflows: int


Summing = Callable[[I64, I64, Chunk, Format, Accumulator], Result]


def accumulate(
    codes: I64,
    weights: I64,
    chunk: Chunk,
    how: Format,
    accumulator: Accumulator = INT32,
    columns: int = MMA_COLUMNS,
) -> Result:
    """Return sum_g P_g alpha^(G-g), P_g = codes_g weights_g^T, as the hardware comes by it.

    ``codes`` [rows, k] and ``weights`` [n, k] have their channels in the original order. The accumulator is checked
    after each step of ``columns`` channels and each border; an empty group has a border as well.
    """
    sums = np.zeros((len(codes), len(weights)), np.int64)
    overflows = 0
    for group in range(how.groups):
        if group:
            sums, beyond = accumulator.hold(sums * how.alpha)
            overflows += beyond
        members = np.flatnonzero(chunk.group == group)
        for first in range(0, len(members), columns):
            step = members[first : first + columns]
            sums, beyond = accumulator.hold(sums + codes[:, step] @ weights[:, step].T)
            overflows += beyond
    return Result(sums, overflows)


def accumulate_floats(codes: I64, weights: I64, chunk: Chunk, how: Format) -> npt.NDArray[np.float32]:
    """Return the same sum as explicit requantization comes by it: each group's INT32 to FP32, times its worth, added.

    FP32 rounds once per group to convert and once to multiply and add, in the groups' order.
    """
    total = np.zeros((len(codes), len(weights)), np.float32)
    for group in range(how.groups):
        members = chunk.group == group
        part = (codes[:, members] @ weights[:, members].T).astype(np.float32)
        worth = float(how.alpha) ** (how.groups - 1 - group)
        # the product has 48 bits or fewer; its sum with 24 more is one rounding away from the fused one
        total = (total.astype(np.float64) + part.astype(np.float64) * worth).astype(np.float32)
    return total


def accumulate_at_once(
    codes: I64, weights: I64, chunk: Chunk, how: Format, accumulator: Accumulator = INT32
) -> Result:
    """Return the sums of ``accumulate`` by one float64 matmul, the groups' worth in the codes: for whole models.

    Its products and sums are integers below 2^53, so exact; and an accumulator that wraps holds at the end what it
    would hold after wrapping at every step. Overflows are counted at the end only.
    """
    wide = codes * float(how.alpha) ** (how.groups - 1 - chunk.group)
    most = float(np.abs(wide).max(initial=0)) * float(np.abs(weights).max(initial=0)) * wide.shape[1]
    if most >= 2.0**53 or accumulator.overflow != "wrap":
        return accumulate(codes, weights, chunk, how, accumulator)
    exact = wide @ weights.T.astype(np.float64)
    return Result(*accumulator.hold(exact.astype(np.int64)))


@dataclass(frozen=True, eq=False)
class Weights:
    """Symmetric codes [n, k] with a scale per output, and the floating-point weights for the biases' share."""

    codes: I64
    scales: F64  # [n]
    exact: F64  # [n, k]


def quantize_weights(weight: F64, bits: int) -> Weights:
    """Scale each output's weights by their largest magnitude, ties to even."""
    largest = 2 ** (bits - 1) - 1
    scales = np.maximum(np.abs(weight).max(axis=1) / largest, 1e-9)
    codes = np.rint(weight / scales[:, None]).clip(-largest - 1, largest).astype(np.int64)
    return Weights(codes, scales, weight)


@dataclass(frozen=True, eq=False)
class Output:
    """Y [m, n] and the overflows of its accumulators."""

    y: F64
    overflows: int


def linear(
    x: F64,
    weights: Weights,
    how: Format,
    known: list[Chunk] | None = None,
    accumulator: Accumulator = INT32,
    summing: Summing = accumulate,
) -> Output:
    """Multiply X [m, k] by the weights' transpose; ``known`` are the calibrated chunks, by default x decides.

    The biases' share, bias W^T, is added in floating point with the weights before quantization. ``summing`` is
    ``accumulate``, or ``accumulate_at_once``, which gives the same sums.
    """
    rows, overflows = [], 0
    for position, chunk in enumerate(chunks_of(x, how)):
        own = decompose(chunk, how) if known is None else known[position]
        result = summing(quantize(chunk, own, how), weights.codes, own, how, accumulator)
        last = own.scales(how)[-1]
        rows.append(result.sums * last * weights.scales + own.bias @ weights.exact.T)
        overflows += result.overflows
    return Output(np.vstack(rows)[: len(x)], overflows)
