"""Loop folding: run a loop until it repeats itself, then jump over the repetitions (numba).

At each taken backward branch the registers, the trace row and the decisions so far are remembered. A loop repeats with
period P when its last three windows of P iterations
- executed the same instructions with the same lanes, patterns, lines, sectors and branches,
- touched shared memory at the same addresses, and global memory at addresses that advance linearly,
- met mbarriers in phases of the same parity that advance linearly,
- took decisions (comparisons, minima, votes) whose operands differ by linearly advancing amounts,
- and nowhere did control flow hang on memory, or an address on data of the launch (sim.isa.dataflow).
Then the number of further windows in which no decision changes has a closed form, and registers that advance linearly
are moved that far at once; which warps must jump together, sim.exec.joint decides. One window is always left to run
after the jump; it is compared with what was foretold, and a difference makes the executor start again with longer
periods for that loop (an address that moves every eighth iteration looks constant at first), in the end without
folding.
"""

from __future__ import annotations

import numpy as np

from sim.exec.access import GLOBAL_BASE_HIGH
from sim.exec.compute import compare
from sim.exec.state import BUFFER, HEADERS, MAX_PERIOD, MISSES, PATTERN, PC, PHASE, RING, TRACE_COLUMNS
from sim.isa import opcodes as o
from sim.jit import entry, inner

FOREVER = np.int64(1) << 40
WORTHWHILE = 2  # windows that must be skippable


@inner
def remember_event(w, folder, code, difference, active):
    """Append one decision to the warp's ring of decisions."""
    place = folder.events[w] % folder.event_code.shape[1]
    folder.event_code[w, place] = code
    for lane in range(32):
        folder.event_difference[w, place, lane] = difference[lane] if active[lane] else 0
    folder.events[w] += 1


@inner
def at_header(w, pc, registers, recorder, folder):
    """Note that warp ``w`` begins an iteration at ``pc``; return True when it proposes to fold the loop."""
    slot = _slot_of(w, pc, folder)
    if slot < 0:
        return False
    iteration = folder.iterations[w, slot]
    place = iteration % RING
    folder.row[w, slot, place] = recorder.count[w]
    folder.event[w, slot, place] = folder.events[w]
    for number in range(256):
        for lane in range(32):
            folder.snapshot[w, slot, place, number, lane] = registers.general[w, number, lane]
    for number in range(64):
        folder.snapshot_uniform[w, slot, place, number] = registers.uniform[w, number]
    folder.iterations[w, slot] = iteration + 1
    if iteration < folder.retry_at[w, slot]:
        return False
    for period in range(max(1, folder.least_period[pc]), MAX_PERIOD + 1):
        if iteration < 3 * period:
            return False
        skippable = _skippable(w, slot, iteration, period, recorder, folder)
        if skippable >= WORTHWHILE:
            folder.proposal[w, 0] = slot
            folder.proposal[w, 1] = period
            folder.proposal[w, 2] = skippable
            return True
    if iteration > 6 * MAX_PERIOD:
        folder.retry_at[w, slot] = iteration + MAX_PERIOD
    return False


@inner
def _slot_of(w, pc, folder):
    free = -1
    for slot in range(HEADERS):
        if folder.header[w, slot] == pc:
            return slot
        if folder.header[w, slot] < 0 and free < 0:
            free = slot
    if free >= 0:
        folder.header[w, free] = pc
    return free


@inner
def _skippable(w, slot, iteration, period, recorder, folder):
    """Return how many further windows of ``period`` iterations are certain to repeat, less the one left to check."""
    row, event = folder.window[0], folder.window[1]
    for index in range(4):
        place = (iteration - (3 - index) * period) % RING
        row[index] = folder.row[w, slot, place]
        event[index] = folder.event[w, slot, place]
    length, decisions = row[1] - row[0], event[1] - event[0]
    if row[2] - row[1] != length or row[3] - row[2] != length:
        return 0
    if event[2] - event[1] != decisions or event[3] - event[2] != decisions:
        return 0
    if 3 * decisions >= folder.event_code.shape[1]:
        return 0
    for index in range(length):
        if folder.unsafe[recorder.rows[w, row[0] + index, PC]]:
            return 0
        if not _same_row(w, row[0] + index, row[1] + index, recorder) or not _same_row(
            w, row[1] + index, row[2] + index, recorder
        ):
            return 0
        if not _linear_address(w, row[0] + index, row[1] + index, row[2] + index, recorder):
            return 0
        if _phase_step(w, row[0] + index, row[1] + index, recorder) != _phase_step(
            w, row[1] + index, row[2] + index, recorder
        ):
            return 0
    windows = FOREVER
    for index in range(decisions):
        windows = min(
            windows, _windows_unchanged(w, event[0] + index, event[1] + index, event[2] + index, folder)
        )
        if windows <= WORTHWHILE:
            return 0
    return windows - 1 if windows < FOREVER else 0


@inner
def _same_row(w, a, b, recorder):
    for column in range(TRACE_COLUMNS):
        differs = recorder.rows[w, a, column] != recorder.rows[w, b, column]
        if differs and column != MISSES and column != PHASE:
            return False
    return _phase_step(w, a, b, recorder) & 1 == 0


