"""What it costs that a group ends where a tensor instruction does: zeros that are multiplied, or coarser scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from workloads.tender.decomposition import F64, Format, decompose
from workloads.tender.integer import linear, quantize_weights
from workloads.tender.layout import STEP_COLUMNS, Sizes, aligned
from workloads.tender.synthetic import sqnr_db

TimeOf = Callable[
    [Sizes], float
]  # µs of a matmul whose groups have these sizes, each a number of whole steps
OUTPUTS = 64  # of the matmul whose error is measured


@dataclass(frozen=True)
class Grouping:
    """One way to make groups end at multiples of a step: ``padded`` or ``aligned``."""

    way: str
    sizes: Sizes  # as multiplied, zeros included
    time_us: float
    sqnr_db: float  # of the product, against floating point
    overflows: int  # of INT32 while it was summed: many groups of INT8 codes do not fit

    @property
    def columns(self) -> int:
        """K as multiplied."""
        return sum(self.sizes)


@dataclass(frozen=True)
class GroupingCost:
    """Both ways for one set of channels."""

    channels: int
    step: int
    sizes: Sizes  # of the groups as they are
    padded: Grouping
    aligned: Grouping

    @property
    def padded_share(self) -> float:
        """Zeros among the columns that are multiplied if groups are padded."""
        return 1 - self.channels / self.padded.columns

    @property
    def extra_us(self) -> float:
        """What padding takes longer."""
        return self.padded.time_us - self.aligned.time_us

    @property
    def lost_db(self) -> float:
        """What alignment loses."""
        return self.padded.sqnr_db - self.aligned.sqnr_db


def padded(sizes: Sizes, step: int = STEP_COLUMNS) -> Sizes:
    """Return the sizes of groups that are each filled up with zeros to a multiple of ``step``."""
    return tuple(-(-size // step) * step for size in sizes)


def grouping_cost(
    maxima: F64, how: Format, time_of: TimeOf, step: int = STEP_COLUMNS, seed: int = 0
) -> GroupingCost:
    """Compare padding with alignment for channels of these largest magnitudes [k].

    The errors are measured: a chunk of normal activations is drawn whose channels have just these maxima, quantized
    both ways and multiplied by normal weights in integers. ``time_of`` says how long a matmul with such groups takes.
    """
    random = np.random.default_rng(seed)
    x = with_maxima(maxima, how.chunk_rows, random)
    weight = random.standard_normal((OUTPUTS, len(maxima))) / len(maxima) ** 0.5
    codes, exact = quantize_weights(weight, how.bits), x @ weight.T
    free, stepped = replace(how, step_channels=1), replace(how, step_channels=step)
    sizes = decompose(x, free).sizes(how.groups)
    ways = (("padded", free, padded(sizes, step)), ("aligned", stepped, _whole(aligned(sizes, step), step)))
    found = []
    for way, each, columns in ways:
        product = linear(x, codes, each)
        noise = sqnr_db(exact, product.y)
        found.append(Grouping(way, columns, time_of(columns), noise, product.overflows))
    return GroupingCost(len(maxima), step, sizes, *found)


def with_maxima(maxima: F64, rows: int, random: np.random.Generator) -> F64:
    """Draw [rows, k] of normal numbers, each channel scaled to the given largest magnitude."""
    drawn = random.standard_normal((rows, len(maxima)))
    scaled: F64 = drawn * (maxima / np.abs(drawn).max(axis=0))
    return scaled


def _whole(sizes: Sizes, step: int) -> Sizes:
    """Fill up the last group, whose end is K's."""
    return (*sizes[:-1], sizes[-1] + -sum(sizes) % step)
