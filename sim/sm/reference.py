"""The timing engine's slow twin: the same rules, written to be read, every warp looked at in every cycle.

It shares with ``engine`` the columns and the hash of the latency jitter, nothing else. Tests compare the two.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sim.isa.units import COUNTERS, NO_COUNTER, STORES, Unit
from sim.sm import layout as y
from sim.sm.columns import SmColumns
from sim.sm.engine import draw
from sim.sm.instructions import ON_PORTS
from sim.sm.layout import TICKS, Drive
from sim.sm.replay import Run

DATA_UNITS = (Unit.SHARED_LOAD, Unit.SHARED_STORE, Unit.SHUFFLE)
GLOBAL_UNITS = (Unit.GLOBAL_LOAD, Unit.GLOBAL_STORE, Unit.ATOMIC, Unit.ASYNC_COPY)
QUEUE_UNITS = (*DATA_UNITS, *GLOBAL_UNITS, Unit.MBARRIER_ARRIVE)
PIPE_UNITS = (*ON_PORTS, Unit.XU, Unit.UNIFORM, Unit.SPECIAL, Unit.TENSOR)


@dataclass
class Warp:
    """A resident warp."""

    number: int  # inside its CTA
    cta: Cta
    core: Core
    row: int
    start: int
    ready: int  # cycle at which its stall count is over
    counters: list[int] = field(default_factory=lambda: [0] * COUNTERS)
    owners: list[int] = field(default_factory=lambda: [y.SHORT] * COUNTERS)
    why: int = y.WAIT  # what `ready` waits for
    barrier: int = -1  # at which it waits
    outstanding: int = 0
    fence: int = 0  # cycle at which the fence it waits for completes, 0 = none was sent
    copies: int = 0
    copied: int = 0
    groups: deque[int] = field(default_factory=deque)
    requests: int = 0
    loop: int = -1
    left: int = 0
    accumulators: dict[int, int] = field(default_factory=dict)  # register -> tick at which it may be read
    multiplied: int = 0  # wgmmas issued
    queued: int = 0  # of them, not begun
    pending: int = 0  # commit groups of them that are not done
    stored: int = 0  # cycle at which its bulk stores are done
    turn: int = 0  # cycle of its last issue
    done: bool = False

    def operands_there(self, static: list[int]) -> int:
        """Return the tick at which an mma may read what tensor instructions before it wrote: accumulator, A operand."""
        return max(self.accumulators.get(static[column], 0) for column in (y.S_ACC_READ, y.S_FACTOR))


@dataclass
class Entry:
    """An instruction in the memory queue of a sub-core."""

    warp: Warp
    row: int
    time: int  # cycle from which it may leave
    trip: int = 0  # cycles that memory takes to answer
    free: int = y.FAR  # cycle at which its place is free


@dataclass
class Multiply:
    """A wgmma that all warps of its warpgroup have issued."""

    warps: list[Warp]
    static: list[int]
    time: int  # cycle at which the last of them issued it
    begin: int = 0  # tick
    mark: int = 0  # what the data pipe had served by then

    def alone(self) -> int:
        """Ticks that it takes the pipes if nothing else reads shared memory."""
        return max(self.static[y.S_INTERVAL], self.static[y.S_OPERANDS])


@dataclass
class Mbarrier:
    """An mbarrier's phase, and how many it has completed."""

    arrived: int = 0
    missing: int = 0  # bytes announced and not delivered
    completed: int = 0


@dataclass
class Core:
    """A sub-core."""

    sm: Sm
    warps: list[Warp] = field(default_factory=list)
    last: Warp | None = None
    pipes: dict[int, int] = field(default_factory=dict)  # unit -> tick at which it is free
    ports: int = 0  # cycle at which the read ports of the register file are free
    reuse: dict[tuple[int, int], tuple[Warp, int]] = field(default_factory=dict)  # (bank, slot) -> operand
    queue: deque[Entry] = field(default_factory=deque)
    addressing: int = 0  # cycle at which address generation is free
    multiplying: int = (
        0  # tick until which a wgmma uses its registers: at work, then writing a group's results
    )


