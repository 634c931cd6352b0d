"""The timing engine's slow twin: the same rules, written to be read, every warp looked at in every cycle.

It shares with ``engine`` the columns and the hash of the latency jitter, nothing else. Tests compare the two.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sim.isa.units import COUNTERS, NO_COUNTER, Unit
from sim.sm import layout as y
from sim.sm.columns import ON_PORTS, SmColumns
from sim.sm.engine import draw
from sim.sm.layout import TICKS, Drive
from sim.sm.replay import Run

DATA_UNITS = (Unit.SHARED_LOAD, Unit.SHARED_STORE, Unit.SHUFFLE)
GLOBAL_UNITS = (Unit.GLOBAL_LOAD, Unit.GLOBAL_STORE, Unit.ATOMIC, Unit.ASYNC_COPY)
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
    copies: int = 0
    copied: int = 0
    groups: deque[int] = field(default_factory=deque)
    requests: int = 0
    loop: int = -1
    left: int = 0
    accumulators: dict[int, int] = field(default_factory=dict)  # register -> tick at which it may be read
    done: bool = False


@dataclass
class Entry:
    """An instruction in the memory queue of a sub-core."""

    warp: Warp
    row: int
    time: int  # cycle from which it may leave
    trip: int = 0  # cycles that memory takes to answer
    free: int = y.FAR  # cycle at which its place is free


@dataclass
class Core:
    """A sub-core."""

    sm: Sm
    warps: list[Warp] = field(default_factory=list)
    last: Warp | None = None
    pipes: dict[int, int] = field(default_factory=dict)  # unit -> tick at which it is free
    ports: dict[int, int] = field(default_factory=dict)  # bank -> cycle at which it is free
    reuse: dict[tuple[int, int], tuple[Warp, int]] = field(default_factory=dict)  # (bank, slot) -> operand
    queue: deque[Entry] = field(default_factory=deque)
    addressing: int = 0  # cycle at which address generation is free
    returned: int = 0  # tick at which the return path is free


@dataclass
class Sm:
    """A streaming multiprocessor."""

    cores: list[Core] = field(default_factory=list)
    intake: int = 0  # tick at which the memory pipe takes the next instruction
    data: int = 0  # tick at which the shared data pipe is free
    turn: int = 0


@dataclass
class Cta:
    """A resident CTA."""

    number: int
    sm: Sm
    place: int
    warps: list[Warp] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    counted: dict[int, int] = field(
        default_factory=dict
    )  # barrier -> cycle at which arrivals so far are counted

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
        self.waiting = 0  # the next CTA of the queue
        self.running = 0
        self.end = np.zeros(drive.ctas, np.int64)
        self.first_request = np.full(drive.ctas, y.FAR, np.int64)
        self.last_arrival = np.zeros(drive.ctas, np.int64)
        self.asked = np.zeros(drive.ctas, np.int64)
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
                self.take_one(sm, t)
                for core in sm.cores:
                    self.issue_one(core, t)
            t += 1
        if self.running:
            return None
        nothing = np.zeros((0, 10), np.int64)
        return Run(self.end, self.first_request, self.last_arrival, self.marks, self.stalls, nothing)

    # CTAs

    def start(self, sm: Sm, place: int, t: int) -> None:
        """Start the next CTA of the queue, if there is one."""
        if self.waiting == self.d.ctas:
            return
        cta = Cta(self.waiting, sm, place)
        self.waiting += 1
        self.running += 1
        count = len(self.c.offset) - 1
        for number in range(count):
            core = sm.cores[(place * count + number) % self.m.sub_cores]
            warp = Warp(number, cta, core, int(self.c.offset[number]), t, t)
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

    # memory pipe

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
        shared = self.unit(entry.row) in DATA_UNITS
        return None if shared and core.sm.data >= (t + 1) * TICKS else entry

    def take(self, sm: Sm, core: Core, entry: Entry, t: int) -> None:
        """Move an entry into the pipe."""
        m, warp = self.m, entry.warp
        static = self.static(entry.row)
        entry.free = core.addressing = t + m.address_cycles
        shared = self.unit(entry.row) in DATA_UNITS
        cost = 0 if shared else int(self.c.rows[entry.row, y.R_COST])
        sm.intake = max(sm.intake, t * TICKS) + max(m.intake_ticks, cost)
        if shared:
            self.take_shared(sm, core, entry, t)
        else:
            self.take_global(entry, t)
        if static[y.S_READ] != NO_COUNTER:
            self.fall_at(t + max(1, m.release_cycles - m.window_cycles), warp, static[y.S_READ])

    def take_shared(self, sm: Sm, core: Core, entry: Entry, t: int) -> None:
        """Serve LDS, LDSM, STS, SHFL on the data pipe."""
        m, unit = self.m, self.unit(entry.row)
        waves = 1 if unit == Unit.SHUFFLE else max(1, int(self.c.rows[entry.row, y.R_WAVEFRONTS]))
        begin = max(sm.data, t * TICKS)
        sm.data = begin + (m.shuffle_ticks if unit == Unit.SHUFFLE else waves * TICKS)
        done = t
        if unit != Unit.SHARED_STORE:
            first = begin + m.load_ticks - m.window_cycles * TICKS - m.wavefront_ticks
            core.returned = max(first, core.returned) + waves * m.wavefront_ticks
            done = (core.returned + TICKS // 2) // TICKS
        self.fall_at(max(done, t + 1), entry.warp, self.static(entry.row)[y.S_WRITE])

    def take_global(self, entry: Entry, t: int) -> None:
        """Send LDG, STG, RED, ATOMG and LDGSTS on their way."""
        m, warp = self.m, entry.warp
        row, static = self.c.rows[entry.row], self.static(entry.row)
        trip = entry.trip + self.server_cycles(entry.row, t) - m.window_cycles
        if not row[y.R_HIT]:
            cta = warp.cta.number
            self.first_request[cta] = min(self.first_request[cta], t)
            self.asked[cta] += int(row[y.R_SECTORS])
            if self.asked[cta] <= self.d.bulk_sectors:
                self.last_arrival[cta] = max(self.last_arrival[cta], t + trip)
        if row[y.R_UNIT] == Unit.ASYNC_COPY:
            waves = max(1, int(row[y.R_WAVEFRONTS]))
            seat = (id(warp.cta.sm), warp.cta.place * len(warp.cta.warps) + warp.number)
            writing = waves * m.copy_write_ticks // TICKS
            arrival = t + max(1, trip + m.copy_extra_cycles - writing)
            self.arrivals[seat] = max(self.arrivals.get(seat, 0), arrival)
            self.copy_at(self.arrivals[seat], warp, static[y.S_WRITE], waves)
            return
        trip += max(0, int(row[y.R_COST]) - m.line_ticks) // TICKS
        self.fall_at(t + max(1, trip), warp, static[y.S_WRITE], 1)

    def round_trip(self, warp: Warp, row: int) -> int:
        """Cycles until a request's answer is back from L1 or one of the halves of L2."""
        if self.c.rows[row, y.R_HIT]:
            return self.m.hit_cycles
        bits = draw(self.d.seed, warp.cta.number, warp.number, warp.requests)
        warp.requests += 1
        return self.d.far_cycles if bits < self.d.far_threshold else self.d.near_cycles

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

    def by_priority(self, core: Core) -> Iterator[Warp]:
        """Yield the warp that issued last, then the others, youngest CTA and highest warp first."""
        youngest = sorted(core.warps, key=lambda warp: (-warp.cta.number, -warp.number))
        last = core.last
        if last is not None:
            yield last
        yield from [warp for warp in youngest if warp is not last]

    def issue_one(self, core: Core, t: int) -> None:
        """Issue at most one instruction of a sub-core; count why the other warps do not."""
        issued = False
        for warp in list(self.by_priority(core)):
            if warp.done or warp.start > t:
                continue
            why = self.stall(core, warp, t)
            if why is None and not issued:
                issued = True
                self.stalls[y.ISSUED] += 1
                self.issue(core, warp, t)
            else:
                self.stalls[y.NOT_SELECTED if why is None else why] += 1

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
        if unit in DATA_UNITS or unit in GLOBAL_UNITS:
            full = sum(entry.free > t for entry in core.queue) >= self.m.queue_entries
            return y.MIO if full else None
        if unit == Unit.COPY_WAIT:
            counter, threshold = divmod(static[y.S_ARGUMENT], 64)
            return warp.owners[counter] if warp.counters[counter] > threshold else None
        if unit == Unit.COPY_COMMIT and len(warp.groups) >= y.COMMIT_SLOTS - 1:
            return y.LONG
        return y.MEMBAR_STALL if unit == Unit.MEMBAR and warp.outstanding else None

    def pipe_stall(self, core: Core, warp: Warp, static: list[int], unit: int, t: int) -> int | None:
        """Return why a pipe does not take the instruction now."""
        next_cycle = (t + 1) * TICKS
        if unit == Unit.TENSOR and warp.accumulators.get(static[y.S_ACC_READ], 0) >= next_cycle:
            return y.WAIT
        if core.pipes.get(unit, 0) >= next_cycle:
            return y.MATH
        if unit == Unit.TENSOR and max(core.ports.values(), default=0) > t:
            return y.DISPATCH
        if unit not in ON_PORTS:
            return None
        reads = [bank for bank, _slot, _register in self.port_reads(core, warp, static)]
        for bank in reads:
            window = max(self.m.window_cycles, reads.count(bank))
            if core.ports.get(bank, 0) + reads.count(bank) > t + window:
                return y.DISPATCH
        return None

    def port_reads(self, core: Core, warp: Warp, static: list[int]) -> list[tuple[int, int, int]]:
        """Return (bank, slot, register) of the operands that are not in the reuse cache."""
        reads = []
        for slot in range(3):
            register = static[y.S_SLOT_A + slot]
            bank = register % self.m.register_banks
            if register >= 0 and core.reuse.get((bank, slot)) != (warp, register):
                reads.append((bank, slot, register))
        return reads

    def issue(self, core: Core, warp: Warp, t: int) -> None:
        """Issue a warp's next instruction."""
        row, static, unit = warp.row, self.static(warp.row), self.unit(warp.row)
        core.last = warp
        warp.why, warp.ready = y.WAIT, t + static[y.S_STALL]
        if self.c.rows[row, y.R_BEGIN] >= 0 and warp.number == self.d.mark_warp:
            warp.cta.marks.append(t)
            if len(warp.cta.marks) <= self.d.marks:
                self.marks[warp.cta.number, len(warp.cta.marks) - 1] = t
        if unit != Unit.NONE:
            self.execute(core, warp, static, unit, t)
        ended = self.advance(warp)
        if unit == Unit.BARRIER:
            warp.barrier = static[y.S_ARGUMENT]
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
        if unit in DATA_UNITS or unit in GLOBAL_UNITS:
            while core.queue and core.queue[0].free <= t:
                core.queue.popleft()
            trip = self.round_trip(warp, warp.row) if unit in GLOBAL_UNITS else 0
            core.queue.append(Entry(warp, warp.row, t + self.m.window_cycles, trip))
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
            warp.why = y.MEMBAR_STALL
            warp.ready = max(warp.ready, t + self.m.membar_cycles)

    def occupy(self, core: Core, warp: Warp, static: list[int], unit: int, t: int) -> None:
        """Occupy a pipe, and the read ports of the register file."""
        begin = max(core.pipes.get(unit, 0), t * TICKS)
        if unit == Unit.TENSOR:
            begin = max(begin, warp.accumulators.get(static[y.S_ACC_READ], 0))
            if static[y.S_ACC_WRITE] >= 0:
                warp.accumulators[static[y.S_ACC_WRITE]] = begin + static[y.S_ACCUMULATE]
            for bank in range(self.m.register_banks):
                core.ports[bank] = t + min(self.m.mma_read_cycles, static[y.S_INTERVAL] // TICKS)
        if unit in ON_PORTS:
            for bank, _slot, _register in self.port_reads(core, warp, static):
                core.ports[bank] = max(core.ports.get(bank, 0), t) + 1
            self.refresh_reuse(core, warp, static)
        core.pipes[unit] = begin + static[y.S_INTERVAL]

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
        if waiting and len(waiting) == len(cta.running()):
            opened = max(t, cta.counted.get(barrier, 0))
            for warp in waiting:
                warp.barrier, warp.why = -1, y.BARRIER_STALL
                warp.ready = max(opened + self.m.barrier_cycles, warp.ready)


def replay(columns: SmColumns, drive: Drive, replays: npt.NDArray[np.int64]) -> Run | None:
    """Replay a trace the slow way; None if it does not end within ``drive.max_cycles``."""
    return Twin(columns, drive, replays).run()
