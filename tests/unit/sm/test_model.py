"""Timing of a CTA class: a few replayed iterations stand for all of them."""

import numpy as np
import pytest

from sim.arch.load import load_gpu
from sim.isa.trace import WarpTrace
from sim.isa.units import Unit
from sim.sm.columns import resolve
from sim.sm.model import default_latencies, drive_for, time_cta, unloaded_latency
from sim.sm.plan import plan_replays
from sim.sm.replay import replay
from sim.sm.synthetic import Instruction, Loop, strided, synthesize

pytestmark = pytest.mark.jit

H200 = load_gpu("h200")
MMA = "m16n8k16.f32.f16"
LDSM = Instruction(Unit.SHARED_LOAD, 2, write=2, offsets=strided(32, 16), access_bytes=16, matrix=True)
COPY = Instruction(Unit.ASYNC_COPY, 2, read=1, offsets=strided(32, 16), access_bytes=16, lines=8)
COMMIT = Instruction(Unit.COPY_COMMIT)
BAR = Instruction(Unit.BARRIER)
BACK = Instruction(Unit.BRANCH, 5, taken=True)


def mmas(count: int) -> tuple[Instruction, ...]:
    first = Instruction(Unit.TENSOR, 6, wait=4, registers=(80, 84, 0), target=0, mma=MMA)
    bases = range(4, 4 * count, 4)
    rest = [Instruction(Unit.TENSOR, 6, registers=(80, 84, base), target=base, mma=MMA) for base in bases]
    return (first, *rest)


def gemm(extra: int, stages: int = 3) -> WarpTrace:
    """A multistage main loop like that of a GEMM: copies ahead, a barrier, matrix loads, mma."""
    fill = [COPY] * 4 + [COMMIT]
    wait = Instruction(Unit.COPY_WAIT, argument=stages - 2)
    address = Instruction(Unit.IMAD, 4, wait=2)
    body = (wait, BAR, *[COPY] * 4, COMMIT, *[LDSM] * 4, *mmas(16), address, BACK)
    store = Instruction(Unit.GLOBAL_STORE, 2, lines=4)
    return synthesize([[*fill * (stages - 1), Loop(body, extra), *[store] * 16]] * 4)


def pointer_chase(extra: int) -> WarpTrace:
    load = Instruction(Unit.GLOBAL_LOAD, write=0, lines=1, sectors=1, misses=1)
    return synthesize([[Loop((load, Instruction(Unit.IMAD, 4, wait=1), BACK), extra)]])


def two_loops(first: int, second: int) -> WarpTrace:
    small = Loop((*[Instruction(Unit.ALU, 4)] * 3, BACK), first)
    large = Loop((*[LDSM] * 2, *mmas(8), BAR, BACK), second)
    return synthesize([[small, large, small]] * 4)


def full(trace: WarpTrace, resident: int, latency: float, seed: int = 0, stagger: int = 61) -> float:
    """Time of the whole trace, every iteration replayed."""
    columns = resolve(trace, H200)
    drive = drive_for(H200, plan_replays(columns), latency, resident, seed, stagger)
    return float(replay(columns, drive, np.asarray(trace.loops[:, 2])).end.max())


@pytest.mark.parametrize("resident", [1, 2, 3])
@pytest.mark.parametrize("latency", [335, 1500])
def test_folded_iterations_cost_what_replayed_ones_do(resident: int, latency: float) -> None:
    trace = gemm(700)
    timing = time_cta(trace, H200, resident, latencies=[latency], seeds=[0])
    assert timing.iterations == 701
    # Three CTAs saturate the memory pipe; the youngest then leaves the others behind, by chance more or less.
    tolerance = 0.01 if resident < 3 else 0.03
    assert timing.total_cycles[0] == pytest.approx(full(trace, resident, latency), rel=tolerance)


