"""Tables of 2^bits values in [-1, 1] that quantized weights index: normal quantiles, equidistant, fitted to weights."""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array

Half = npt.NDArray[np.float16]

QUANTILE = 0.9677083  # of the outermost value of NormalFloat (QLoRA, arXiv:2305.14314)
CELLS = 8192  # of [-1, 1], within which the nearest entry is looked up
ROUNDS = 40  # of Lloyd's algorithm
_CLIPS = {4: (1.0,), 3: (1.0, 0.85, 0.7), 2: (1.0, 0.8, 0.65, 0.5, 0.4)}


@cache
def named_table(kind: str, bits: int) -> Half:
    """Return the table called ``normal`` (NormalFloat; NF4 for 4 bits) or ``uniform``; ``learned`` begins as normal."""
    size = 2**bits
    if kind == "uniform":
        table = np.arange(1 - size, size, 2) / (size - 1)
    else:
        positive = [NormalDist().inv_cdf(q) for q in np.linspace(QUANTILE, 0.5, size // 2 + 1)[:-1]]
        negative = [-NormalDist().inv_cdf(q) for q in np.linspace(QUANTILE, 0.5, size // 2)[:-1]]
        table = np.array(sorted([*negative, 0.0, *positive])) / max(positive)
    rounded: Half = table.astype(np.float16)
    rounded.flags.writeable = False
    return rounded


def clips(kind: str, bits: int) -> tuple[float, ...]:
    """Return the scales to try, in largest magnitudes of a group: few values represent less than the outermost."""
    return (1.0,) if kind == "learned" else _CLIPS[bits]


def nearest_codes(relative: Array, table: Array) -> npt.NDArray[np.uint8]:
    """Return the index of the entry nearest to each value, or to one that is 1/8192 away."""
    values = table.astype(np.float32)
    centers = ((np.arange(CELLS) + 0.5) * (2 / CELLS) - 1).astype(np.float32)
    of_cell = np.searchsorted((values[1:] + values[:-1]) / 2, centers).astype(np.uint8)
    cells = (relative * np.float32(CELLS / 2) + np.float32(CELLS / 2)).astype(np.int32)
    return of_cell[np.clip(cells, 0, CELLS - 1)]


def learned_table(weight: Array, groups: int, bits: int) -> Half:
    """Fit a table to W [n, k], each group divided by its largest magnitude: least squares, by Lloyd's algorithm."""
    counts = np.zeros(CELLS)
    for row in weight:
        part = row.astype(np.float32).reshape(groups, -1)
        largest = np.maximum(np.abs(part).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        cells = ((part / largest + 1) * np.float32(CELLS / 2)).astype(np.int32)
        counts += np.bincount(np.minimum(cells, CELLS - 1).ravel(), minlength=CELLS)
    centers = (np.arange(CELLS) + 0.5) * (2 / CELLS) - 1
    table = named_table("normal", bits).astype(np.float64)
    for _ in range(ROUNDS):
        owner = np.searchsorted((table[1:] + table[:-1]) / 2, centers)
        number = np.bincount(owner, counts, len(table))
        total = np.bincount(owner, counts * centers, len(table))
        table = np.where(number > 0, total / np.maximum(number, 1), table)
    fitted: Half = np.sort(table).astype(np.float16)
    return fitted
