"""Shared-memory banks: exact wavefronts of an access pattern, for any number and width of banks.

A warp's access is cut into phases of as many lanes as fill one row of banks (on 32 banks of 4 bytes: 32
lanes of 4 bytes, 16 of 8, 8 of 16). A phase takes as many wavefronts as the most asked bank has distinct
words; lanes that ask for the same word share it. Loads whose neighbours all ask for the same (lane n and
n^1, or n and n^2) merge two phases (NVIDIA's statement for compute capability 7; reproduced on A100 and
H200).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sim.arch.spec import SharedMemory

I32 = npt.NDArray[np.int32]
LANES = 32
LOAD, STORE, MATRIX = range(3)  # column 1 of a pattern
FIRST_LANE = 2  # column of lane 0


def wavefronts(patterns: I32, memory: SharedMemory) -> I32:
    """Return the wavefronts of each pattern (rows of ``WarpTrace.patterns``)."""
    out = np.zeros(len(patterns), np.int32)
    _count(_rows(patterns), memory.banks, memory.bank_bytes, out)
    return out


def ideal_wavefronts(patterns: I32, memory: SharedMemory) -> I32:
    """Return the wavefronts of each pattern if no two words shared a bank: its phases with an active lane."""
    out = np.zeros(len(patterns), np.int32)
    _count_phases(_rows(patterns), memory.banks, memory.bank_bytes, out)
    return out


def without_conflicts(patterns: I32, memory: SharedMemory) -> I32:
    """Return the patterns with those that conflict laid side by side: as many phases, a word of each bank in each."""
    out = _rows(patterns).copy()
    worse = wavefronts(out, memory) > ideal_wavefronts(out, memory)
    beside = np.arange(LANES, dtype=np.int32) * out[worse, :1]
    out[worse, FIRST_LANE:] = np.where(out[worse, FIRST_LANE:] >= 0, beside, -1)
    return out


def bank_words(pattern: I32, memory: SharedMemory) -> npt.NDArray[np.int64]:
    """Return how many words one access asks of each bank, over all its phases. Shape [banks]."""
    words = np.zeros(memory.banks, np.int64)
    _bank_words(_rows(pattern.reshape(1, -1))[0], memory.banks, memory.bank_bytes, words)
    return words


def _rows(patterns: I32) -> I32:
    return np.ascontiguousarray(patterns, dtype=np.int32)


@njit(cache=True)
def _same_as_neighbour(pattern: I32, distance: int) -> bool:
    """Whether every active lane asks for the address of lane n ^ distance (or that lane is inactive)."""
    for lane in range(LANES):
        mine = pattern[FIRST_LANE + lane]
        other = pattern[FIRST_LANE + (lane ^ distance)]
        if mine >= 0 and other >= 0 and mine != other:
            return False
    return True


@njit(cache=True)
def _phase_lanes(pattern: I32, banks: int, bank_bytes: int) -> int:
    """Lanes of one phase, merged phases counted as one."""
    lanes = min(LANES, max(1, banks * bank_bytes // pattern[0]))
    if (
        pattern[1] == LOAD
        and lanes < LANES
        and (_same_as_neighbour(pattern, 1) or _same_as_neighbour(pattern, 2))
    ):
        lanes *= 2
    return int(lanes)


@njit(cache=True)
def _phase_words(pattern: I32, first: int, lanes: int, bank_bytes: int, words: npt.NDArray[np.int64]) -> int:
    """Collect the distinct words of one phase; return how many."""
    count = 0
    for lane in range(first, first + lanes):
        offset = pattern[FIRST_LANE + lane]
        if offset < 0:
            continue
        for word in range(offset // bank_bytes, (offset + pattern[0] - 1) // bank_bytes + 1):
            known = False
            for index in range(count):
                known = known or words[index] == word
            if not known:
                words[count] = word
                count += 1
    return count


@njit(cache=True)
def _bank_words(pattern: I32, banks: int, bank_bytes: int, total: npt.NDArray[np.int64]) -> int:
    """Add the words that each bank serves to ``total``; return the wavefronts."""
    lanes = _phase_lanes(pattern, banks, bank_bytes)
    words = np.empty(LANES * (pattern[0] // bank_bytes + 2), np.int64)
    load = np.zeros(banks, np.int64)
    waves = 0
    for first in range(0, LANES, lanes):
        count = _phase_words(pattern, first, lanes, bank_bytes, words)
        load[:] = 0
        for index in range(count):
            load[words[index] % banks] += 1
        waves += load.max()
        total += load
    return waves


@njit(cache=True)
def _count(patterns: I32, banks: int, bank_bytes: int, out: I32) -> None:
    total = np.zeros(banks, np.int64)
    for row in range(patterns.shape[0]):
        out[row] = _bank_words(patterns[row], banks, bank_bytes, total)


@njit(cache=True)
def _count_phases(patterns: I32, banks: int, bank_bytes: int, out: I32) -> None:
    for row in range(patterns.shape[0]):
        lanes = _phase_lanes(patterns[row], banks, bank_bytes)
        for first in range(0, LANES, lanes):
            out[row] += patterns[row, FIRST_LANE + first : FIRST_LANE + first + lanes].max() >= 0