@dataclass
class Sm:
    """A streaming multiprocessor."""

    cores: list[Core] = field(default_factory=list)
    intake: int = 0  # tick at which the memory pipe takes the next instruction
    data: int = 0  # tick at which the shared data pipe is free
    tags: int = 0  # tick at which the next access to global memory may look up its lines
    port: int = 0  # tick at which the port from L2 is free
    fence: int = 0  # tick at which the last fence sent completes
    turn: int = 0
    served: int = 0  # ticks that the data pipe has given to accesses
    arriving: int = 0  # tick at which the mbarrier unit takes the next arrival
    copying: int = 0  # tick at which the copy engine is free
    launched: deque[Multiply] = field(default_factory=deque)
    at_work: Multiply | None = None
    served_last: Warp | None = None  # first warp of the warpgroup that was last at work
    multiplied: int = 0  # tick at which the last wgmma was done with the pipes


@dataclass
class Cta:
    """A resident CTA."""

    number: int
    sm: Sm
    place: int
    warps: list[Warp] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    counted: dict[int, int] = field(default_factory=dict)  # barrier -> cycle: arrivals so far are counted
    wanted: dict[int, int] = field(default_factory=dict)  # barrier -> warps that meet there, 0 = all
    mbarriers: list[Mbarrier] = field(default_factory=list)
    multiplies: dict[int, int] = field(default_factory=dict)  # warpgroup -> wgmmas launched

    def running(self) -> list[Warp]:
        """Return the warps that have not exited."""
        return [warp for warp in self.warps if not warp.done]


