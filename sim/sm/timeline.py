"""The timeline of one SM: who issued what when, what each warp waited for, how busy pipes and memory were.

The readable twin of the timing engine is run on a few iterations of every loop, and watched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.arch.spec import GpuSpec
from sim.isa.trace import WarpTrace
from sim.isa.units import Unit
from sim.sm import layout as y
from sim.sm.columns import SmColumns, resolve
from sim.sm.layout import TICKS, Drive
from sim.sm.model import STAGGER_CYCLES, drive_for
from sim.sm.plan import plan_replays
from sim.sm.reference import DATA_UNITS, Core, Cta, Entry, Sm, Twin, Warp

I64 = npt.NDArray[np.int64]

MOST_INSTRUCTIONS = 20_000  # that are recorded
MOST_CYCLES = 2_000_000
MOST_ITERATIONS, FEWEST_ITERATIONS = 64, 6  # of a loop that runs more often
SM, MEMORY, PIPES, BARRIERS = "SM 0", "SM 0 / memory", "SM 0 / pipes", "SM 0 / barriers"


@dataclass(frozen=True)
class TraceSpan:
    """Something that lasted, or happened, on a lane of a track; cycles of the SM."""

    track: str
    lane: str
    name: str
    start_cycle: int
    duration_cycles: int
    args: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "span"  # span, async (overlaps freely on its lane) or instant


def record(
    trace: WarpTrace,
    gpu: GpuSpec,
    resident: int,
    latency_cycles: float,
    source_lines: Sequence[str] = (),
    most: int = MOST_INSTRUCTIONS,
) -> tuple[TraceSpan, ...]:
    """Record ``resident`` CTAs of one class that see a mean memory latency; at most ``most`` instructions."""
    columns = resolve(trace, gpu)
    replays = iterations_shown(columns, most // resident)
    drive = drive_for(gpu, plan_replays(columns), latency_cycles, resident, 0, STAGGER_CYCLES[0])
    recorder = Recorder(columns, drive._replace(marks=0, max_cycles=MOST_CYCLES), replays, source_lines, most)
    recorder.run()
    return recorder.finished()


def iterations_shown(columns: SmColumns, most: int) -> I64:
    """Choose how often each loop's body runs again, so that a CTA has about ``most`` instructions.

    Warps keep the proportion of their loops to each other, since barriers tie them together.
    """
    begin, end, extra = columns.loops.T
    warp = np.searchsorted(columns.offset, begin, side="right")
    _, first, count = np.unique(warp, return_index=True, return_counts=True)
    if len(set(count.tolist())) > 1:
        everything: I64 = extra.copy()  # which loop of one warp goes with which of another is not known
        return everything
    position = np.arange(len(begin)) - np.repeat(first, count)
    common = np.array([math.gcd(*extra[position == own].tolist()) for own in position])

    def shown(iterations: int) -> I64:
        share: I64 = extra // np.maximum(common, 1) * np.minimum(common, iterations)
        return share

    def instructions(iterations: int) -> int:
        return len(columns.rows) + int(((end - begin) * shown(iterations)).sum())

    fitting = (n for n in range(MOST_ITERATIONS, FEWEST_ITERATIONS, -1) if instructions(n) <= most)
    return shown(next(fitting, FEWEST_ITERATIONS))


class Recorder(Twin):
    """The twin, with everything it does written down; it stops after ``most`` instructions."""

    def __init__(
        self, columns: SmColumns, drive: Drive, replays: I64, source_lines: Sequence[str], most: int
    ) -> None:
        super().__init__(columns, drive, replays)
        self._program, self._source, self._most = columns.trace.program, source_lines, most
        self._spans: list[TraceSpan] = []
        self._waits: dict[tuple[str, str], list[list[int]]] = {}  # lane -> stall, first cycle, cycle after
        self._cores = {id(core): number for sm in self.sms for number, core in enumerate(sm.cores)}
        self._issued = 0
        self._request: tuple[Entry, int] | None = None  # that the memory pipe is taking, and when
        self._about = [self._describe(pc) for pc in range(len(self._program))]

    def finished(self) -> tuple[TraceSpan, ...]:
        """Return everything recorded in the order of time, waits that are still open among it."""
        for lane in list(self._waits):
            self._close_waits(lane)
        return tuple(sorted(self._spans, key=lambda span: span.start_cycle))

    # warps

    def stall(self, core: Core, warp: Warp, t: int) -> int | None:
        """Note why a warp cannot issue; one that could and does is taken back by ``issue``."""
        why = super().stall(core, warp, t)
        reason = y.NOT_SELECTED if why is None else why
        waits = self._waits.setdefault(self._lane(warp), [])
        if waits and waits[-1][0] == reason:
            waits[-1][2] = t + 1
        else:
            waits.append([reason, t, t + 1])
        return why

    def issue(self, core: Core, warp: Warp, t: int) -> None:
        """Note an issue and the waits before it."""
        lane = self._lane(warp)
        self._waits[lane][-1][2] = t  # this cycle was none
        args = {**self._about[self._pc(warp.row)], **self._close_waits(lane)}
        self._add(*lane, self._opcode(warp.row), t, t + 1, args)
        self._issued += 1
        super().issue(core, warp, t)
        if self._issued >= self._most:
            self.running = 0  # enough was seen

    def _close_waits(self, lane: tuple[str, str]) -> dict[str, Any]:
        """Write down a warp's waits; return what it waited for longest."""
        waits = [wait for wait in self._waits.pop(lane, []) if wait[2] > wait[1]]
        for reason, begin, end in waits:
            self._add(*lane, _words(reason), begin, end)
        if not waits:
            return {}
        longest = max(waits, key=lambda wait: wait[2] - wait[1])
        return {"waited_for": _words(longest[0]), "waited_cycles": waits[-1][2] - waits[0][1]}

    def try_open(self, cta: Cta, barrier: int, t: int) -> None:
        """Note the opening of a barrier."""
        waiting = [warp for warp in cta.running() if warp.barrier == barrier]
        super().try_open(cta, barrier, t)
        if waiting and waiting[0].barrier < 0:
            args = {"warps": len(waiting)}
            self._add(BARRIERS, f"CTA {cta.number}", f"barrier {barrier} opens", t, t, args, "instant")

    # pipes and memory

    def occupy(self, core: Core, warp: Warp, static: list[int], unit: int, t: int) -> None:
        """Note how long a pipe is busy."""
        super().occupy(core, warp, static, unit, t)
        end = core.pipes[unit]
        lane = f"sub-core {self._cores[id(core)]} {Unit(unit).name.lower()}"
        self._busy(PIPES, lane, warp, warp.row, end - static[y.S_INTERVAL], end)

    def take(self, sm: Sm, core: Core, entry: Entry, t: int) -> None:
        """Note how long an instruction keeps the memory pipe's intake, and the banks of shared memory."""
        begin, data = max(sm.intake, t * TICKS), max(sm.data, t * TICKS)
        super().take(sm, core, entry, t)
        self._busy(MEMORY, "intake", entry.warp, entry.row, begin, sm.intake)
        if self.unit(entry.row) in DATA_UNITS:
            self._busy(MEMORY, "shared memory", entry.warp, entry.row, data, sm.data)

    def take_global(self, entry: Entry, t: int) -> None:
        """Remember whose request goes out."""
        self._request = entry, t
        super().take_global(entry, t)
        self._request = None

    def fall_at(self, t: int, warp: Warp, counter: int, outstanding: int = 0) -> None:
        """Note when a request to global memory is answered."""
        super().fall_at(t, warp, counter, outstanding)
        if outstanding and self._request is not None:
            self._in_flight("global memory", *self._request, t)

    def copy_at(self, t: int, warp: Warp, counter: int, waves: int) -> None:
        """Note a copy in flight, and its write to shared memory."""
        super().copy_at(t, warp, counter, waves)
        if self._request is not None:
            self.at(t, self._arrival(*self._request, waves))

    def _arrival(self, entry: Entry, sent: int, waves: int) -> Callable[[int], None]:
        """Return what notes a copy's end; it happens right after the copy arrives."""

        def note(_now: int) -> None:
            data = entry.warp.cta.sm.data
            self._busy(
                MEMORY, "shared memory", entry.warp, entry.row, data - waves * self.m.copy_write_ticks, data
            )
            self._in_flight("cp.async", entry, sent, -(-data // TICKS))

        return note

    def _in_flight(self, lane: str, entry: Entry, begin: int, end: int) -> None:
        self._add(
            MEMORY, lane, self._opcode(entry.row), begin, end, self._whose(entry.warp, entry.row), "async"
        )

    def _busy(self, track: str, lane: str, warp: Warp, row: int, begin: int, end: int) -> None:
        """Note a span given in ticks; one follows the other, so both ends are rounded alike."""
        self._add(track, lane, self._opcode(row), begin // TICKS, end // TICKS, self._whose(warp, row))

    # names

    def _add(
        self,
        track: str,
        lane: str,
        name: str,
        begin: int,
        end: int,
        args: Mapping[str, Any] | None = None,
        kind: str = "span",
    ) -> None:
        self._spans.append(TraceSpan(track, lane, name, begin, end - begin, args or {}, kind))

    def _lane(self, warp: Warp) -> tuple[str, str]:
        return f"{SM} / sub-core {self._cores[id(warp.core)]}", f"CTA {warp.cta.number} warp {warp.number}"

    def _pc(self, row: int) -> int:
        return int(self.c.rows[row, y.R_PC])

    def _opcode(self, row: int) -> str:
        words = self._program.text[self._pc(row)].split()
        return next(word for word in words if not word.startswith("@"))

    def _whose(self, warp: Warp, row: int) -> dict[str, Any]:
        return {"warp": self._lane(warp)[1], "pc": f"0x{16 * self._pc(row):x}"}

    def _describe(self, pc: int) -> dict[str, Any]:
        line = int(self._program.source_line[pc])
        args: dict[str, Any] = {"pc": f"0x{16 * pc:x}", "sass": self._program.text[pc]}
        if line:
            args["line"] = line
        if 0 < line <= len(self._source):
            args["source"] = self._source[line - 1].strip()
        return args


def _words(stall: int) -> str:
    return y.STALL_NAMES[stall].replace("_", " ")
