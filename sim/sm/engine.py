"""The timing engine: replays the warps of co-resident CTAs on the sub-cores of an SM, skipping idle cycles.

Within a cycle: what is due happens (results, copied data), then the SM's memory pipe takes one instruction,
then each sub-core issues at most one: the warp it issued last if that is ready, else the ready one that waits longest.
A blocked warp sleeps until a known cycle, or until what it waits for happens; its stall is counted on waking.
``reference`` is the slow twin with the same rules; a change here is a change there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

from sim.isa.units import COUNTERS, NO_COUNTER, Unit
from sim.sm import layout as y
from sim.sm.layout import FAR, TICKS, Drive, Machine

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

NONE, HALF, TENSOR, CONSTANT_LOAD = int(Unit.NONE), int(Unit.HALF), int(Unit.TENSOR), int(Unit.CONSTANT_LOAD)
SHARED_LOAD, SHARED_STORE, SHUFFLE = int(Unit.SHARED_LOAD), int(Unit.SHARED_STORE), int(Unit.SHUFFLE)
GLOBAL_LOAD, GLOBAL_STORE = int(Unit.GLOBAL_LOAD), int(Unit.GLOBAL_STORE)
ATOMIC, ASYNC_COPY = int(Unit.ATOMIC), int(Unit.ASYNC_COPY)
COPY_COMMIT, COPY_WAIT, BARRIER = int(Unit.COPY_COMMIT), int(Unit.COPY_WAIT), int(Unit.BARRIER)
BRANCH, EXIT, MEMBAR = int(Unit.BRANCH), int(Unit.EXIT), int(Unit.MEMBAR)
WGMMA, WGMMA_WAIT = int(Unit.WGMMA), int(Unit.WGMMA_WAIT)
BULK_LOAD, BULK_STORE, BULK_COMMIT = int(Unit.BULK_LOAD), int(Unit.BULK_STORE), int(Unit.BULK_COMMIT)
MBARRIER_ARRIVE, MBARRIER_WAIT = int(Unit.MBARRIER_ARRIVE), int(Unit.MBARRIER_WAIT)
UNITS = len(Unit)
DONE = -1  # the `why` of a warp that has finished

# Nothing is allocated in here: without Numba's reference counts, and with all calls expanded, the loop is
# thirty times faster.
OPTIONS: dict[str, Any] = {"cache": True, "_nrt": False}
F = TypeVar("F", bound=Callable[..., Any])


def hot(function: F) -> F:
    """Compile a part of the hot loop."""
    return cast(F, njit(**OPTIONS, forceinline=True)(function))


def rare(function: F) -> F:
    """Compile what happens too seldom to be worth the time of expanding it at every call."""
    return cast(F, njit(**OPTIONS)(function))


# what the events of the heap do: a counter falls; a copy's data reaches shared memory; it is written; a commit group
# of wgmma is done; an mbarrier hears of an arrival or of a copy's bytes
RELEASED, ARRIVED, COPIED, MULTIPLIED, SIGNALLED = range(5)
EVENT_BITS, COUNTER_BITS, WAVE_BITS, WARP_BITS, ROW_BITS = 3, 3, 10, 16, 22

# warp state; W_RETURN: tick at which its return path is free; W_TURN: cycle of its last issue
(W_ROW, W_UNTIL, W_SINCE, W_WHY, W_HELD, W_OUT, W_COPIES, W_COPIED, W_HEAD, W_GROUPS, W_ARRIVAL, W_REQUESTS,
 W_RESUME, W_LOOP, W_LEFT, W_BORN, W_ISSUED, W_LAUNCHED, W_QUEUED, W_OPEN, W_AWAITED, W_STORED,
 W_FENCE, W_RETURN, W_TURN, W_FIELDS) = range(26)  # fmt: skip
# sub-core state
# B_PORTS: cycle at which the read ports of its register file are free
B_NEXT, B_LAST, B_ADDRESS, B_HEAD, B_TAKEN, B_COUNT, B_WARPS, B_GEMM, B_PORTS, B_FIELDS = range(10)
# SM state; M_GEMM_*: wgmmas launched and not begun, and the one at work (its row, -1 = none)
(M_INTAKE, M_DATA, M_TURN, M_NEXT, M_QUEUED, M_DIRTY, M_SERVED, M_SYNC, M_BULK, M_GEMM_NEXT, M_GEMM_HEAD,
 M_GEMM_COUNT, M_GEMM_ROW, M_GEMM_WHO, M_GEMM_BEGIN, M_GEMM_MARK, M_GEMM_FREE, M_PORT, M_TAGS,
 M_FENCE, M_FIELDS) = range(21)  # fmt: skip
# mbarrier state
X_ARRIVED, X_BYTES, X_COMPLETED, X_FIELDS = range(4)
# CTA slot state
C_CTA, C_ALIVE, C_MARKS, C_FIELDS = range(4)
# the run itself
G_EVENTS, G_SEQUENCE, G_STATUS, G_QUEUE, G_RUNNING, G_SERVER, G_FIELDS = range(7)


class State(NamedTuple):
    """All that changes during a run."""

    warp: I64  # [slots * warps, W_FIELDS]
    counter: I64  # [slots * warps, COUNTERS]
    owner: I64  # [slots * warps, COUNTERS]: the stall that waiting for it counts as
    groups: I64  # [slots * warps, COMMIT_SLOTS]: copies that must be done before a cp.async group is
    accumulator: I64  # [slots * warps, 256]: tick at which it may be read
    core: I64  # [sub-cores, B_FIELDS]
    pipe: I64  # [sub-cores, units]: tick at which it is free
    reuse: I64  # [sub-cores, register banks, 3]: the operand held for a slot
    order: I64  # [sub-cores, warps]: warps, youngest first, B_WARPS of them
    queue_who: I64  # [sub-cores, queue entries]: W_BORN and number of the warp
    queue_row: I64
    queue_trip: I64  # cycles that memory takes to answer
    queue_cta: I64  # number of the CTA that asks
    queue_time: I64  # cycle from which it may leave
    queue_free: I64  # cycle at which its entry is free again
    sm: I64  # [SMs, M_FIELDS]
    slot: I64  # [slots, C_FIELDS]
    arrived: I64  # [slots, BARRIERS]
    counted: I64  # [slots, BARRIERS]: cycle at which the barrier unit has counted the arrivals so far
    wanted: I64  # [slots, BARRIERS]: warps that meet there, 0 = all
    mbarrier: I64  # [slots, mbarriers, X_FIELDS]
    gemm_who: (
        I64  # [SMs, entries]: wgmmas launched and not begun: W_BORN and number of the warpgroup's first warp
    )
    gemm_row: I64
    gemm_time: I64  # cycle at which the last of its warps issued it
    heap_key: I64  # time << 31 | sequence
    heap_what: I64
    run: I64  # [G_FIELDS]
    end: I64  # [CTAs]
    first_request: I64  # [CTAs]: cycle at which memory is first asked beyond L1, FAR = never
    last_arrival: I64  # [CTAs]: cycle at which the last of its bulk data is there
    asked: I64  # [CTAs]: sectors asked so far
    first_store: I64  # [CTAs]: cycle of the first store after the bulk data, FAR = never
    first_fence: I64  # [CTAs]: cycle of the first fence after that store, FAR = never
    marks: I64  # [CTAs, marks]
    stalls: I64  # [stall names]
    profile: I64  # [static instructions or 0, stall names]


class Columns(NamedTuple):
    """What the replay reads."""

    static: I32
    rows: I32
    offset: I64
    loops: I64
    replays: I64  # [loops]: how often the body runs again
    needs: I64  # [mbarriers]: arrivals that complete a phase


# ---------------------------------------------------------------- events


@hot
def _push(st: State, time: int, what: int) -> None:
    """Put an event into the binary heap."""
    n = st.run[G_EVENTS]
    if n >= st.heap_key.shape[0]:
        st.run[G_STATUS] = y.HEAP_FULL
        return
    key = (time << 31) | st.run[G_SEQUENCE]
    st.run[G_SEQUENCE] += 1
    st.run[G_EVENTS] = n + 1
    while n > 0:
        parent = (n - 1) >> 1
        if st.heap_key[parent] <= key:
            break
        st.heap_key[n] = st.heap_key[parent]
        st.heap_what[n] = st.heap_what[parent]
        n = parent
    st.heap_key[n] = key
    st.heap_what[n] = what


@hot
def _pop(st: State) -> int:
    """Take the earliest event off the heap."""
    what = st.heap_what[0]
    n = st.run[G_EVENTS] - 1
    st.run[G_EVENTS] = n
    key = st.heap_key[n]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= n:
            break
        if child + 1 < n and st.heap_key[child + 1] < st.heap_key[child]:
            child += 1
        if st.heap_key[child] >= key:
            break
        st.heap_key[hole] = st.heap_key[child]
        st.heap_what[hole] = st.heap_what[child]
        hole = child
    st.heap_key[hole] = key
    st.heap_what[hole] = st.heap_what[n]
    return int(what)


@hot
def _who(st: State, w: int) -> int:
    """Name a warp of the present CTA of its slot."""
    return int((st.warp[w, W_BORN] << WARP_BITS) | w)


@hot
def _event(who: int, kind: int, counter: int, waves: int) -> int:
    """Pack an event; ``waves`` is 1 for a RELEASED that ends an outstanding access."""
    return (((((who << WAVE_BITS) | waves) << COUNTER_BITS) | counter) << EVENT_BITS) | kind


@hot
def _row_event(who: int, row: int) -> int:
    """Pack an event at the mbarrier that a row names."""
    return (((who << ROW_BITS) | row) << EVENT_BITS) | SIGNALLED


@hot
def _wake(st: State, core: int, w: int, t: int) -> None:
    """Let a warp that waits for a dependence look again."""
    why = st.warp[w, W_WHY]
    waits = why == y.LONG or why == y.SHORT or why == y.MEMBAR_STALL or why == y.GMMA
    if st.warp[w, W_UNTIL] == FAR and waits:
        st.warp[w, W_UNTIL] = t
        st.core[core, B_NEXT] = min(st.core[core, B_NEXT], t)


@hot
def _fall(st: State, w: int, counter: int) -> None:
    """Decrement a dependence counter."""
    st.counter[w, counter] -= 1
    if st.counter[w, counter] == 0:
        st.warp[w, W_HELD] &= ~(1 << counter)


@hot
def _rise(st: State, w: int, counter: int, owner: int) -> None:
    """Increment a dependence counter."""
    st.counter[w, counter] += 1
    st.owner[w, counter] = owner
    st.warp[w, W_HELD] |= 1 << counter


@hot
def _deliver(m: Machine, d: Drive, c: Columns, st: State, warps: int, t: int, what: int) -> None:
    """Do what one event says."""
    kind = what & ((1 << EVENT_BITS) - 1)
    if kind == SIGNALLED:
        _signal(m, d, c, st, warps, t, what >> EVENT_BITS)
        return
    counter = (what >> EVENT_BITS) & 7
    waves = (what >> (EVENT_BITS + COUNTER_BITS)) & ((1 << WAVE_BITS) - 1)
    who = what >> (EVENT_BITS + COUNTER_BITS + WAVE_BITS)
    w = who & ((1 << WARP_BITS) - 1)
    slot = w // warps
    sm = slot // d.resident
    if kind == ARRIVED:
        data = max(st.sm[sm, M_DATA], t * TICKS) + waves * m.copy_write_ticks
        st.sm[sm, M_DATA] = data
        _push(st, (data + TICKS - 1) // TICKS, what - ARRIVED + COPIED)
        return
    if who >> WARP_BITS != st.warp[w, W_BORN]:
        return  # its CTA is gone
    if kind == MULTIPLIED:
        for v in range(w, _group_end(warps, w)):
            st.warp[v, W_OPEN] -= 1
            _wake(st, _core_of(m, d, warps, v), v, t)
        return
    if counter != NO_COUNTER:
        _fall(st, w, counter)
    if kind == COPIED:
        st.warp[w, W_COPIED] += 1
        st.warp[w, W_OUT] -= 1
        while st.warp[w, W_GROUPS] > 0 and st.groups[w, st.warp[w, W_HEAD]] <= st.warp[w, W_COPIED]:
            st.warp[w, W_HEAD] = (st.warp[w, W_HEAD] + 1) % y.COMMIT_SLOTS
            st.warp[w, W_GROUPS] -= 1
            _fall(st, w, 0)
    else:
        st.warp[w, W_OUT] -= waves
    _wake(st, _core_of(m, d, warps, w), w, t)


@hot
def _core_of(m: Machine, d: Drive, warps: int, w: int) -> int:
    """Sub-core of a warp: the SM's warp number modulo the sub-cores."""
    slot = w // warps
    return int((slot // d.resident) * m.sub_cores + (w % (warps * d.resident)) % m.sub_cores)


@rare
def _signal(m: Machine, d: Drive, c: Columns, st: State, warps: int, t: int, what: int) -> None:
    """Tell an mbarrier of arrivals and bytes; with the last of a phase, let the warps that wait go on."""
    row = what & ((1 << ROW_BITS) - 1)
    who = what >> ROW_BITS
    w = who & ((1 << WARP_BITS) - 1)
    if who >> WARP_BITS != st.warp[w, W_BORN]:
        return
    slot = w // warps
    number = c.rows[row, y.R_MBARRIER]
    if c.rows[row, y.R_UNIT] == BULK_LOAD:
        st.mbarrier[slot, number, X_BYTES] -= c.rows[row, y.R_TX]
    else:
        st.mbarrier[slot, number, X_BYTES] += c.rows[row, y.R_TX]
        st.mbarrier[slot, number, X_ARRIVED] += c.rows[row, y.R_ARRIVALS]
    if st.mbarrier[slot, number, X_ARRIVED] < c.needs[number] or st.mbarrier[slot, number, X_BYTES] != 0:
        return
    st.mbarrier[slot, number, X_ARRIVED] = 0
    st.mbarrier[slot, number, X_COMPLETED] += 1
    for v in range(slot * warps, (slot + 1) * warps):
        if st.warp[v, W_AWAITED] == number:
            _wake(st, _core_of(m, d, warps, v), v, t)


# ---------------------------------------------------------------- wgmma


@hot
def _group_begin(warps: int, w: int) -> int:
    """First warp of a warp's warpgroup."""
    return int(w - w % warps % y.WARPGROUP)


@hot
def _group_end(warps: int, w: int) -> int:
    """Warp after the last of the warpgroup whose first warp is ``w``."""
    return int(min(w + y.WARPGROUP, w - w % warps + warps))


@rare
def _launch(m: Machine, st: State, warps: int, core: int, w: int, row: int, t: int) -> None:
    """Note that a warp has issued a wgmma; with the last of its warpgroup, hand it to the tensor cores."""
    first = _group_begin(warps, w)
    least = FAR
    for v in range(first, _group_end(warps, first)):
        least = min(least, st.warp[v, W_ISSUED])
    if least > st.warp[first, W_LAUNCHED]:
        st.warp[first, W_LAUNCHED] = least
        sm = core // m.sub_cores
        count = st.sm[sm, M_GEMM_COUNT]
        size = st.gemm_row.shape[1]
        if count >= size:
            st.run[G_STATUS] = y.HEAP_FULL
            return
        entry = (st.sm[sm, M_GEMM_HEAD] + count) % size
        st.gemm_who[sm, entry] = _who(st, first)
        st.gemm_row[sm, entry] = row
        st.gemm_time[sm, entry] = t
        st.sm[sm, M_GEMM_COUNT] = count + 1
        st.sm[sm, M_GEMM_NEXT] = min(st.sm[sm, M_GEMM_NEXT], t + 1)


@rare
def _multiply(m: Machine, d: Drive, c: Columns, st: State, warps: int, sm: int, t: int) -> None:
    """Let an SM's tensor cores finish the wgmma they work on, and begin the next."""
    if st.sm[sm, M_GEMM_ROW] >= 0:
        due = _finished(c, st, sm)
        if due // TICKS > t:
            st.sm[sm, M_GEMM_NEXT] = due // TICKS
            return
        _end(c, st, sm, due, t)
    st.sm[sm, M_GEMM_NEXT] = FAR
    if st.sm[sm, M_GEMM_COUNT] == 0:
        return
    _prefer_same(st, sm)
    entry = st.sm[sm, M_GEMM_HEAD]
    first = st.gemm_who[sm, entry] & ((1 << WARP_BITS) - 1)
    begin = max(st.sm[sm, M_GEMM_FREE], st.gemm_time[sm, entry] * TICKS)
    for v in range(first, _group_end(warps, first)):
        begin = max(begin, st.pipe[_core_of(m, d, warps, v), TENSOR])
    if begin // TICKS > t:
        st.sm[sm, M_GEMM_NEXT] = begin // TICKS
        return
    _begin(m, d, c, st, warps, sm, begin, t)


@hot
def _prefer_same(st: State, sm: int) -> None:
    """Bring the next wgmma of the warpgroup that was last at work to the queue's head: it goes on until it pauses."""
    head, size = st.sm[sm, M_GEMM_HEAD], st.gemm_row.shape[1]
    ahead = 0
    while st.gemm_who[sm, (head + ahead) % size] != st.sm[sm, M_GEMM_WHO]:
        ahead += 1
        if ahead == st.sm[sm, M_GEMM_COUNT]:
            return
    entry = (head + ahead) % size
    who, row, time = st.gemm_who[sm, entry], st.gemm_row[sm, entry], st.gemm_time[sm, entry]
    for back in range(ahead, 0, -1):
        to, source = (head + back) % size, (head + back - 1) % size
        st.gemm_who[sm, to] = st.gemm_who[sm, source]
        st.gemm_row[sm, to] = st.gemm_row[sm, source]
        st.gemm_time[sm, to] = st.gemm_time[sm, source]
    st.gemm_who[sm, head], st.gemm_row[sm, head], st.gemm_time[sm, head] = who, row, time


@hot
def _finished(c: Columns, st: State, sm: int) -> int:
    """Tick at which the wgmma at work is done with the pipes: its columns, or its operands behind other accesses."""
    pc = c.rows[st.sm[sm, M_GEMM_ROW], y.R_PC]
    others = st.sm[sm, M_SERVED] - st.sm[sm, M_GEMM_MARK]
    busy = max(c.static[pc, y.S_INTERVAL], c.static[pc, y.S_OPERANDS] + others)
    return int(st.sm[sm, M_GEMM_BEGIN] + busy)


@hot
def _end(c: Columns, st: State, sm: int, due: int, t: int) -> None:
    """Free the tensor cores; a wgmma that closes a commit group completes it when its latency is over."""
    pc = c.rows[st.sm[sm, M_GEMM_ROW], y.R_PC]
    alone = max(c.static[pc, y.S_INTERVAL], c.static[pc, y.S_OPERANDS])
    done = due - alone + c.static[pc, y.S_LATENCY] * TICKS
    if c.static[pc, y.S_ARGUMENT] & 1:
        _push(st, max(t + 1, (done + TICKS - 1) // TICKS), _event(st.sm[sm, M_GEMM_WHO], MULTIPLIED, 0, 0))
    st.sm[sm, M_GEMM_ROW] = -1
    st.sm[sm, M_GEMM_FREE] = due


@hot
def _begin(m: Machine, d: Drive, c: Columns, st: State, warps: int, sm: int, begin: int, t: int) -> None:
    """Begin the wgmma at the head of the queue; its warps may issue the next."""
    entry = st.sm[sm, M_GEMM_HEAD]
    st.sm[sm, M_GEMM_HEAD] = (entry + 1) % st.gemm_row.shape[1]
    st.sm[sm, M_GEMM_COUNT] -= 1
    who = st.gemm_who[sm, entry]
    row = st.gemm_row[sm, entry]
    pc = c.rows[row, y.R_PC]
    st.sm[sm, M_GEMM_ROW] = row
    st.sm[sm, M_GEMM_WHO] = who
    st.sm[sm, M_GEMM_BEGIN] = begin
    st.sm[sm, M_GEMM_MARK] = st.sm[sm, M_SERVED]
    due = begin + max(c.static[pc, y.S_INTERVAL], c.static[pc, y.S_OPERANDS])
    st.sm[sm, M_GEMM_NEXT] = due // TICKS
    results = 0
    if c.static[pc, y.S_ARGUMENT] & 1:  # a group's results are written, as long again, until they may be read
        results = min(c.static[pc, y.S_INTERVAL], begin + c.static[pc, y.S_LATENCY] * TICKS - due)
    first = who & ((1 << WARP_BITS) - 1)
    for v in range(first, _group_end(warps, first)):
        core = _core_of(m, d, warps, v)
        st.pipe[core, TENSOR] = due
        st.core[core, B_GEMM] = due + results
        if who >> WARP_BITS != st.warp[first, W_BORN]:
            continue
        st.warp[v, W_QUEUED] -= 1
        if st.warp[v, W_WHY] == y.MATH and st.warp[v, W_UNTIL] == FAR:
            st.warp[v, W_UNTIL] = t
            st.core[core, B_NEXT] = min(st.core[core, B_NEXT], t)


# ---------------------------------------------------------------- bulk copies


@rare
def _copy_bulk(m: Machine, d: Drive, c: Columns, st: State, warps: int, w: int, row: int, t: int) -> None:
    """Give the copy engine of an SM a box: it moves one after the other, and tells the box's mbarrier."""
    sm = w // warps // d.resident
    start = max(st.sm[sm, M_BULK], t * TICKS) + c.rows[row, y.R_COST]
    st.sm[sm, M_BULK] = start
    trip = d.far_cycles if c.rows[row, y.R_WAVEFRONTS] > 1 else _trip(m, d, c, st, w, warps, row)
    trip += _server_cycles(d, c, st, row, t)
    there = max(t + 1, (start + TICKS - 1) // TICKS + trip)
    if not c.rows[row, y.R_HIT]:
        _note_request(d, c, st, st.slot[w // warps, C_CTA], row, t, there)
    if c.rows[row, y.R_UNIT] == BULK_STORE:
        st.warp[w, W_STORED] = max(st.warp[w, W_STORED], there)
    else:
        _push(st, max(t + 1, there + m.bulk_extra_cycles), _row_event(_who(st, w), row))


# ---------------------------------------------------------------- memory pipe


@hot
def _note_request(d: Drive, c: Columns, st: State, cta: int, row: int, t: int, there: int) -> None:
    """Note what a CTA asks beyond L1, and when the answer is there."""
    st.first_request[cta] = min(st.first_request[cta], t)
    st.asked[cta] += c.rows[row, y.R_SECTORS]
    if st.asked[cta] <= d.bulk_sectors:
        st.last_arrival[cta] = max(st.last_arrival[cta], there)
    elif c.rows[row, y.R_UNIT] == GLOBAL_STORE or c.rows[row, y.R_UNIT] == BULK_STORE:
        st.first_store[cta] = min(st.first_store[cta], t)


@hot
def draw(seed: int, cta: int, warp: int, request: int) -> int:
    """Return 31 hashed bits, the same for the same request of the same run."""
    x = (seed * 40503 + cta * 1000003 + warp * 7919 + request + 12345) & 0x7FFFFFFF
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 73244475) & 0x7FFFFFFF
    return x ^ (x >> 16)


@hot
def _trip(m: Machine, d: Drive, c: Columns, st: State, w: int, warps: int, row: int) -> int:
    """Round trip of one request: L1 hit, or one of the halves of L2; the farther if any of its lines is there."""
    lines = c.rows[row, y.R_LINES]
    if c.rows[row, y.R_HIT]:
        return int(m.hit_cycles + max(0, lines * m.hit_line_ticks - m.hit_hidden_ticks) // TICKS)
    request = st.warp[w, W_REQUESTS]
    st.warp[w, W_REQUESTS] = request + 1
    bits = draw(d.seed, st.slot[w // warps, C_CTA], w % warps, request)
    all_near = near = y.ALL - d.far_threshold
    for _ in range(lines - 1):
        all_near = all_near * near >> 31
    return d.far_cycles if bits < y.ALL - all_near else d.near_cycles


@hot
def _server_cycles(d: Drive, c: Columns, st: State, row: int, t: int) -> int:
    """Transfer, and the wait for it, through the server that all SMs share."""
    if d.sector_ticks == 0 or c.rows[row, y.R_HIT]:
        return 0
    server = max(st.run[G_SERVER], t * TICKS) + c.rows[row, y.R_SECTORS] * d.sector_ticks
    st.run[G_SERVER] = server
    return int((server - t * TICKS) // TICKS)


@hot
def _port_cycles(m: Machine, c: Columns, st: State, sm: int, row: int, unit: int, t: int) -> int:
    """Wait for the port through which an SM gets what it loads from L2."""
    if c.rows[row, y.R_HIT] or unit == GLOBAL_STORE:
        return 0
    begin = max(st.sm[sm, M_PORT], t * TICKS)
    st.sm[sm, M_PORT] = begin + c.rows[row, y.R_SECTORS] * m.port_sector_ticks
    return int((begin - t * TICKS) // TICKS)


@hot
def _is_shared(unit: int) -> bool:
    return unit in (SHARED_LOAD, SHARED_STORE, SHUFFLE)


@hot
def _intake_time(st: State, c: Columns, sm: int, core: int) -> int:
    """First cycle at which the head of a sub-core's queue may enter the pipe, as far as known."""
    if st.core[core, B_TAKEN] >= st.core[core, B_COUNT]:
        return FAR
    entry = (st.core[core, B_HEAD] + st.core[core, B_TAKEN]) % st.queue_row.shape[1]
    time = max(st.core[core, B_ADDRESS], st.queue_time[core, entry])
    unit = c.rows[st.queue_row[core, entry], y.R_UNIT]
    if unit == MBARRIER_ARRIVE:
        return int(max(time, st.sm[sm, M_SYNC] // TICKS))
    if _is_global(unit):
        time = max(time, st.sm[sm, M_TAGS] // TICKS)
    elif _is_shared(unit):
        time = max(time, st.sm[sm, M_DATA] // TICKS)
    return int(time)


@hot
def _intake(m: Machine, d: Drive, c: Columns, st: State, warps: int, sm: int, t: int) -> None:
    """Let the SM's memory pipe take one instruction, sub-cores in turn."""
    if st.sm[sm, M_INTAKE] // TICKS <= t:
        for k in range(m.sub_cores):
            turn = (st.sm[sm, M_TURN] + k) % m.sub_cores
            core = sm * m.sub_cores + turn
            if _intake_time(st, c, sm, core) <= t:
                st.sm[sm, M_TURN] = turn + 1
                _take(m, d, c, st, sm, core, t)
                break
    _plan_intake(m, c, st, sm)


@hot
def _plan_intake(m: Machine, c: Columns, st: State, sm: int) -> None:
    first = FAR
    if st.sm[sm, M_QUEUED] > 0:
        for k in range(m.sub_cores):
            first = min(first, _intake_time(st, c, sm, sm * m.sub_cores + k))
        first = max(first, st.sm[sm, M_INTAKE] // TICKS)
    st.sm[sm, M_NEXT] = first


@hot
def _take(m: Machine, d: Drive, c: Columns, st: State, sm: int, core: int, t: int) -> None:
    """Move the head of a queue into the pipe and schedule what comes of it."""
    entries = st.queue_row.shape[1]
    entry = (st.core[core, B_HEAD] + st.core[core, B_TAKEN]) % entries
    st.core[core, B_TAKEN] += 1
    st.sm[sm, M_QUEUED] -= 1
    who = st.queue_who[core, entry]
    w = who & ((1 << WARP_BITS) - 1)
    row = st.queue_row[core, entry]
    pc = c.rows[row, y.R_PC]
    st.core[core, B_ADDRESS] = t + c.static[pc, y.S_SENT]
    st.queue_free[core, entry] = t + c.static[pc, y.S_SENT]
    unit = c.rows[row, y.R_UNIT]
    write = c.static[pc, y.S_WRITE]
    start = max(st.sm[sm, M_INTAKE], t * TICKS)
    busy = m.intake_ticks
    if _is_shared(unit):
        data = max(st.sm[sm, M_DATA], t * TICKS)
        served = c.rows[row, y.R_COST]
        st.sm[sm, M_SERVED] += served
        work = st.sm[sm, M_GEMM_ROW]
        if work >= 0:  # a wgmma reads its operands
            served = served * c.static[c.rows[work, y.R_PC], y.S_CROWDING] // 100
        st.sm[sm, M_DATA] = data + served
        done = t
        if unit != SHARED_STORE:
            waves = 1 if unit == SHUFFLE else max(1, c.rows[row, y.R_WAVEFRONTS])
            first = data + m.load_ticks - m.window_cycles * TICKS - m.wavefront_ticks
            back = max(first, st.warp[w, W_RETURN]) + m.wavefront_ticks * waves
            st.warp[w, W_RETURN] = back
            done = (back + TICKS // 2) // TICKS + c.static[pc, y.S_LATENCY]
        if write != NO_COUNTER:
            _push(st, max(done, t + 1), _event(who, RELEASED, write, 0))
    elif unit == MBARRIER_ARRIVE:
        turn = max(st.sm[sm, M_SYNC], t * TICKS)
        st.sm[sm, M_SYNC] = turn + m.sync_ticks
        _push(st, max(t + 1, turn // TICKS + m.sync_cycles), _row_event(who, row))
        if write != NO_COUNTER:
            _push(st, t + 1, _event(who, RELEASED, write, 0))
    else:
        cost = c.rows[row, y.R_COST]
        tags = max(st.sm[sm, M_TAGS], t * TICKS) + cost
        if unit != ASYNC_COPY:
            busy = max(busy, cost)
        trip = st.queue_trip[core, entry] + _server_cycles(d, c, st, row, t) - m.window_cycles
        trip += _port_cycles(m, c, st, sm, row, unit, t)
        st.sm[sm, M_TAGS] = tags
        if not c.rows[row, y.R_HIT]:
            _note_request(d, c, st, st.queue_cta[core, entry], row, t, t + trip)
        if unit == ASYNC_COPY:
            if c.static[pc, y.S_READ] != NO_COUNTER:
                _push(st, t + c.static[pc, y.S_RELEASE], _event(who, RELEASED, c.static[pc, y.S_READ], 0))
            st.sm[sm, M_DATA] = max(st.sm[sm, M_DATA], t * TICKS) + m.copy_data_ticks
            waves = max(1, c.rows[row, y.R_WAVEFRONTS])
            writing = waves * m.copy_write_ticks // TICKS
            arrival = max(t + max(1, trip + m.copy_extra_cycles - writing), st.warp[w, W_ARRIVAL])
            st.warp[w, W_ARRIVAL] = arrival
            _push(st, arrival, _event(who, ARRIVED, write, waves))
        else:
            if unit == GLOBAL_STORE:
                trip += m.store_extra_cycles
            elif unit == ATOMIC:
                trip += m.atomic_extra_cycles
            if not c.rows[row, y.R_HIT]:
                trip += max(0, cost - m.line_ticks) // TICKS
            _push(st, t + max(1, trip), _event(who, RELEASED, write, 1))
    st.sm[sm, M_INTAKE] = start + busy
    for k in range(st.core[core, B_WARPS]):  # a warp that waits for an entry of this queue now knows when
        w = st.order[core, k]
        if st.warp[w, W_WHY] == y.MIO and st.warp[w, W_UNTIL] == FAR:
            free = st.queue_free[core, st.core[core, B_HEAD]]
            st.warp[w, W_UNTIL] = free
            st.core[core, B_NEXT] = min(st.core[core, B_NEXT], free)


# ---------------------------------------------------------------- issue


@hot
def _sleep(st: State, w: int, why: int, until: int) -> bool:
    st.warp[w, W_WHY] = why
    st.warp[w, W_UNTIL] = until
    return True


@hot
def _is_memory(unit: int) -> bool:
    return SHARED_LOAD <= unit <= ASYNC_COPY or unit in (SHUFFLE, MBARRIER_ARRIVE)


@hot
def _is_global(unit: int) -> bool:
    return SHARED_STORE < unit <= ASYNC_COPY


@hot
def _blocked(m: Machine, c: Columns, st: State, warps: int, core: int, w: int, t: int) -> bool:
    """Whether a warp cannot issue now; if so, put it to sleep for the first reason that applies."""
    row = st.warp[w, W_ROW]
    pc = c.rows[row, y.R_PC]
    unit = c.rows[row, y.R_UNIT]
    held = c.static[pc, y.S_WAIT] & st.warp[w, W_HELD]
    if held:
        counter = 0
        while not (held >> counter) & 1:
            counter += 1
        return _sleep(st, w, st.owner[w, counter], FAR)
    if unit == NONE:
        return False
    if unit <= TENSOR:
        if unit == TENSOR:
            there = _operands_there(c, st, w, pc)
            if there // TICKS > t:
                return _sleep(st, w, y.WAIT, there // TICKS)
        if st.pipe[core, unit] // TICKS > t:
            return _sleep(st, w, y.MATH, st.pipe[core, unit] // TICKS)
        return (unit <= HALF or unit == TENSOR) and _ports_busy(m, st, core, w, t)
    if _is_memory(unit):
        return _queue_full(st, core, w, t)
    if unit == COPY_WAIT:
        counter = c.static[pc, y.S_ARGUMENT] >> 6
        if st.counter[w, counter] > (c.static[pc, y.S_ARGUMENT] & 63):
            return _sleep(st, w, st.owner[w, counter], FAR)
    elif unit == COPY_COMMIT:
        if st.warp[w, W_GROUPS] >= y.COMMIT_SLOTS - 1:
            return _sleep(st, w, y.LONG, FAR)
    elif unit == MEMBAR:
        return _fenced(m, c, st, warps, core, w, pc, t)
    elif unit == WGMMA:
        if st.warp[w, W_QUEUED] >= m.gmma_entries:
            return _sleep(st, w, y.MATH, FAR)
    elif unit == WGMMA_WAIT:
        if st.warp[w, W_OPEN] > c.static[pc, y.S_ARGUMENT]:
            return _sleep(st, w, y.GMMA, FAR)
    elif unit == MBARRIER_WAIT:
        number = c.rows[row, y.R_MBARRIER]
        completed = st.mbarrier[w // (c.offset.shape[0] - 1), number, X_COMPLETED]
        if completed % 2 != c.rows[row, y.R_PARITY]:
            st.warp[w, W_AWAITED] = number
            return _sleep(st, w, y.LONG, FAR)
        st.warp[w, W_AWAITED] = -1
    return False


@hot
def _fenced(m: Machine, c: Columns, st: State, warps: int, core: int, w: int, pc: int, t: int) -> bool:
    """Whether a fence, sent when it was first looked at, or something asked before it is still on its way.

    An SM completes fences that have something to wait for one after the other, beside what they wait for.
    """
    if st.warp[w, W_FENCE] == 0:
        sm, sent = core // m.sub_cores, t + max(1, m.membar_cycles - c.static[pc, y.S_STALL])
        st.warp[w, W_FENCE] = sent
        if st.warp[w, W_OUT] > 0:
            st.sm[sm, M_FENCE] = max(st.sm[sm, M_FENCE] + m.membar_ticks, sent * TICKS)
            st.warp[w, W_FENCE] = st.sm[sm, M_FENCE] // TICKS
        cta = st.slot[w // warps, C_CTA]
        if st.first_store[cta] < FAR:
            st.first_fence[cta] = min(st.first_fence[cta], t)
    if st.warp[w, W_OUT] > 0:
        return _sleep(st, w, y.MEMBAR_STALL, FAR)
    return st.warp[w, W_FENCE] > t and _sleep(st, w, y.MEMBAR_STALL, st.warp[w, W_FENCE])


@hot
def _queue_full(st: State, core: int, w: int, t: int) -> bool:
    entries = st.queue_row.shape[1]
    while st.core[core, B_TAKEN] > 0 and st.queue_free[core, st.core[core, B_HEAD]] <= t:
        st.core[core, B_HEAD] = (st.core[core, B_HEAD] + 1) % entries
        st.core[core, B_TAKEN] -= 1
        st.core[core, B_COUNT] -= 1
    if st.core[core, B_COUNT] < entries:
        return False
    if st.core[core, B_TAKEN] > 0:
        return _sleep(st, w, y.MIO, st.queue_free[core, st.core[core, B_HEAD]])
    return _sleep(st, w, y.MIO, FAR)


@hot
def _operand(st: State, w: int, register: int) -> int:
    """Return what names a register of a warp in the reuse cache."""
    return _who(st, w) << 8 | register


@hot
def _ports_busy(m: Machine, st: State, core: int, w: int, t: int) -> bool:
    """Whether the reads before it leave an instruction without a turn at the read ports inside its window."""
    return st.core[core, B_PORTS] - m.window_cycles > t and _sleep(st, w, y.DISPATCH, t + 1)


@hot
def _missing(m: Machine, c: Columns, st: State, core: int, w: int, pc: int, slot: int) -> int:
    """Bank that an operand slot must be read from, -1 if none (no register, or it is in the reuse cache)."""
    register = c.static[pc, y.S_SLOT_A + slot]
    if register < 0:
        return -1
    bank = register % m.register_banks
    return -1 if st.reuse[core, bank, slot] == _operand(st, w, register) else bank


@hot
def _operands_there(c: Columns, st: State, w: int, pc: int) -> int:
    """Tick at which an mma may read what tensor instructions before it have written: its accumulator, its A operand."""
    there = 0
    for column in (y.S_ACC_READ, y.S_FACTOR):
        source = c.static[pc, column]
        if source >= 0:
            there = max(there, st.accumulator[w, source])
    return int(there)


@hot
def _read_operands(m: Machine, c: Columns, st: State, core: int, w: int, pc: int, t: int) -> None:
    """Occupy the read ports as long as the bank that is asked most takes, and refresh the reuse cache."""
    first = _missing(m, c, st, core, w, pc, 0)
    second = _missing(m, c, st, core, w, pc, 1)
    third = _missing(m, c, st, core, w, pc, 2)
    again = (second >= 0 and second == first) + (third >= 0 and third in (first, second))
    st.core[core, B_PORTS] = max(st.core[core, B_PORTS], t) + 1 + again
    for slot in range(3):
        register = c.static[pc, y.S_SLOT_A + slot]
        if register >= 0:
            key = _operand(st, w, register) if (c.static[pc, y.S_REUSE] >> slot) & 1 else -1
            st.reuse[core, register % m.register_banks, slot] = key


@hot
def _issue(m: Machine, d: Drive, c: Columns, st: State, warps: int, core: int, w: int, t: int) -> None:
    """Issue a warp's next instruction."""
    row = st.warp[w, W_ROW]
    pc = c.rows[row, y.R_PC]
    unit = c.rows[row, y.R_UNIT]
    st.stalls[y.ISSUED] += 1
    if st.profile.shape[0]:
        st.profile[pc, y.ISSUED] += 1
    st.core[core, B_LAST] = w
    st.warp[w, W_TURN] = t
    st.warp[w, W_SINCE] = t + 1
    st.warp[w, W_WHY] = y.WAIT
    resume = t + c.static[pc, y.S_STALL]
    if c.rows[row, y.R_BEGIN] >= 0 and w % warps == d.mark_warp:
        slot = w // warps
        mark = st.slot[slot, C_MARKS]
        st.slot[slot, C_MARKS] = mark + 1
        if mark < st.marks.shape[1]:
            st.marks[st.slot[slot, C_CTA], mark] = t
    if unit != NONE:
        resume = _execute(m, d, c, st, warps, core, w, row, t, resume)
    st.warp[w, W_UNTIL] = resume
    last = _advance(c, st, warps, w, row)
    if unit == BARRIER:
        _arrive(m, d, c, st, warps, w, pc, t)
    elif unit == WGMMA:
        _launch(m, st, warps, core, w, row, t)
    if last:
        _finish(m, d, c, st, warps, core, w, t)


@hot
def _execute(
    m: Machine, d: Drive, c: Columns, st: State, warps: int, core: int, w: int, row: int, t: int, resume: int
) -> int:
    """Do what an instruction does to pipes, queues and counters; return when the warp may go on."""
    pc = c.rows[row, y.R_PC]
    unit = c.rows[row, y.R_UNIT]
    write = c.static[pc, y.S_WRITE]
    read = c.static[pc, y.S_READ]
    owner = c.static[pc, y.S_OWNER]
    if write != NO_COUNTER:
        _rise(st, w, write, owner)
    if read != NO_COUNTER:
        _rise(st, w, read, owner)
    if _is_memory(unit):
        entries = st.queue_row.shape[1]
        entry = (st.core[core, B_HEAD] + st.core[core, B_COUNT]) % entries
        st.core[core, B_COUNT] += 1
        st.queue_who[core, entry] = _who(st, w)
        if _is_global(unit):
            st.queue_trip[core, entry] = _trip(m, d, c, st, w, warps, row)
            st.queue_cta[core, entry] = st.slot[w // warps, C_CTA]
        st.queue_row[core, entry] = row
        st.queue_time[core, entry] = t + m.window_cycles
        st.core[core, B_PORTS] = max(st.core[core, B_PORTS], t) + c.static[pc, y.S_READS]
        sm = core // m.sub_cores
        if read != NO_COUNTER and unit != ASYNC_COPY:  # operands wait in the queue, not in their registers
            _push(st, t + c.static[pc, y.S_RELEASE], _event(_who(st, w), RELEASED, read, 0))
        st.sm[sm, M_QUEUED] += 1
        st.sm[sm, M_NEXT] = min(st.sm[sm, M_NEXT], t + 1)
        st.warp[w, W_COPIES] += unit == ASYNC_COPY
        st.warp[w, W_OUT] += _is_global(unit)
        return resume
    if write != NO_COUNTER:
        _push(st, t + c.static[pc, y.S_LATENCY], _event(_who(st, w), RELEASED, write, 0))
    if read != NO_COUNTER:
        _push(st, t + m.window_cycles, _event(_who(st, w), RELEASED, read, 0))
    if unit <= TENSOR:
        start = max(st.pipe[core, unit], t * TICKS)
        if unit == TENSOR:
            reads = max(
                st.core[core, B_PORTS], t
            )  # cycle at which it begins to read its operands, and to work
            st.core[core, B_PORTS] = reads + c.static[pc, y.S_READS]
            start = max(start, reads * TICKS, _operands_there(c, st, w, pc))
            target = c.static[pc, y.S_ACC_WRITE]
            if target >= 0:
                st.accumulator[w, target] = start + c.static[pc, y.S_ACCUMULATE]
        elif unit <= HALF:
            _read_operands(m, c, st, core, w, pc, t)
        interval = c.static[pc, y.S_INTERVAL]
        if unit <= HALF and st.core[core, B_GEMM] > t * TICKS:
            interval = interval * m.gmma_slowdown // 100
        st.pipe[core, unit] = start + interval
    elif unit == COPY_COMMIT:
        if st.warp[w, W_COPIED] < st.warp[w, W_COPIES]:
            tail = (st.warp[w, W_HEAD] + st.warp[w, W_GROUPS]) % y.COMMIT_SLOTS
            st.groups[w, tail] = st.warp[w, W_COPIES]
            st.warp[w, W_GROUPS] += 1
            _rise(st, w, 0, y.LONG)
    elif unit == BRANCH:
        resume += c.rows[row, y.R_COST]
    elif unit == MEMBAR:
        st.warp[w, W_FENCE] = 0
    elif unit == WGMMA:
        st.warp[w, W_ISSUED] += 1
        st.warp[w, W_QUEUED] += 1
        st.warp[w, W_OPEN] += c.static[pc, y.S_ARGUMENT] & 1
    elif unit in (BULK_LOAD, BULK_STORE):
        _copy_bulk(m, d, c, st, warps, w, row, t)
    elif unit == BULK_COMMIT:
        _rise(st, w, 0, y.LONG)
        _push(st, max(t + 1, st.warp[w, W_STORED]), _event(_who(st, w), RELEASED, 0, 0))
    return resume


@hot
def _advance(c: Columns, st: State, warps: int, w: int, row: int) -> bool:
    """Step to the next row, around a loop while it has replays; return whether the warp is at its end."""
    loop = c.rows[row, y.R_END]
    if loop >= 0:
        if st.warp[w, W_LOOP] != loop:
            st.warp[w, W_LOOP] = loop
            st.warp[w, W_LEFT] = c.replays[loop]
        if st.warp[w, W_LEFT] > 0:
            st.warp[w, W_LEFT] -= 1
            st.warp[w, W_ROW] = c.loops[loop, 0]
            return False
        st.warp[w, W_LOOP] = -1
    st.warp[w, W_ROW] = row + 1
    return bool(row + 1 == c.offset[w % warps + 1])


@hot
def _arrive(m: Machine, d: Drive, c: Columns, st: State, warps: int, w: int, pc: int, t: int) -> None:
    """Let a warp wait at a barrier, which opens when no running warp of its CTA is missing."""
    slot = w // warps
    barrier = c.static[pc, y.S_ARGUMENT] % y.BARRIERS
    wanted = c.static[pc, y.S_ARGUMENT] // y.BARRIERS
    st.wanted[slot, barrier] = wanted
    st.warp[w, W_RESUME] = st.warp[w, W_UNTIL] * y.BARRIERS + barrier
    st.arrived[slot, barrier] += 1
    st.counted[slot, barrier] = max(st.counted[slot, barrier], t) + m.arrival_cycles
    _sleep(st, w, y.BARRIER_STALL, FAR)
    if st.arrived[slot, barrier] == (wanted if wanted > 0 else st.slot[slot, C_ALIVE]):
        _open(m, d, st, warps, slot, barrier, t)


@rare
def _open(m: Machine, d: Drive, st: State, warps: int, slot: int, barrier: int, t: int) -> None:
    st.arrived[slot, barrier] = 0
    opened = max(t, st.counted[slot, barrier])
    st.counted[slot, barrier] = opened + m.barrier_reset_cycles
    for w in range(slot * warps, (slot + 1) * warps):
        waits = st.warp[w, W_WHY] == y.BARRIER_STALL and st.warp[w, W_UNTIL] == FAR
        if waits and st.warp[w, W_RESUME] % y.BARRIERS == barrier:
            until = max(opened + m.barrier_cycles, st.warp[w, W_RESUME] // y.BARRIERS)
            st.warp[w, W_UNTIL] = until
            core = _core_of(m, d, warps, w)
            st.core[core, B_NEXT] = min(st.core[core, B_NEXT], until)


@rare
def _finish(m: Machine, d: Drive, c: Columns, st: State, warps: int, core: int, w: int, t: int) -> None:
    """Retire a warp; with its CTA's last, retire the CTA and start the next in its place."""
    slot = w // warps
    # its last instruction may have been a barrier that has not opened
    if st.warp[w, W_WHY] == y.BARRIER_STALL and st.warp[w, W_UNTIL] == FAR:
        st.arrived[slot, st.warp[w, W_RESUME] % y.BARRIERS] -= 1
    _sleep(st, w, DONE, FAR)
    st.core[core, B_LAST] = -1
    st.slot[slot, C_ALIVE] -= 1
    if st.slot[slot, C_ALIVE] == 0:
        st.end[st.slot[slot, C_CTA]] = t + 1
        st.run[G_RUNNING] -= 1
        if st.run[G_QUEUE] < d.ctas:
            _start(m, d, c, st, warps, slot, t + 1 + m.cta_start_cycles)
        return
    for barrier in range(y.BARRIERS):
        if 0 < st.arrived[slot, barrier] == st.slot[slot, C_ALIVE] and st.wanted[slot, barrier] == 0:
            _open(m, d, st, warps, slot, barrier, t)


# ---------------------------------------------------------------- CTAs


@rare
def _start(m: Machine, d: Drive, c: Columns, st: State, warps: int, slot: int, t: int) -> None:
    """Start the next CTA of the queue in a slot at cycle ``t``."""
    cta = st.run[G_QUEUE]
    st.run[G_QUEUE] = cta + 1
    st.run[G_RUNNING] += 1
    st.slot[slot, C_CTA] = cta
    st.slot[slot, C_ALIVE] = 0
    st.slot[slot, C_MARKS] = 0
    for barrier in range(y.BARRIERS):
        st.arrived[slot, barrier] = st.counted[slot, barrier] = 0
    for number in range(st.mbarrier.shape[1]):
        for field in range(X_FIELDS):
            st.mbarrier[slot, number, field] = 0
    st.sm[slot // d.resident, M_DIRTY] = 1
    for k in range(warps):
        w = slot * warps + k
        born = st.warp[w, W_BORN] + 1
        arrival = st.warp[w, W_ARRIVAL]  # copies and loads of the CTA before may still be on their way
        back = st.warp[w, W_RETURN]
        for field in range(W_FIELDS):
            st.warp[w, field] = 0
        st.warp[w, W_BORN] = born
        st.warp[w, W_ARRIVAL] = arrival
        st.warp[w, W_RETURN] = back
        st.warp[w, W_ROW] = c.offset[k]
        st.warp[w, W_SINCE] = t
        st.warp[w, W_TURN] = t
        st.warp[w, W_LOOP] = -1
        st.warp[w, W_AWAITED] = -1
        for counter in range(COUNTERS):
            st.counter[w, counter] = 0
        for register in range(st.accumulator.shape[1]):
            st.accumulator[w, register] = 0
        if c.offset[k] == c.offset[k + 1]:
            _sleep(st, w, DONE, FAR)
            continue
        _sleep(st, w, y.WAIT, t)
        st.slot[slot, C_ALIVE] += 1
        core = _core_of(m, d, warps, w)
        st.core[core, B_NEXT] = min(st.core[core, B_NEXT], t)


@rare
def _sort(m: Machine, d: Drive, st: State, warps: int, sm: int) -> None:
    """List the warps of each sub-core of an SM, youngest CTA and highest warp first."""
    st.sm[sm, M_DIRTY] = 0
    for core in range(sm * m.sub_cores, (sm + 1) * m.sub_cores):
        st.core[core, B_WARPS] = 0
    below = FAR
    for _ in range(d.resident):
        best = -1
        for slot in range(sm * d.resident, (sm + 1) * d.resident):
            cta = st.slot[slot, C_CTA]
            if 0 <= cta < below and (best < 0 or cta > st.slot[best, C_CTA]):
                best = slot
        if best < 0:
            break
        below = st.slot[best, C_CTA]
        for w in range((best + 1) * warps - 1, best * warps - 1, -1):
            core = _core_of(m, d, warps, w)
            st.order[core, st.core[core, B_WARPS]] = w
            st.core[core, B_WARPS] += 1


@hot
def _ready(m: Machine, c: Columns, st: State, warps: int, core: int, w: int, t: int) -> bool:
    """Look at a warp whose sleep is over: whether it can issue; if not, it sleeps on."""
    why = st.warp[w, W_WHY]
    lost = t - st.warp[w, W_SINCE]
    if lost > 0:
        st.stalls[why] += lost
        if st.profile.shape[0]:
            st.profile[c.rows[st.warp[w, W_ROW], y.R_PC], why] += lost
        st.warp[w, W_SINCE] = t
    return not _blocked(m, c, st, warps, core, w, t)


@hot
def _cycle(m: Machine, d: Drive, c: Columns, st: State, warps: int, core: int, t: int) -> None:
    """Let one sub-core issue: of the warps that can, the one that issued last, else the one that waits longest."""
    st.core[core, B_NEXT] = FAR
    greedy = st.core[core, B_LAST]
    best = -1
    for k in range(st.core[core, B_WARPS]):
        w = st.order[core, k]
        if st.warp[w, W_UNTIL] > t or not _ready(m, c, st, warps, core, w, t):
            continue
        if w == greedy or best < 0 or (best != greedy and st.warp[w, W_TURN] < st.warp[best, W_TURN]):
            best, w = w, best
        if w >= 0:
            _sleep(st, w, y.NOT_SELECTED, t + 1)
    if best >= 0:
        _issue(m, d, c, st, warps, core, best, t)
    first = st.core[core, B_NEXT]
    for k in range(st.core[core, B_WARPS]):
        first = min(first, st.warp[st.order[core, k], W_UNTIL])
    st.core[core, B_NEXT] = first


@njit(**OPTIONS)
def run(m: Machine, d: Drive, c: Columns, st: State) -> int:
    """Run to the end; return the cycle reached. ``st.run[G_STATUS]`` says how it ended."""
    warps = c.offset.shape[0] - 1
    for place in range(d.resident):
        for sm in range(d.sms):
            if st.run[G_QUEUE] < d.ctas:
                _start(m, d, c, st, warps, sm * d.resident + place, place * d.stagger_cycles)
    t = 0
    while st.run[G_RUNNING] > 0:
        while st.run[G_EVENTS] > 0 and st.heap_key[0] >> 31 <= t:
            _deliver(m, d, c, st, warps, t, _pop(st))
        following = FAR
        for sm in range(d.sms):
            if st.sm[sm, M_GEMM_NEXT] <= t:
                _multiply(m, d, c, st, warps, sm, t)
            if st.sm[sm, M_NEXT] <= t:
                _intake(m, d, c, st, warps, sm, t)
            if st.sm[sm, M_DIRTY]:
                _sort(m, d, st, warps, sm)
            for core in range(sm * m.sub_cores, (sm + 1) * m.sub_cores):
                if st.core[core, B_NEXT] <= t:
                    _cycle(m, d, c, st, warps, core, t)
            following = min(following, st.sm[sm, M_NEXT], st.sm[sm, M_GEMM_NEXT])
            for core in range(sm * m.sub_cores, (sm + 1) * m.sub_cores):
                following = min(following, st.core[core, B_NEXT])
        if st.run[G_EVENTS] > 0:
            following = min(following, st.heap_key[0] >> 31)
        if st.run[G_STATUS] != y.FINISHED or st.run[G_RUNNING] == 0:
            break
        if following >= FAR:
            st.run[G_STATUS] = y.DEADLOCK
            break
        if following > d.max_cycles:
            st.run[G_STATUS] = y.TOO_LONG
            break
        t = max(t + 1, following)
    return t
