"""The compiled engine and its readable twin agree, cycle for cycle and stall for stall."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.arch.load import load_gpu
from sim.errors import DeadlockError
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
UNITS = [unit for unit in Unit if unit != Unit.EXIT]
REGISTERS = st.integers(-1, 5)


@st.composite
def instructions(draw: st.DrawFn, barriers: bool) -> Instruction:
    unit = draw(st.sampled_from(UNITS if barriers else [u for u in UNITS if u != Unit.BARRIER]))
    misses = draw(st.sampled_from([0, 1, 8]))
    return Instruction(
        unit=unit,
        stall=draw(st.sampled_from([0, 1, 1, 2, 5, 13])),
        write=draw(COUNTERS),
        read=draw(COUNTERS),
        wait=draw(MASKS),
        yields=draw(st.booleans()),
        reuse=draw(st.integers(0, 7)),
        argument=draw(st.integers(0, 1)) if unit == Unit.COPY_WAIT else 0,
        registers=draw(st.tuples(REGISTERS, REGISTERS, REGISTERS)),
        target=draw(REGISTERS),
        mma=MMA if unit == Unit.TENSOR else "",
        offsets=strided(32, draw(st.sampled_from([0, 4, 8, 64, 128]))),
        lines=draw(st.integers(1, 6)),
        sectors=max(1, misses),
        misses=misses,
        taken=draw(st.booleans()),
        lanes=0 if unit != Unit.BARRIER and draw(st.integers(0, 9)) == 0 else 32,
    )


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


@settings(max_examples=600, deadline=None)
@given(ctas(), drives(), st.integers(0, len(MACHINES) - 1))
def test_engine_and_twin_agree(warps, drive, machine) -> None:  # type: ignore[no-untyped-def]
    trace = synthesize(warps)
    columns = resolve(trace, MACHINES[machine])
    replays = np.asarray(trace.loops[:, 2])
    slow = reference.replay(columns, drive, replays)
    if slow is None:
        with pytest.raises(DeadlockError):
            replay(columns, drive, replays)
        return
    fast = replay(columns, drive, replays)
    np.testing.assert_array_equal(fast.end, slow.end)
    np.testing.assert_array_equal(fast.first_request, slow.first_request)
    np.testing.assert_array_equal(fast.last_arrival, slow.last_arrival)
    np.testing.assert_array_equal(fast.marks, slow.marks)
    np.testing.assert_array_equal(fast.stalls, slow.stalls)