@inner
def _phase_step(w, a, b, recorder):
    """Return by how many completions of its mbarrier row ``b`` is later than row ``a``."""
    return recorder.rows[w, b, PHASE] - recorder.rows[w, a, PHASE]


@inner
def _linear_address(w, a, b, c, recorder):
    first, second, third = recorder.address[w, a], recorder.address[w, b], recorder.address[w, c]
    if third - second != second - first:
        return False
    shared_only = recorder.rows[w, a, PATTERN] >= 0 and recorder.rows[w, a, BUFFER] < 0
    return second == first or (not shared_only and (first >> 32) >= GLOBAL_BASE_HIGH)


@inner
def _windows_unchanged(w, a, b, c, folder):
    """Return for how many windows after ``c`` this decision keeps its outcome in every lane."""
    ring = folder.event_code.shape[1]
    a, b, c = a % ring, b % ring, c % ring
    code = folder.event_code[w, c]
    if folder.event_code[w, a] != code or folder.event_code[w, b] != code:
        return np.int64(0)
    windows = FOREVER
    for lane in range(32):
        last = folder.event_difference[w, c, lane]
        step = last - folder.event_difference[w, b, lane]
        if folder.event_difference[w, b, lane] - folder.event_difference[w, a, lane] != step:
            return np.int64(0)
        if step != 0:
            windows = min(windows, _until_change(code & 7, last, step))
    return windows


@inner
def _until_change(code, value, step):
    """Return the largest n such that value + i * step satisfies the comparison alike for i = 0..n."""
    if code == o.EQ or code == o.NE:
        if value == 0:
            return np.int64(0)
        if -value % step == 0 and -value // step > 0:
            return np.int64(-value // step - 1)
        return FOREVER
    outcome = compare(code, value, False)
    low, high = np.int64(0), np.int64(1)
    while high < FOREVER and compare(code, value + high * step, False) == outcome:
        low = high
        high *= 2
    if high >= FOREVER:
        return FOREVER
    while high - low > 1:
        middle = (low + high) // 2
        if compare(code, value + middle * step, False) == outcome:
            low = middle
        else:
            high = middle
    return low


@entry
def apply_fold(w, windows, registers, recorder, folder):
    """Jump over ``windows`` windows of the proposed period, and write down what the next window must look like."""
    slot, period = folder.proposal[w, 0], folder.proposal[w, 1]
    now = (folder.iterations[w, slot] - 1) % RING
    one = (folder.iterations[w, slot] - 1 - period) % RING
    two = (folder.iterations[w, slot] - 1 - 2 * period) % RING
    _advance(registers.general[w], folder.snapshot[w, slot, one], folder.snapshot[w, slot, two], windows)
    for number in range(64):
        step = registers.uniform[w, number] - folder.snapshot_uniform[w, slot, one, number]
        if (
            step
            == folder.snapshot_uniform[w, slot, one, number] - folder.snapshot_uniform[w, slot, two, number]
        ):
            registers.uniform[w, number] += np.uint32(np.int64(step) * windows & 0xFFFFFFFF)
    fold = folder.fold_count[0]
    folder.folds[fold, 0] = w
    folder.folds[fold, 1] = folder.row[w, slot, one]
    folder.folds[fold, 2] = folder.row[w, slot, now]
    folder.folds[fold, 3] = windows
    folder.folds[fold, 4] = folder.header[w, slot]
    folder.folds[fold, 5] = period
    folder.fold_count[0] = fold + 1
    for other in range(HEADERS):
        folder.iterations[w, other] = 0
        folder.retry_at[w, other] = 0
    folder.proposal[w, 0] = -1


@inner
def _advance(now, one, two, windows):
    """Move each register that advanced by the same amount in both windows by ``windows`` times that amount."""
    for number in range(255):
        for lane in range(32):
            step = now[number, lane] - one[number, lane]
            if step != np.uint32(0) and step == one[number, lane] - two[number, lane]:
                now[number, lane] += np.uint32(np.int64(step) * windows & 0xFFFFFFFF)


@entry
def contradicted(recorder, folder):
    """Return the first fold that what ran after it contradicts, or -1.

    The rows after a fold must repeat the folded window, with addresses advanced by the skipped windows.
    """
    for fold in range(folder.fold_count[0]):
        w, begin, end, windows = (
            folder.folds[fold, 0],
            folder.folds[fold, 1],
            folder.folds[fold, 2],
            folder.folds[fold, 3],
        )
        length = end - begin
        if end + length > recorder.count[w]:
            return fold
        for index in range(length):
            if not _same_row(w, begin + index, end + index, recorder):
                return fold
            step = recorder.address[w, begin + index] - recorder.address[w, begin - length + index]
            if recorder.address[w, end + index] != recorder.address[w, begin + index] + step * (windows + 1):
                return fold
            phases = _phase_step(w, begin - length + index, begin + index, recorder)
            if _phase_step(w, begin + index, end + index, recorder) != phases * (windows + 1):
                return fold
    return -1
