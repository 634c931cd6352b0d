"""mbarriers: phases that end when all expected arrivals and all announced bytes are there (numba)."""

from __future__ import annotations

import numpy as np

from sim.exec.access import SHARED_MASK
from sim.exec.lanes import LANES
from sim.isa import opcodes as o
from sim.jit import inner

MBARRIERS = 64  # of a CTA
ADDRESS, EXPECTED, PENDING, ANNOUNCED, COMPLETED = range(5)  # columns; ANNOUNCED: bytes not yet delivered
MBARRIER_FIELDS = 5
NO_MBARRIER, SPREAD_MBARRIER, TOO_MANY_ARRIVALS, TOO_MANY_MBARRIERS = range(20, 24)


@inner
def numbered(address, memory):
    """Return the number of the mbarrier that was last initialised at an address, or minus a fault code."""
    for number in range(memory.mbarrier_count[0] - 1, -1, -1):
        if memory.mbarriers[number, ADDRESS] == address & SHARED_MASK:
            return np.int64(number)
    return np.int64(-NO_MBARRIER)


@inner
def named(address, active, memory):
    """Return the number of the mbarrier that all active lanes name, or minus a fault code."""
    first = np.int64(-1)
    for lane in range(LANES):
        if active[lane]:
            if first >= 0 and address[lane] != first:
                return np.int64(-SPREAD_MBARRIER)
            first = address[lane]
    return numbered(first, memory)


@inner
def begin(address, word, memory):
    """SYNCS.EXCH: a new mbarrier; the word holds minus the expected arrivals in the 20 bits from bit 1 on."""
    number = memory.mbarrier_count[0]
    if number >= MBARRIERS:
        return np.int64(-TOO_MANY_MBARRIERS)
    expected = (1 << 20) - ((np.int64(word) >> 1) & 0xFFFFF)
    row = memory.mbarriers[number]
    row[ADDRESS], row[EXPECTED], row[PENDING] = address & SHARED_MASK, expected, expected
    row[ANNOUNCED] = row[COMPLETED] = 0
    memory.mbarrier_count[0] = number + 1
    return np.int64(number)


@inner
def report(number, arrivals, announced, memory):
    """Count arrivals and announced bytes (negative: delivered); return a fault code."""
    row = memory.mbarriers[number]
    row[PENDING] -= arrivals
    row[ANNOUNCED] += announced
    if row[PENDING] < 0:
        return TOO_MANY_ARRIVALS
    if row[PENDING] == 0 and row[ANNOUNCED] == 0:
        row[COMPLETED] += 1
        row[PENDING] = row[EXPECTED]
        memory.completions[0] += 1
    return 0


@inner
def lane_arrivals(modifiers, word, active):
    """Return the arrivals of one SYNCS.ARRIVE, all its lanes together."""
    total = np.int64(0)
    for lane in range(LANES):
        if active[lane] and not modifiers & o.NO_ARRIVAL:
            total += np.int64(word[lane]) if modifiers & o.COUNT_REGISTER else 1
    return total


@inner
def lane_bytes(modifiers, word, active):
    """Return the bytes that one SYNCS.ARRIVE announces, all its lanes together."""
    total = np.int64(0)
    for lane in range(LANES):
        if active[lane] and modifiers & o.TX_REGISTER:
            total += np.int64(word[lane])
    return total


@inner
def phase_over(number, parity, memory):
    """Return whether the phase of a parity is over: the current one has the other."""
    return (memory.mbarriers[number, COMPLETED] & 1) != parity
