"""Small traces written by hand: for tests of the timing engine, and to predict a microbenchmark's reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.isa.program import Program
from sim.isa.trace import WarpTrace
from sim.isa.units import NO_COUNTER, Unit
from sim.sm.instructions import QUEUED

LANES = 32


@dataclass(frozen=True)
class Instruction:
    """One warp instruction: its unit, its control code, and what it asks of a memory."""

    unit: Unit
    stall: int = 1
    write: int = NO_COUNTER
    read: int = NO_COUNTER
    wait: int = 0  # mask
    yields: bool = False
    reuse: int = 0
    argument: int = 0  # barrier number, or counter * 64 + threshold
    registers: tuple[int, int, int] = (-1, -1, -1)  # read by operand slots A, B, C
    target: int = -1  # accumulator written (Unit.TENSOR; slot C is the one read)
    mma: str = ""
    offsets: tuple[int, ...] = ()  # shared memory: byte offset per lane, -1 = inactive
    access_bytes: int = 4
    matrix: bool = False
    lines: int = 1
    sectors: int = 4
    misses: int = 4
    taken: bool = False
    lanes: int = LANES
    mbarrier: int = -1
    phase: int = 0
    phase_step: int = 0
    arrivals: int = 0
    tx: int = 0


@dataclass(frozen=True)
class Loop:
    """Instructions that run ``1 + extra`` times, once of them in the trace."""

    body: tuple[Instruction, ...]
    extra: int


Code = Sequence[Instruction | Loop]


def strided(lanes: int, stride: int) -> tuple[int, ...]:
    """Byte offsets of lanes that lie ``stride`` bytes apart."""
    return tuple(lane * stride for lane in range(lanes))


def synthesize(warps: Sequence[Code], name: str = "synthetic", mbarriers: Sequence[int] = ()) -> WarpTrace:
    """Build the trace of a CTA from what each warp executes; every row is a static instruction of its own.

    ``mbarriers`` are the arrivals that complete a phase of each mbarrier.
    """
    rows: list[Instruction] = []
    offset, loops = [0], []
    for code in warps:
        for item in code:
            if isinstance(item, Loop):
                loops.append((len(rows), len(rows) + len(item.body), item.extra))
                rows.extend(item.body)
            else:
                rows.append(item)
        offset.append(len(rows))
    patterns, pattern = _patterns(rows)
    return WarpTrace(
        program=_program(rows, name),
        offset=np.array(offset, np.int64),
        pc=np.arange(len(rows), dtype=np.int32),
        lanes=_column([row.lanes for row in rows]),
        pattern=pattern,
        lines=_column([row.lines for row in rows]),
        sectors=_column([row.sectors for row in rows]),
        misses=_column([row.misses for row in rows]),
        taken=_column([row.taken for row in rows]),
        buffer=_column([-1 for _ in rows]),
        mbarrier=_column([row.mbarrier for row in rows]),
        phase=_column([row.phase for row in rows]),
        phase_step=_column([row.phase_step for row in rows]),
        arrivals=_column([row.arrivals for row in rows]),
        tx=_column([row.tx for row in rows]),
        mbarriers=_column(mbarriers),
        loops=np.array(loops, np.int64).reshape(-1, 3),
        patterns=patterns,
    )


def _column(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, np.int32)


def _patterns(rows: Sequence[Instruction]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Number the distinct shared-memory accesses; shapes [patterns, 34] and [rows]."""
    known: dict[tuple[int, ...], int] = {}
    index = []
    for row in rows:
        if not row.offsets:
            index.append(-1)
            continue
        store = row.unit in (Unit.SHARED_STORE, Unit.ASYNC_COPY)
        kind = 2 if row.matrix else int(store)
        offsets = row.offsets + (-1,) * (LANES - len(row.offsets))
        index.append(known.setdefault((row.access_bytes, kind, *offsets), len(known)))
    return np.array(list(known), np.int32).reshape(-1, LANES + 2), _column(index)


def _program(rows: Sequence[Instruction], name: str) -> Program:
    names = tuple(sorted({row.mma for row in rows if row.mma}))
    count = len(rows)
    return Program(
        name=name,
        target="synthetic",
        identity=name,
        toolkit="",
        registers=LANES,
        static_shared_bytes=0,
        params=(),
        param_base=0,
        constants={},
        text=tuple(_text(row) for row in rows),
        source_line=np.zeros(count, np.int32),
        opcode=np.zeros(count, np.int32),
        modifiers=np.zeros(count, np.int64),
        operands=np.zeros((count, 1, 3), np.int64),
        guard=np.full(count, 7, np.int32),
        unit=_column([int(row.unit) for row in rows]),
        mma=_column([names.index(row.mma) if row.mma else -1 for row in rows]),
        mma_names=names,
        stall=_column([row.stall for row in rows]),
        yields=_column([not row.yields for row in rows]),
        write_counter=_column([row.write for row in rows]),
        read_counter=_column([row.read for row in rows]),
        wait_mask=_column([row.wait for row in rows]),
        reuse=_column([row.reuse for row in rows]),
        argument=_column([row.argument for row in rows]),
        register_reads=np.array([row.registers for row in rows], np.int16).reshape(-1, 3),
    )


def _text(row: Instruction) -> str:
    """Write an instruction as a disassembler would, as far as it matters."""
    names = [f"R{number}" if number >= 0 else "RZ" for number in (row.target, *row.registers)]
    if row.unit in QUEUED:  # operand slot A has the address
        return f"{row.unit.name} {names[0]}, [{names[1]}]"
    return f"{row.unit.name} {', '.join(names)}"
