"""Where groups lie along K: their sizes, and their borders in the steps of a kernel's tensor instruction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

STEP_COLUMNS = 32  # K of mma.m16n8k32 on 8-bit operands
TAIL_EXPONENT = 2.0  # outlier profile: the share of channels beyond a magnitude falls with its square
PROFILES = ("outliers", "even")

Sizes = tuple[int, ...]


def group_sizes(k: int, groups: int, profile: str) -> Sizes:
    """Return how many of ``k`` channels each group has, the one of the largest magnitudes first.

    ``even``: equal shares. ``outliers``: the logarithms of the channels' magnitudes follow a Laplace distribution, so
    that the largest of 4096 is about 64 times the median; a few channels are in each of the first groups.
    """
    if profile == "even":
        edges = [round(k * g / groups) for g in range(groups + 1)]
        return tuple(after - before for before, after in pairwise(edges))
    share = (np.arange(k) + 0.5) / k  # of channels that are larger
    tail = np.minimum(share, 1 - share) * 2
    octaves = np.where(share < 0.5, 1.0, -1.0) * -np.log2(tail) / TAIL_EXPONENT
    below = np.floor(octaves[0] - octaves).astype(int)
    return tuple(np.bincount(np.minimum(below, groups - 1), minlength=groups).tolist())


def aligned(sizes: Sequence[int], step: int = STEP_COLUMNS) -> Sizes:
    """Move each border up to the next multiple of ``step``: channels join the group of the next larger scale.

    Nothing clips; their scale is coarser than need be.
    """
    total = sum(sizes)
    edges = [0, *(min(total, -(-edge // step) * step) for edge in accumulate(sizes))]
    return tuple(after - before for before, after in pairwise(edges))


def padded_columns(sizes: Sequence[int], step: int = STEP_COLUMNS) -> int:
    """Return K when each group is filled up with zeros to a multiple of ``step`` instead."""
    return sum(-(-size // step) * step for size in sizes)


def borders(sizes: Sequence[int], step: int = STEP_COLUMNS) -> npt.NDArray[np.uint32]:
    """Return, for each group but the first, the step before which it begins; ``sizes`` must be aligned."""
    edges = list(accumulate(sizes))[:-1]
    if any(edge % step for edge in edges if edge != sum(sizes)):
        raise ValueError(f"groups of {tuple(sizes)} do not end at multiples of {step}")
    return np.array([-(-edge // step) for edge in edges], np.uint32)


def positions(sizes: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return for each column how often its products are still doubled: G - g."""
    return np.repeat(np.arange(len(sizes))[::-1], sizes)