class Twin:
    """One run."""

    def __init__(self, columns: SmColumns, drive: Drive, replays: npt.NDArray[np.int64]) -> None:
        self.c, self.m, self.d, self.replays = columns, columns.machine, drive, replays
        self.sms = [Sm() for _ in range(drive.sms)]
        for sm in self.sms:
            sm.cores = [Core(sm) for _ in range(self.m.sub_cores)]
        self.events: list[tuple[int, int, Callable[[int], None]]] = []
        self.sequence = 0
        self.server = 0
        self.arrivals: dict[tuple[int, int], int] = {}  # (SM, seat) -> last arrival of a copy
        self.returned: dict[
            tuple[int, int], int
        ] = {}  # tick at which a seat's path back from shared memory is free
        self.waiting = 0  # the next CTA of the queue
        self.running = 0
        self.end = np.zeros(drive.ctas, np.int64)
        self.first_request = np.full(drive.ctas, y.FAR, np.int64)
        self.last_arrival = np.zeros(drive.ctas, np.int64)
        self.asked = np.zeros(drive.ctas, np.int64)
        self.first_store = np.full(drive.ctas, y.FAR, np.int64)
        self.first_fence = np.full(drive.ctas, y.FAR, np.int64)
        self.marks = np.zeros((drive.ctas, drive.marks), np.int64)
        self.stalls = np.zeros(len(y.STALL_NAMES), np.int64)

    def run(self) -> Run | None:
        """Run to the end; None if that was not reached within ``max_cycles``."""
        for place in range(self.d.resident):
            for sm in self.sms:
                self.start(sm, place, place * self.d.stagger_cycles)
        t = 0
        while self.running and t <= self.d.max_cycles:
            while self.events and self.events[0][0] <= t:
                heapq.heappop(self.events)[2](t)
            for sm in self.sms:
                self.multiply(sm, t)
                self.take_one(sm, t)
                for core in sm.cores:
                    self.issue_one(core, t)
            t += 1
        if self.running:
            return None
        nothing = np.zeros((0, len(y.STALL_NAMES)), np.int64)
        times = self.end, self.first_request, self.last_arrival, self.first_store, self.first_fence
        return Run(*times, self.marks, self.stalls, nothing)

    # CTAs

    def start(self, sm: Sm, place: int, t: int) -> None:
        """Start the next CTA of the queue, if there is one."""
        if self.waiting == self.d.ctas:
            return
        cta = Cta(self.waiting, sm, place, mbarriers=[Mbarrier() for _ in self.c.needs])
        self.waiting += 1
        self.running += 1
        count = len(self.c.offset) - 1
        for number in range(count):
            core = sm.cores[(place * count + number) % self.m.sub_cores]
            warp = Warp(number, cta, core, int(self.c.offset[number]), t, t, turn=t)
            warp.done = self.c.offset[number] == self.c.offset[number + 1]
            cta.warps.append(warp)
            core.warps.append(warp)

    def finish(self, warp: Warp, t: int) -> None:
        """Retire a warp, and with the last its CTA."""
        warp.done = True
        warp.core.last = None
        cta = warp.cta
        if cta.running():
            for barrier in range(y.BARRIERS):
                self.try_open(cta, barrier, t)
            return
        self.end[cta.number] = t + 1
        self.running -= 1
        for core in cta.sm.cores:
            core.warps = [other for other in core.warps if other.cta is not cta]
        self.start(cta.sm, cta.place, t + 1 + self.m.cta_start_cycles)

    # events

    def at(self, t: int, action: Callable[[int], None]) -> None:
        """Let something happen at the beginning of cycle ``t``."""
        heapq.heappush(self.events, (t, self.sequence, action))
        self.sequence += 1

    def fall_at(self, t: int, warp: Warp, counter: int, outstanding: int = 0) -> None:
        """Let a dependence counter fall at ``t``."""

        def action(_now: int) -> None:
            if counter != NO_COUNTER:
                warp.counters[counter] -= 1
            warp.outstanding -= outstanding

        if counter != NO_COUNTER or outstanding:
            self.at(t, action)

    def copy_at(self, t: int, warp: Warp, counter: int, waves: int) -> None:
        """Let a copy's data reach shared memory at ``t`` and be written there."""

        def arrive(now: int) -> None:
            sm = warp.cta.sm
            sm.data = max(sm.data, now * TICKS) + waves * self.m.copy_write_ticks
            self.at(-(-sm.data // TICKS), complete)

        def complete(_now: int) -> None:
            if counter != NO_COUNTER:
                warp.counters[counter] -= 1
            warp.outstanding -= 1
            warp.copied += 1
            while warp.groups and warp.groups[0] <= warp.copied:
                warp.groups.popleft()
                warp.counters[0] -= 1

        self.at(t, arrive)

    def signal_at(self, t: int, warp: Warp, row: int) -> None:
        """Let an mbarrier hear at ``t`` of a row's arrivals or of the bytes that it has copied."""
        number, tx = int(self.c.rows[row, y.R_MBARRIER]), int(self.c.rows[row, y.R_TX])

        def action(_now: int) -> None:
            barrier = warp.cta.mbarriers[number]
            copied = self.unit(row) == Unit.BULK_LOAD
            barrier.missing += -tx if copied else tx
            barrier.arrived += 0 if copied else int(self.c.rows[row, y.R_ARRIVALS])
            if barrier.arrived >= self.c.needs[number] and barrier.missing == 0:
                barrier.arrived = 0
                barrier.completed += 1

        self.at(t, action)

    # wgmma

    def launch(self, warp: Warp, row: int, t: int) -> None:
        """Hand a wgmma to the tensor cores once the last warp of the warpgroup has issued it."""
        group = warp.number // y.WARPGROUP
        warps = [each for each in warp.cta.warps if each.number // y.WARPGROUP == group]
        launched = warp.cta.multiplies
        if min(each.multiplied for each in warps) > launched.get(group, 0):
            launched[group] = launched.get(group, 0) + 1
            warp.cta.sm.launched.append(Multiply(warps, self.static(row), t))

    def multiply(self, sm: Sm, t: int) -> None:
        """Let the tensor cores finish the wgmma they work on, and begin the next."""
        next_cycle = (t + 1) * TICKS
        if sm.at_work is not None:
            due = self.due(sm, sm.at_work)
            if due >= next_cycle:
                return
            self.end_multiply(sm, sm.at_work, due, t)
        if not sm.launched:
            return
        first = next((each for each in sm.launched if each.warps[0] is sm.served_last), sm.launched[0])
        cores = [warp.core for warp in first.warps]
        free = max(core.pipes.get(Unit.TENSOR, 0) for core in cores)
        first.begin = max(sm.multiplied, first.time * TICKS, free)
        if first.begin < next_cycle:
            sm.launched.remove(first)
            self.begin_multiply(sm, first)

    def due(self, sm: Sm, work: Multiply) -> int:
        """Tick at which a wgmma is done with the pipes: its columns, or its operands behind other accesses."""
        operands = work.static[y.S_OPERANDS] + sm.served - work.mark
        return work.begin + max(work.static[y.S_INTERVAL], operands)

    def begin_multiply(self, sm: Sm, work: Multiply) -> None:
        """Begin a wgmma; its warps may issue the next."""
        sm.at_work, work.mark = work, sm.served
        sm.served_last = work.warps[0]  # whose further wgmmas go first
        due = work.begin + work.alone()
        readable = work.begin + work.static[y.S_LATENCY] * TICKS
        closes = work.static[y.S_ARGUMENT] & 1
        results = min(work.static[y.S_INTERVAL], readable - due) if closes else 0  # that are written
        for warp in work.warps:
            warp.core.pipes[Unit.TENSOR], warp.core.multiplying = due, due + results
            warp.queued -= 1

    def end_multiply(self, sm: Sm, work: Multiply, due: int, t: int) -> None:
        """Free the tensor cores; with the latency over, a commit group that it closes is done."""
        sm.at_work, sm.multiplied = None, due

        def done(_now: int) -> None:
            for warp in work.warps:
                warp.pending -= 1

        end = due - work.alone() + work.static[y.S_LATENCY] * TICKS
        if work.static[y.S_ARGUMENT] & 1:
            self.at(max(t + 1, -(-end // TICKS)), done)

    # bulk copies

    def copy_bulk(self, warp: Warp, row: int, t: int) -> None:
        """Move a box, after those before it; then tell its mbarrier."""
        sm, columns = warp.cta.sm, self.c.rows[row]
        sm.copying = max(sm.copying, t * TICKS) + int(columns[y.R_COST])
        trip = self.d.far_cycles if columns[y.R_WAVEFRONTS] > 1 else self.round_trip(warp, row)
        there = max(t + 1, -(-sm.copying // TICKS) + trip + self.server_cycles(row, t))
        if not columns[y.R_HIT]:
            self.note_request(warp.cta.number, row, t, there)
        if self.unit(row) == Unit.BULK_STORE:
            warp.stored = max(warp.stored, there)
        else:
            self.signal_at(max(t + 1, there + self.m.bulk_extra_cycles), warp, row)

    # memory pipe

    def note_request(self, cta: int, row: int, t: int, there: int) -> None:
        """Note what a CTA asks beyond L1, and when the answer is there."""
        self.first_request[cta] = min(self.first_request[cta], t)
        self.asked[cta] += int(self.c.rows[row, y.R_SECTORS])
        if self.asked[cta] <= self.d.bulk_sectors:
            self.last_arrival[cta] = max(self.last_arrival[cta], there)
        elif self.unit(row) in STORES:
            self.first_store[cta] = min(self.first_store[cta], t)

    def take_one(self, sm: Sm, t: int) -> None:
        """Let the memory pipe take one instruction, sub-cores in turn."""
        if sm.intake >= (t + 1) * TICKS:
            return
        for k in range(len(sm.cores)):
            turn = (sm.turn + k) % len(sm.cores)
            entry = self.head(sm.cores[turn], t)
            if entry is not None:
                sm.turn = turn + 1
                self.take(sm, sm.cores[turn], entry, t)
                return

    def head(self, core: Core, t: int) -> Entry | None:
        """Return the first untaken entry of a queue if it may enter the pipe now."""
        entry = next((entry for entry in core.queue if entry.free == y.FAR), None)
        if entry is None or core.addressing > t or entry.time > t:
            return None
        unit, free = self.unit(entry.row), (t + 1) * TICKS
        if unit == Unit.MBARRIER_ARRIVE:
            return None if core.sm.arriving >= free else entry
        if unit in GLOBAL_UNITS and core.sm.tags >= free:
            return None
        return None if unit in DATA_UNITS and core.sm.data >= free else entry

    def take(self, sm: Sm, core: Core, entry: Entry, t: int) -> None:
        """Move an entry into the pipe."""
        m, static, unit = self.m, self.static(entry.row), self.unit(entry.row)
        entry.free = core.addressing = t + static[y.S_SENT]
        cost = int(self.c.rows[entry.row, y.R_COST]) if unit in GLOBAL_UNITS else 0
        if unit in GLOBAL_UNITS:
            sm.tags = max(sm.tags, t * TICKS) + cost
        sm.intake = max(sm.intake, t * TICKS) + max(m.intake_ticks, 0 if unit == Unit.ASYNC_COPY else cost)
        if unit in DATA_UNITS:
            self.take_shared(sm, core, entry, t)
        elif unit == Unit.MBARRIER_ARRIVE:
            self.take_arrival(sm, entry, t)
        else:
            self.take_global(entry, t)

    def take_shared(self, sm: Sm, core: Core, entry: Entry, t: int) -> None:
        """Serve LDS, LDSM, STS, SHFL on the data pipe."""
        m, unit, static, warp = self.m, self.unit(entry.row), self.static(entry.row), entry.warp
        begin = max(sm.data, t * TICKS)
        served = int(self.c.rows[entry.row, y.R_COST])
        sm.served += served
        if sm.at_work is not None:
            served = served * sm.at_work.static[y.S_CROWDING] // 100
        sm.data = begin + served
        done = t
        if unit != Unit.SHARED_STORE:
            waves = 1 if unit == Unit.SHUFFLE else max(1, int(self.c.rows[entry.row, y.R_WAVEFRONTS]))
            first = begin + m.load_ticks - m.window_cycles * TICKS - m.wavefront_ticks
            seat = self.seat(warp)
            self.returned[seat] = max(first, self.returned.get(seat, 0)) + waves * m.wavefront_ticks
            done = (self.returned[seat] + TICKS // 2) // TICKS + static[y.S_LATENCY]
        self.fall_at(max(done, t + 1), warp, static[y.S_WRITE])

    def take_arrival(self, sm: Sm, entry: Entry, t: int) -> None:
        """Let the mbarrier unit count an arrival, one after the other."""
        begin = max(sm.arriving, t * TICKS)
        sm.arriving = begin + self.m.sync_ticks
        self.signal_at(max(t + 1, begin // TICKS + self.m.sync_cycles), entry.warp, entry.row)
        self.fall_at(t + 1, entry.warp, self.static(entry.row)[y.S_WRITE])

    def take_global(self, entry: Entry, t: int) -> None:
        """Send LDG, STG, RED, ATOMG and LDGSTS on their way."""
        m, warp = self.m, entry.warp
        row, static = self.c.rows[entry.row], self.static(entry.row)
        trip = entry.trip + self.server_cycles(entry.row, t) - m.window_cycles
        trip += self.port_cycles(warp.cta.sm, entry.row, t)
        sm = warp.cta.sm
        if not row[y.R_HIT]:
            self.note_request(warp.cta.number, entry.row, t, t + trip)
        if row[y.R_UNIT] == Unit.ASYNC_COPY:
            self.fall_at(t + static[y.S_RELEASE], warp, static[y.S_READ])
            sm.data = max(sm.data, t * TICKS) + m.copy_data_ticks
            waves = max(1, int(row[y.R_WAVEFRONTS]))
            seat = self.seat(warp)
            writing = waves * m.copy_write_ticks // TICKS
            arrival = t + max(1, trip + m.copy_extra_cycles - writing)
            self.arrivals[seat] = max(self.arrivals.get(seat, 0), arrival)
            self.copy_at(self.arrivals[seat], warp, static[y.S_WRITE], waves)
            return
        if not row[y.R_HIT]:
            trip += max(0, int(row[y.R_COST]) - m.line_ticks) // TICKS
        if self.unit(entry.row) == Unit.GLOBAL_STORE:
            trip += m.store_extra_cycles
        elif self.unit(entry.row) == Unit.ATOMIC:
            trip += m.atomic_extra_cycles
        self.fall_at(t + max(1, trip), warp, static[y.S_WRITE], 1)

    def seat(self, warp: Warp) -> tuple[int, int]:
        """Name a warp's place on its SM, which warps of later CTAs take over."""
        return id(warp.cta.sm), warp.cta.place * len(warp.cta.warps) + warp.number

    def round_trip(self, warp: Warp, row: int) -> int:
        """Cycles until a request's answer is back from L1 or one of the halves of L2; its farthest line counts."""
        lines = int(self.c.rows[row, y.R_LINES])
        if self.c.rows[row, y.R_HIT]:
            return (
                self.m.hit_cycles + max(0, lines * self.m.hit_line_ticks - self.m.hit_hidden_ticks) // TICKS
            )
        bits = draw(self.d.seed, warp.cta.number, warp.number, warp.requests)
        warp.requests += 1
        near = all_near = y.ALL - self.d.far_threshold
        for _ in range(lines - 1):
            all_near = all_near * near >> 31
        return self.d.far_cycles if bits < y.ALL - all_near else self.d.near_cycles

    def port_cycles(self, sm: Sm, row: int, t: int) -> int:
        """Wait for the port through which an SM gets what it loads from L2."""
        if self.c.rows[row, y.R_HIT] or self.unit(row) == Unit.GLOBAL_STORE:
            return 0
        begin = max(sm.port, t * TICKS)
        sm.port = begin + int(self.c.rows[row, y.R_SECTORS]) * self.m.port_sector_ticks
        return (begin - t * TICKS) // TICKS

    def server_cycles(self, row: int, t: int) -> int:
        """Transfer, and the wait for it, through the server that all SMs share."""
        if self.d.sector_ticks == 0 or self.c.rows[row, y.R_HIT]:
            return 0
        transfer = int(self.c.rows[row, y.R_SECTORS]) * self.d.sector_ticks
        self.server = max(self.server, t * TICKS) + transfer
        return (self.server - t * TICKS) // TICKS

    # issue

    def unit(self, row: int) -> int:
        """Unit of an executed row."""
        return int(self.c.rows[row, y.R_UNIT])

    def static(self, row: int) -> list[int]:
        """Columns of the instruction of an executed row."""
        return [int(value) for value in self.c.static[self.c.rows[row, y.R_PC]]]

    def issue_one(self, core: Core, t: int) -> None:
        """Issue one instruction of a sub-core if any warp can; count why the others do not.

        The warp that issued last goes on; else the one goes that waits longest, of equals the youngest CTA's highest.
        """
        youngest = sorted(core.warps, key=lambda warp: (-warp.cta.number, -warp.number))
        ready = []
        for warp in youngest:
            if warp.done or warp.start > t:
                continue
            why = self.stall(core, warp, t)
            if why is None:
                ready.append(warp)
            else:
                self.stalls[why] += 1
        if not ready:
            return
        chosen = core.last if core.last in ready else min(ready, key=lambda warp: warp.turn)
        self.stalls[y.NOT_SELECTED] += len(ready) - 1
        self.stalls[y.ISSUED] += 1
        self.issue(core, chosen, t)

    def stall(self, core: Core, warp: Warp, t: int) -> int | None:
        """Return why a warp cannot issue now, None if it can."""
        if warp.barrier >= 0:
            return y.BARRIER_STALL
        if warp.ready > t:
            return warp.why
        static, unit = self.static(warp.row), self.unit(warp.row)
        for counter in range(COUNTERS):
            if static[y.S_WAIT] >> counter & 1 and warp.counters[counter] > 0:
                return warp.owners[counter]
        if unit in PIPE_UNITS:
            return self.pipe_stall(core, warp, static, unit, t)
        if unit in QUEUE_UNITS:
            full = sum(entry.free > t for entry in core.queue) >= self.m.queue_entries
            return y.MIO if full else None
        if unit == Unit.COPY_WAIT:
            counter, threshold = divmod(static[y.S_ARGUMENT], 64)
            return warp.owners[counter] if warp.counters[counter] > threshold else None
        if unit == Unit.COPY_COMMIT and len(warp.groups) >= y.COMMIT_SLOTS - 1:
            return y.LONG
        if unit == Unit.MEMBAR:
            return y.MEMBAR_STALL if self.fenced(warp, static, t) else None
        return self.async_stall(warp, static, unit)

    def fenced(self, warp: Warp, static: list[int], t: int) -> bool:
        """Whether a fence, sent when it was first looked at, or something asked before it is still on its way.

        An SM completes fences that have something to wait for one after the other, beside what they wait for.
        """
        if not warp.fence:
            sm, sent = warp.cta.sm, t + max(1, self.m.membar_cycles - static[y.S_STALL])
            warp.fence = sent
            if warp.outstanding > 0:
                sm.fence = max(sm.fence + self.m.membar_ticks, sent * TICKS)
                warp.fence = sm.fence // TICKS
            if self.first_store[warp.cta.number] < y.FAR:
                self.first_fence[warp.cta.number] = min(self.first_fence[warp.cta.number], t)
        return warp.outstanding > 0 or warp.fence > t

    def async_stall(self, warp: Warp, static: list[int], unit: int) -> int | None:
        """Return what of the tensor cores or of an mbarrier a warp waits for."""
        if unit == Unit.WGMMA and warp.queued >= self.m.gmma_entries:
            return y.MATH
        if unit == Unit.WGMMA_WAIT and warp.pending > static[y.S_ARGUMENT]:
            return y.GMMA
        if unit == Unit.MBARRIER_WAIT:
            row = self.c.rows[warp.row]
            completed = warp.cta.mbarriers[row[y.R_MBARRIER]].completed
            return y.LONG if completed % 2 != row[y.R_PARITY] else None
        return None

    def pipe_stall(self, core: Core, warp: Warp, static: list[int], unit: int, t: int) -> int | None:
        """Return why a pipe does not take the instruction now."""
        next_cycle = (t + 1) * TICKS
        if unit == Unit.TENSOR and warp.operands_there(static) >= next_cycle:
            return y.WAIT
        if core.pipes.get(unit, 0) >= next_cycle:
            return y.MATH
        reads = unit in ON_PORTS or unit == Unit.TENSOR
        return y.DISPATCH if reads and core.ports > t + self.m.window_cycles else None

    def port_cycles_of(self, core: Core, warp: Warp, static: list[int]) -> int:
        """Return how long an instruction reads: once per operand of its fullest bank that is not in the reuse cache."""
        banks = []
        for slot in range(3):
            register = static[y.S_SLOT_A + slot]
            bank = register % self.m.register_banks
            if register >= 0 and core.reuse.get((bank, slot)) != (warp, register):
                banks.append(bank)
        return max([1, *(banks.count(bank) for bank in banks)])

    def issue(self, core: Core, warp: Warp, t: int) -> None:
        """Issue a warp's next instruction."""
        row, static, unit = warp.row, self.static(warp.row), self.unit(warp.row)
        core.last, warp.turn = warp, t
        warp.why, warp.ready = y.WAIT, t + static[y.S_STALL]
        if self.c.rows[row, y.R_BEGIN] >= 0 and warp.number == self.d.mark_warp:
            warp.cta.marks.append(t)
            if len(warp.cta.marks) <= self.d.marks:
                self.marks[warp.cta.number, len(warp.cta.marks) - 1] = t
        if unit != Unit.NONE:
            self.execute(core, warp, static, unit, t)
        ended = self.advance(warp)
        if unit == Unit.WGMMA:
            self.launch(warp, row, t)
        if unit == Unit.BARRIER:
            wanted, warp.barrier = divmod(static[y.S_ARGUMENT], y.BARRIERS)
            warp.cta.wanted[warp.barrier] = wanted
            counted = warp.cta.counted
            counted[warp.barrier] = max(counted.get(warp.barrier, 0), t) + self.m.arrival_cycles
            self.try_open(warp.cta, warp.barrier, t)
        if ended:
            self.finish(warp, t)

    def execute(self, core: Core, warp: Warp, static: list[int], unit: int, t: int) -> None:
        """Do what an instruction does to counters, pipes and queues."""
        for counter in (static[y.S_WRITE], static[y.S_READ]):
            if counter != NO_COUNTER:
                warp.counters[counter] += 1
                warp.owners[counter] = static[y.S_OWNER]
        if unit in QUEUE_UNITS:
            while core.queue and core.queue[0].free <= t:
                core.queue.popleft()
            trip = self.round_trip(warp, warp.row) if unit in GLOBAL_UNITS else 0
            core.queue.append(Entry(warp, warp.row, t + self.m.window_cycles, trip))
            core.ports = max(core.ports, t) + static[y.S_READS]
            if unit != Unit.ASYNC_COPY:  # operands wait in the queue, not in their registers
                self.fall_at(t + static[y.S_RELEASE], warp, static[y.S_READ])
            warp.copies += unit == Unit.ASYNC_COPY
            warp.outstanding += unit in GLOBAL_UNITS
            return
        self.fall_at(t + static[y.S_LATENCY], warp, static[y.S_WRITE])
        self.fall_at(t + self.m.window_cycles, warp, static[y.S_READ])
        if unit in PIPE_UNITS:
            self.occupy(core, warp, static, unit, t)
        elif unit == Unit.COPY_COMMIT and warp.copied < warp.copies:
            warp.groups.append(warp.copies)
            warp.counters[0] += 1
            warp.owners[0] = y.LONG
        elif unit == Unit.BRANCH:
            warp.ready += int(self.c.rows[warp.row, y.R_COST])
        elif unit == Unit.MEMBAR:
            warp.fence = 0
        else:
            self.execute_async(warp, static, unit, t)

    def execute_async(self, warp: Warp, static: list[int], unit: int, t: int) -> None:
        """Start what goes on without the warp."""
        if unit == Unit.WGMMA:
            warp.multiplied += 1
            warp.queued += 1
            warp.pending += static[y.S_ARGUMENT] & 1
        elif unit in (Unit.BULK_LOAD, Unit.BULK_STORE):
            self.copy_bulk(warp, warp.row, t)
        elif unit == Unit.BULK_COMMIT:
            warp.counters[0] += 1
            warp.owners[0] = y.LONG
            self.fall_at(max(t + 1, warp.stored), warp, 0)

    def occupy(self, core: Core, warp: Warp, static: list[int], unit: int, t: int) -> None:
        """Occupy a pipe, and the read ports of the register file."""
        begin = max(core.pipes.get(unit, 0), t * TICKS)
        if unit == Unit.TENSOR:
            reads = max(core.ports, t)  # cycle at which it begins to read its operands, and to work
            core.ports = reads + static[y.S_READS]
            begin = max(begin, reads * TICKS, warp.operands_there(static))
            if static[y.S_ACC_WRITE] >= 0:
                warp.accumulators[static[y.S_ACC_WRITE]] = begin + static[y.S_ACCUMULATE]
        if unit in ON_PORTS:
            core.ports = max(core.ports, t) + self.port_cycles_of(core, warp, static)
            self.refresh_reuse(core, warp, static)
        interval = static[y.S_INTERVAL]
        if unit in ON_PORTS and core.multiplying > t * TICKS:
            interval = interval * self.m.gmma_slowdown // 100
        core.pipes[unit] = begin + interval

    def refresh_reuse(self, core: Core, warp: Warp, static: list[int]) -> None:
        """Keep the operands marked for reuse; a slot that is read without the mark forgets."""
        for slot in range(3):
            register = static[y.S_SLOT_A + slot]
            if register < 0:
                continue
            key = (register % self.m.register_banks, slot)
            core.reuse.pop(key, None)
            if static[y.S_REUSE] >> slot & 1:
                core.reuse[key] = (warp, register)

    def advance(self, warp: Warp) -> bool:
        """Step to the next row; return whether there is none."""
        loop = int(self.c.rows[warp.row, y.R_END])
        if loop >= 0:
            if warp.loop != loop:
                warp.loop, warp.left = loop, int(self.replays[loop])
            if warp.left > 0:
                warp.left -= 1
                warp.row = int(self.c.loops[loop, 0])
                return False
            warp.loop = -1
        warp.row += 1
        return warp.row == int(self.c.offset[warp.number + 1])

    def try_open(self, cta: Cta, barrier: int, t: int) -> None:
        """Open a barrier if no running warp of the CTA is missing."""
        waiting = [warp for warp in cta.running() if warp.barrier == barrier]
        if waiting and len(waiting) == (cta.wanted.get(barrier, 0) or len(cta.running())):
            opened = max(t, cta.counted.get(barrier, 0))
            cta.counted[barrier] = opened + self.m.barrier_reset_cycles
            for warp in waiting:
                warp.barrier, warp.why = -1, y.BARRIER_STALL
                warp.ready = max(opened + self.m.barrier_cycles, warp.ready)


def replay(columns: SmColumns, drive: Drive, replays: npt.NDArray[np.int64]) -> Run | None:
    """Replay a trace the slow way; None if it does not end within ``drive.max_cycles``."""
    return Twin(columns, drive, replays).run()
