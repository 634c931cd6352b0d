"""The timeline of an SM shows what the twin does, all of it, and does not disturb it."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from sim.arch.load import load_gpu
from sim.isa.trace import WarpTrace
from sim.isa.units import Unit
from sim.sm import reference
from sim.sm.columns import resolve
from sim.sm.model import STAGGER_CYCLES, drive_for
from sim.sm.plan import plan_replays
from sim.sm.synthetic import Instruction, Loop, strided, synthesize
from sim.sm.timeline import FEWEST_ITERATIONS, TraceSpan, iterations_shown, record

MMA = "m16n8k16.f32.f16"
LATENCY, RESIDENT, WARPS, EXTRA = 700.0, 2, 5, 5
PROLOGUE = (
    Instruction(Unit.ALU, stall=4),
    Instruction(Unit.ASYNC_COPY, offsets=strided(32, 16), access_bytes=16, write=0),
    Instruction(Unit.COPY_COMMIT),
    Instruction(Unit.COPY_WAIT, argument=0),
    Instruction(Unit.BARRIER, stall=2),
)
BODY = (
    Instruction(Unit.SHARED_LOAD, offsets=strided(32, 128), write=1),  # all lanes in one bank
    Instruction(Unit.TENSOR, mma=MMA, target=8, registers=(16, 20, 8), wait=2),
    Instruction(Unit.TENSOR, mma=MMA, target=12, registers=(16, 20, 12)),
    Instruction(Unit.GLOBAL_LOAD, write=2),
    Instruction(Unit.BRANCH, taken=True, wait=4),
)
CODE = (*PROLOGUE, Loop(BODY, EXTRA), Instruction(Unit.EXIT))
EXECUTED = len(PROLOGUE) + (1 + EXTRA) * len(BODY) + 1


@pytest.fixture(scope="module")
def trace() -> WarpTrace:
    return synthesize([CODE] * WARPS)


@pytest.fixture(scope="module")
def spans(trace: WarpTrace) -> tuple[TraceSpan, ...]:
    return record(trace, load_gpu("h200"), RESIDENT, LATENCY)


def lanes(spans: tuple[TraceSpan, ...], track: str) -> dict[str, list[TraceSpan]]:
    """Sort the spans of the tracks whose names contain ``track`` by lane."""
    found = defaultdict(list)
    for span in spans:
        if track in span.track and span.kind == "span":
            found[span.lane].append(span)
    return found


def issues(spans: tuple[TraceSpan, ...]) -> list[TraceSpan]:
    return [span for span in spans if "sass" in span.args]


def test_every_instruction_is_issued_once_for_one_cycle(spans: tuple[TraceSpan, ...]) -> None:
    assert len(issues(spans)) == RESIDENT * WARPS * EXECUTED
    assert {span.duration_cycles for span in issues(spans)} == {1}


def test_no_sub_core_issues_twice_in_a_cycle(spans: tuple[TraceSpan, ...]) -> None:
    slots = [(span.track, span.start_cycle) for span in issues(spans)]
    assert len(set(slots)) == len(slots)
    assert len({track for track, _ in slots}) == 4


def test_a_warp_waits_or_issues_in_every_cycle_of_its_life(spans: tuple[TraceSpan, ...]) -> None:
    warps = lanes(spans, "sub-core")
    assert len(warps) == RESIDENT * WARPS
    for own in warps.values():
        for before, after in pairwise(own):
            assert before.start_cycle + before.duration_cycles == after.start_cycle


def test_nothing_has_a_negative_length_and_pipes_do_one_thing_at_a_time(spans: tuple[TraceSpan, ...]) -> None:
    assert all(span.start_cycle >= 0 and span.duration_cycles >= 0 for span in spans)
    served = lanes(spans, "pipes") | {"": lanes(spans, "memory")["shared memory"]}
    for own in served.values():
        ordered = sorted(own, key=lambda span: (span.start_cycle, span.duration_cycles))
        for before, after in pairwise(ordered):
            assert before.start_cycle + before.duration_cycles <= after.start_cycle


def test_tensor_pipes_are_busy_for_interval_times_instructions(spans: tuple[TraceSpan, ...]) -> None:
    interval = load_gpu("h200").sm.tensor.mma[MMA].interval_cycles
    busy = [own for lane, own in lanes(spans, "pipes").items() if "tensor" in lane]
    count = 2 * RESIDENT * WARPS * (1 + EXTRA)
    assert sum(map(len, busy)) == count
    assert sum(span.duration_cycles for own in busy for span in own) == pytest.approx(
        count * interval, abs=count
    )


def test_bank_conflicts_keep_shared_memory_busy(spans: tuple[TraceSpan, ...]) -> None:
    loads = [span for span in lanes(spans, "memory")["shared memory"] if span.name == "SHARED_LOAD"]
    assert {span.duration_cycles for span in loads} == {32}


def test_copies_and_loads_are_in_flight_for_about_the_memory_latency(spans: tuple[TraceSpan, ...]) -> None:
    flights = [span for span in spans if span.kind == "async"]
    assert sum(span.lane == "cp.async" for span in flights) == RESIDENT * WARPS
    assert sum(span.lane == "global memory" for span in flights) == RESIDENT * WARPS * (1 + EXTRA)
    assert all(0.7 * LATENCY < span.duration_cycles < 1.5 * LATENCY for span in flights)


def test_each_cta_opens_its_barrier_once(spans: tuple[TraceSpan, ...]) -> None:
    opened = [span for span in spans if span.kind == "instant"]
    assert [span.lane for span in sorted(opened, key=lambda span: span.lane)] == ["CTA 0", "CTA 1"]
    assert {span.args["warps"] for span in opened} == {WARPS}


def test_what_a_warp_waited_for_longest_stands_with_the_instruction(spans: tuple[TraceSpan, ...]) -> None:
    first_mma = next(span for span in issues(spans) if span.name == "TENSOR")
    assert first_mma.args["waited_for"] in ("short scoreboard", "not selected", "math pipe throttle")
    branch = next(span for span in issues(spans) if span.name == "BRANCH")
    assert branch.args["waited_for"] == "long scoreboard"
    assert branch.args["waited_cycles"] > 0.7 * LATENCY


def test_watching_changes_nothing(trace: WarpTrace, spans: tuple[TraceSpan, ...]) -> None:
    gpu = load_gpu("h200")
    columns = resolve(trace, gpu)
    drive = drive_for(gpu, plan_replays(columns), LATENCY, RESIDENT, 0, STAGGER_CYCLES[0])
    alone = reference.replay(columns, drive, np.array([EXTRA] * WARPS))
    assert alone is not None
    assert alone.end.max() == max(span.start_cycle for span in issues(spans)) + 1


def test_it_stops_where_enough_was_seen(trace: WarpTrace) -> None:
    few = record(trace, load_gpu("h200"), RESIDENT, LATENCY, most=100)
    assert 100 <= len(issues(few)) < 104  # four sub-cores issue in the last cycle


def test_long_loops_are_shown_for_a_few_iterations_in_equal_proportion() -> None:
    long = [(Loop(BODY, 3000), Loop(BODY, 10)), (Loop(BODY, 6000), Loop(BODY, 10))]
    columns = resolve(synthesize(long), load_gpu("h200"))
    first, second, third, fourth = iterations_shown(columns, 600)
    assert third == 2 * first
    assert second == fourth <= 10
    assert iterations_shown(columns, 1)[0] == FEWEST_ITERATIONS
