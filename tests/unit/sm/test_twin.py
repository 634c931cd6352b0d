"""The compiled engine and its readable twin agree, cycle for cycle and stall for stall."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.arch.load import load_gpu
from sim.errors import DeadlockError
from sim.isa.trace import WarpTrace
from sim.isa.units import NO_COUNTER, Unit
from sim.sm import reference
from sim.sm.columns import resolve
from sim.sm.layout import Drive
from sim.sm.replay import replay
from sim.sm.synthetic import Instruction, Loop, strided, synthesize

pytestmark = pytest.mark.jit

MMA = "m16n8k16.f32.f16"
COUNTERS = st.sampled_from([0, 1, 2, 5, NO_COUNTER, NO_COUNTER, NO_COUNTER])
MASKS = st.sampled_from([0, 0, 0, 1, 2, 4, 6, 63])
WGMMA = ("wgmma.m64n8k16.f32.f16.ss", "wgmma.m64n64k16.f32.f16.ss", "wgmma.m64n128k32.s32.s8.rs")
TOGETHER = (Unit.BARRIER, Unit.WGMMA, Unit.WGMMA_WAIT)  # only where all warps run the same code
UNITS = [unit for unit in Unit if unit not in (Unit.EXIT, Unit.MBARRIER_WAIT)]
APART = [unit for unit in UNITS if unit not in TOGETHER]
FILLERS = [Unit.ALU, Unit.FMA, Unit.SHARED_LOAD, Unit.SHARED_STORE, Unit.SHUFFLE, Unit.TENSOR]
REGISTERS = st.integers(-1, 5)


@st.composite
def instructions(draw: st.DrawFn, barriers: bool) -> Instruction:
    return draw(of_unit(draw(st.sampled_from(UNITS if barriers else APART))))


@st.composite
def of_unit(draw: st.DrawFn, unit: Unit) -> Instruction:
    misses = draw(st.sampled_from([0, 1, 8]))
    return Instruction(
        unit=unit,
        stall=draw(st.sampled_from([0, 1, 1, 2, 5, 13])),
        write=draw(COUNTERS),
        read=draw(COUNTERS),
        wait=draw(MASKS),
        yields=draw(st.booleans()),
        reuse=draw(st.integers(0, 7)),
        argument=draw(st.integers(0, 1)) if unit in (Unit.COPY_WAIT, Unit.WGMMA, Unit.WGMMA_WAIT) else 0,
        registers=draw(st.tuples(REGISTERS, REGISTERS, REGISTERS)),
        target=draw(REGISTERS),
        mma=MMA if unit == Unit.TENSOR else draw(st.sampled_from(WGMMA)) if unit == Unit.WGMMA else "",
        offsets=strided(32, draw(st.sampled_from([0, 4, 8, 64, 128]))),
        lines=draw(st.integers(1, 6)),
        sectors=max(1, misses),
        misses=misses,
        taken=draw(st.booleans()),
        lanes=0 if unit not in TOGETHER and draw(st.integers(0, 9)) == 0 else 32,
        mbarrier=draw(st.integers(0, 1)) if unit in (Unit.MBARRIER_ARRIVE, Unit.BULK_LOAD) else -1,
        arrivals=draw(st.integers(1, 2)),
        tx=draw(st.sampled_from([0, 16, 4096])),
    )


@st.composite
def rings(draw: st.DrawFn) -> tuple[list[tuple[Instruction | Loop, ...]], tuple[int, ...]]:
    """A producer of bulk copies and warpgroups that multiply, tied by mbarriers: full ones, then empty ones."""
    stages, groups, turns = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(0, 2))
    steps = [(step % stages, step // stages) for step in range(2 * stages)]
    producer = [row for stage, use in steps for row in draw(produced(stage, use, stages))]
    consumer = [row for stage, use in steps for row in draw(consumed(stage, use, stages))]
    lead = tuple(draw(st.lists(of_unit(Unit.FMA), max_size=2)))
    warps = [(Loop(tuple(producer), turns), Instruction(Unit.EXIT))]
    own = (*lead, Loop(tuple(consumer), turns), Instruction(Unit.WGMMA_WAIT), Instruction(Unit.EXIT))
    return [own] * (4 * groups) + warps, (1,) * stages + (4 * groups,) * stages


def at(
    unit: Unit, mbarrier: int, phase: int = 0, arrivals: int = 0, tx: int = 0, lines: int = 8
) -> Instruction:
    step = 2 if unit == Unit.MBARRIER_WAIT else 0
    return Instruction(
        unit, mbarrier=mbarrier, phase=phase, phase_step=step, arrivals=arrivals, tx=tx, lines=lines, write=1
    )


@st.composite
def produced(draw: st.DrawFn, stage: int, use: int, stages: int) -> list[Instruction]:
    boxes, size = draw(st.integers(1, 2)), draw(st.sampled_from([128, 4096, 32768]))
    boxed = [at(Unit.BULK_LOAD, stage, tx=size, lines=size // 128) for _ in range(boxes)]
    first = at(Unit.MBARRIER_WAIT, stages + stage, use)
    announced = at(Unit.MBARRIER_ARRIVE, stage, arrivals=1, tx=size * boxes)
    return [first, Instruction(Unit.BRANCH, wait=2), *draw(st.permutations([announced, *boxed]))]


@st.composite
def consumed(draw: st.DrawFn, stage: int, use: int, stages: int) -> list[Instruction]:
    fillers = draw(st.lists(st.sampled_from(FILLERS).flatmap(of_unit), max_size=4))
    count = draw(st.integers(1, 3))
    name = draw(st.sampled_from(WGMMA))
    multiplied = [Instruction(Unit.WGMMA, mma=name, argument=int(k == count - 1)) for k in range(count)]
    pending = Instruction(Unit.WGMMA_WAIT, argument=draw(st.integers(0, 1)))
    arrival = at(Unit.MBARRIER_ARRIVE, stages + stage, arrivals=1)
    waiting = at(Unit.MBARRIER_WAIT, stage, use + 1)
    return [waiting, Instruction(Unit.WGMMA_ARRIVE, wait=2), *multiplied, *fillers, pending, arrival]


@st.composite
def codes(draw: st.DrawFn, barriers: bool) -> tuple[Instruction | Loop, ...]:
    code: list[Instruction | Loop] = []
    for _ in range(draw(st.integers(1, 3))):
        body = tuple(draw(st.lists(instructions(barriers), min_size=1, max_size=8)))
        code += [Loop(body, draw(st.integers(0, 4)))] if draw(st.booleans()) else list(body)
    return tuple(code)


@st.composite
def ctas(draw: st.DrawFn) -> list[tuple[Instruction | Loop, ...]]:
    """Either all warps run one code, barriers included, or each its own without barriers."""
    count = draw(st.integers(1, 6))
    if draw(st.booleans()):
        return [draw(codes(True))] * count
    return [draw(codes(False)) for _ in range(count)]


@st.composite
def drives(draw: st.DrawFn) -> Drive:
    return Drive(
        sms=draw(st.sampled_from([1, 1, 2])),
        resident=draw(st.integers(1, 3)),
        ctas=draw(st.integers(1, 6)),
        stagger_cycles=draw(st.sampled_from([0, 7, 61])),
        near_cycles=draw(st.sampled_from([40, 90])),
        far_cycles=draw(st.sampled_from([60, 150])),
        far_threshold=1 << 30,
        seed=draw(st.integers(0, 1000)),
        sector_ticks=draw(st.sampled_from([0, 0, 300])),
        mark_warp=0,
        marks=12,
        max_cycles=30_000,
        bulk_sectors=draw(st.sampled_from([4, 1000])),
    )


MACHINES = [
    load_gpu("h200"),
    load_gpu(
        "h200",
        [
            "sm.load_store.queue_entries=1",
            "sm.load_store.address_interval_cycles=1",
            "sm.control.taken_branch_cycles=7",
            "sm.control.barrier_release_cycles=1",
            "sm.register_file.read_window_cycles=1",
            "sm.load_store.copy_extra_latency_cycles=0",
        ],
    ),
    load_gpu(
        "h200",
        [
            "sm.sub_cores=2",
            "sm.shared_memory.banks=16",
            "sm.load_store.source_release_cycles=2",
            "sm.load_store.global_line_cycles=2.5",
            "sm.control.membar_latency_cycles=3",
            "sm.control.cta_start_cycles=0",
        ],
    ),
]


@settings(max_examples=400, deadline=None)
@given(ctas(), drives(), st.integers(0, len(MACHINES) - 1))
def test_engine_and_twin_agree(warps, drive, machine) -> None:  # type: ignore[no-untyped-def]
    compare(synthesize(warps, mbarriers=(1, 2)), drive, machine)


@settings(max_examples=40, deadline=None)
@given(rings(), drives(), st.integers(0, len(MACHINES) - 1))
def test_engine_and_twin_agree_on_copies_that_feed_wgmma(ring, drive, machine) -> None:  # type: ignore[no-untyped-def]
    warps, mbarriers = ring
    few = drive._replace(ctas=min(drive.ctas, 2), max_cycles=200_000)
    assert compare(synthesize(warps, mbarriers=mbarriers), few, machine)


def compare(trace: WarpTrace, drive: Drive, machine: int) -> bool:
    """Hold the engine against its twin; return whether the run ended."""
    columns = resolve(trace, MACHINES[machine])
    replays = np.asarray(trace.loops[:, 2])
    slow = reference.replay(columns, drive, replays)
    if slow is None:
        with pytest.raises(DeadlockError):
            replay(columns, drive, replays)
        return False
    fast = replay(columns, drive, replays)
    np.testing.assert_array_equal(fast.end, slow.end)
    np.testing.assert_array_equal(fast.first_request, slow.first_request)
    np.testing.assert_array_equal(fast.last_arrival, slow.last_arrival)
    np.testing.assert_array_equal(fast.first_store, slow.first_store)
    np.testing.assert_array_equal(fast.first_fence, slow.first_fence)
    np.testing.assert_array_equal(fast.marks, slow.marks)
    np.testing.assert_array_equal(fast.stalls, slow.stalls)
    return True