def test_loops_before_and_after_the_dominant_one() -> None:
    trace = two_loops(300, 500)
    timing = time_cta(trace, H200, 2, latencies=[335], seeds=[0])
    assert timing.iterations == 501
    assert timing.total_cycles[0] == pytest.approx(full(trace, 2, 335), rel=0.01)


def test_short_loops_are_exact() -> None:
    trace = gemm(5)
    timing = time_cta(trace, H200, 1, latencies=[335, 900], seeds=[0])
    assert timing.total_cycles == pytest.approx([full(trace, 1, 335), full(trace, 1, 900)], abs=1e-6)


def test_without_a_loop_everything_is_prologue() -> None:
    trace = synthesize([[LDSM, *mmas(8)]] * 4)
    timing = time_cta(trace, H200, 1)
    assert timing.iterations == 0
    assert not timing.iteration_cycles.any()
    assert timing.total_cycles == pytest.approx(timing.prologue_cycles)


def test_a_pointer_chase_pays_the_latency_every_time() -> None:
    timing = time_cta(pointer_chase(4000), H200, 1, latencies=[500, 1000, 4000])
    address_and_branch = 4 + 5
    jitter = 25  # of the mean over the replayed iterations
    assert timing.iteration_cycles - timing.latencies == pytest.approx([address_and_branch] * 3, abs=jitter)


def test_a_deep_pipeline_hides_latency_until_it_cannot() -> None:
    timing = time_cta(gemm(400, stages=4), H200, 1)
    assert timing.iteration_cycles[1] == pytest.approx(timing.iteration_cycles[0], rel=0.1)
    assert (np.diff(timing.iteration_cycles) > -2).all()
    slowest = timing.latencies[-1] + H200.sm.load_store.copy_extra_latency_cycles
    assert timing.iteration_cycles[-1] == pytest.approx(slowest / 3, rel=0.02)


def test_warps_with_different_loops_stay_in_step() -> None:
    """A producer whose loop runs half as often as the consumers', tied to them by barriers."""
    producer = [Loop((COPY, BAR, COPY, BAR, BACK), 399)]
    consumer = [Loop((*mmas(4), BAR, BACK), 799)]
    trace = synthesize([producer, consumer, consumer])
    timing = time_cta(trace, H200, 1, latencies=[335], seeds=[0])
    assert timing.total_cycles[0] == pytest.approx(full(trace, 1, 335), rel=0.01)


def test_busy_cycles_and_counts() -> None:
    timing = time_cta(gemm(99), H200, 1, latencies=[335])
    interval = H200.sm.tensor.mma[MMA].interval_cycles
    assert timing.busy["tensor"] == pytest.approx(4 * 16 * 100 * interval, rel=0.002)
    assert timing.busy_per_iteration["tensor"] == pytest.approx(4 * 16 * interval, rel=0.002)
    unit = H200.sm.load_store
    assert timing.busy_per_iteration["shared"] == 4 * 4 * (4 + 4 * unit.copy_write_wavefront_cycles)
    copies = 4 * 4 * max(unit.copy_instruction_cycles, 8 * unit.global_line_cycles)
    shared = timing.busy_per_iteration["shared"]
    assert timing.busy_per_iteration["load_store"] == pytest.approx(shared + copies, rel=0.01)
    assert timing.instructions == timing.busy["issue"] == 4 * (10 + 100 * 29 + 16)
    assert timing.busy_per_iteration["issue"] == 4 * 29
    assert timing.stalls[0, 0] == 1.0


def test_spread_over_seeds_is_reported() -> None:
    assert time_cta(pointer_chase(300), H200, 1, seeds=range(4)).spread_cycles.min() > 0
    assert not time_cta(gemm(3), H200, 1, seeds=[5]).spread_cycles.any()


def test_default_latencies_begin_unloaded() -> None:
    points = default_latencies(H200)
    assert points[0] == pytest.approx(unloaded_latency(H200.l2), abs=0.5)
    assert list(points) == sorted(points)
    assert points[-1] > 2000
