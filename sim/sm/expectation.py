"""Wavefronts of random look-ups in closed form: balls in bins, no simulation.

Lanes draw entries of a table independently of each other. A wavefront serves one word of each bank, so an access takes
as many as the most asked bank has distinct words among those drawn. With exponential generating functions, a bank of
words w, drawn with chances p_w, in which at most c distinct words are drawn is the sum, over sets S of at most c of its
words, of the product over S of (exp(p_w x) - 1). The chance that n lanes find no bank with more is n! times the
coefficient of x^n in the product over the banks. All terms are positive: nothing cancels.

Lanes of different copies of the table draw different words: they have a variable each, x becomes a vector.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sim.arch.spec import SharedMemory
from sim.sm.banks import LANES

F64 = npt.NDArray[np.float64]
CERTAIN = 1e-13  # a smaller chance of more wavefronts is none
Counts = tuple[int, ...]  # lanes of each class: of those that read the same copy


@dataclass(frozen=True)
class Table:
    """Where entries lie: entry e of copy c at ``e * stride_bytes + c * access_bytes``; lane l reads copy l % copies."""

    access_bytes: int  # that a lane loads
    stride_bytes: int
    copies: int = 1


@dataclass(frozen=True, eq=False)
class _Group:
    """Lanes and banks that have nothing to do with the others, and how many such groups are alike."""

    lanes: Counts
    banks: tuple[F64, ...]  # [words, classes]: the chance of each word in each class
    times: int = 1


def expected_wavefronts(chances: Sequence[float] | F64, table: Table, memory: SharedMemory) -> float:
    """Return the mean wavefronts of a warp's look-up; ``chances`` [entries]: of each entry, the same in every lane."""
    width = memory.banks * memory.bank_bytes
    lanes = min(LANES, max(1, width // table.access_bytes))
    unit = max(memory.bank_bytes, table.access_bytes)  # banks that an entry spans serve it together
    groups = _groups(lanes, np.asarray(chances, np.float64), table, unit, width // unit)
    return LANES / lanes * _mean_of_the_largest(groups)


def _groups(lanes: int, chances: F64, table: Table, unit: int, banks: int) -> list[_Group]:
    """Cut lanes and banks into groups."""
    readers = Counter(lane % table.copies for lane in range(lanes))
    entry = np.flatnonzero(chances)
    words = (entry[:, None] * table.stride_bytes + np.arange(len(readers)) * table.access_bytes) // unit
    asked = [(set((words[:, copy] % banks).tolist()), {copy}) for copy in readers]
    found: dict[tuple[Counts, tuple[bytes, ...]], _Group] = {}
    for copies in _joined(asked):
        order = sorted(copies)
        contents = _banks_of(words[:, order], chances[entry], banks)
        counts = tuple(readers[copy] for copy in order)
        key = counts, tuple(sorted(bank.tobytes() for bank in contents))
        known = found.get(key)
        found[key] = replace(known, times=known.times + 1) if known else _Group(counts, contents)
    return list(found.values())


def _joined(asked: list[tuple[set[int], set[int]]]) -> list[set[int]]:
    """Unite the copies that have a bank in common."""
    united: list[tuple[set[int], set[int]]] = []
    for banks, copies in asked:
        meeting = [each for each in united if each[0] & banks]
        united = [each for each in united if not each[0] & banks]
        united.append((banks.union(*(b for b, _ in meeting)), copies.union(*(c for _, c in meeting))))
    return [copies for _, copies in united]


def _banks_of(words: npt.NDArray[np.int64], chances: F64, banks: int) -> tuple[F64, ...]:
    """Return the words of each bank that is asked, by their chances; ``words`` [entries, classes]."""
    distinct, place = np.unique(words, return_inverse=True)
    drawn = np.zeros((len(distinct), words.shape[1]))
    np.add.at(drawn, (place.reshape(words.shape), np.arange(words.shape[1])), chances[:, None])
    return tuple(drawn[distinct % banks == bank] for bank in np.unique(distinct % banks))


def _mean_of_the_largest(groups: list[_Group]) -> float:
    """Return the mean of the most distinct words in a bank: the sum over c of the chance of more than c."""
    mean = 1.0
    for limit in range(1, LANES):
        more = 1 - math.prod(_within(group, limit) ** group.times for group in groups)
        if more < CERTAIN:
            break
        mean += more
    return mean


def _within(group: _Group, limit: int) -> float:
    """Return the chance that in no bank more than ``limit`` distinct words are drawn."""
    lanes = group.lanes
    if sum(lanes) <= limit:
        return 1.0
    total, known = _one(lanes), {}
    for bank in group.banks:
        key = bank.tobytes()
        if key not in known:
            known[key] = _at_most(lanes, bank, limit)
        total = _times(total, known[key])
    return min(1.0, float(total[lanes]) * math.prod(math.factorial(count) for count in lanes))


def _at_most(lanes: Counts, bank: F64, limit: int) -> F64:
    """Return a bank's generating function: sums of products of up to ``limit`` of its words' (exp(p x) - 1)."""
    if len(bank) <= limit:
        return _exponential(lanes, np.sum(bank, axis=0))
    chosen = [_one(lanes), *(np.zeros_like(_one(lanes)) for _ in range(limit))]
    for word in bank:
        drawn = _exponential(lanes, word)
        drawn[(0,) * len(lanes)] = 0.0  # drawn at least once
        for count in range(limit, 0, -1):
            chosen[count] = chosen[count] + _times(chosen[count - 1], drawn)
    total: F64 = np.sum(chosen, axis=0)
    return total


def _one(lanes: Counts) -> F64:
    one = np.zeros(tuple(count + 1 for count in lanes))
    one[(0,) * len(lanes)] = 1.0
    return one


def _exponential(lanes: Counts, chances: F64) -> F64:
    """Return the series of exp(p x), up to the lanes that there are."""
    total: F64 = np.ones((1,) * len(lanes))
    for axis, (count, chance) in enumerate(zip(lanes, chances, strict=True)):
        series = np.array([float(chance) ** power / math.factorial(power) for power in range(count + 1)])
        total = total * series.reshape([-1 if other == axis else 1 for other in range(len(lanes))])
    return total


def _times(a: F64, b: F64) -> F64:
    """Multiply two series, as far as both go."""
    if a.ndim == 1:
        whole: F64 = np.convolve(a, b)[: len(a)]
        return whole
    out = np.zeros_like(a)
    for place in zip(*np.nonzero(a), strict=True):
        here = tuple(slice(int(at), None) for at in place)
        there = tuple(slice(0, size - int(at)) for at, size in zip(place, a.shape, strict=True))
        out[here] += a[place] * b[there]
    return out
