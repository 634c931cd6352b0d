"""wgmma, mbarriers and bulk copies against closed forms: not before, and not after."""

import numpy as np
import pytest

from sim.arch.load import load_gpu
from sim.errors import DeadlockError
from sim.isa.units import Unit
from sim.sm.columns import resolve
from sim.sm.layout import STALL_NAMES, Drive
from sim.sm.model import time_cta
from sim.sm.plan import plan_replays
from sim.sm.replay import Run, replay
from sim.sm.synthetic import Code, Instruction, Loop, strided, synthesize

pytestmark = pytest.mark.jit

H200 = load_gpu("h200")
MEMORY = 300  # cycles of every request
GROUP = 4  # warps
NOP, EXIT = Instruction(Unit.NONE), Instruction(Unit.EXIT)
LDS = Instruction(Unit.SHARED_LOAD, stall=2, offsets=strided(32, 4))


def wgmma(n: int, source: str = "ss", closes: bool = True, stall: int = 1) -> Instruction:
    return Instruction(Unit.WGMMA, stall, mma=f"wgmma.m64n{n}k16.f32.f16.{source}", argument=int(closes))


def until(pending: int) -> Instruction:
    return Instruction(Unit.WGMMA_WAIT, argument=pending)


def wait(mbarrier: int, phase: int, step: int = 0) -> Instruction:
    return Instruction(Unit.MBARRIER_WAIT, mbarrier=mbarrier, phase=phase, phase_step=step, write=0)


def arrive(mbarrier: int, tx: int = 0) -> Instruction:
    return Instruction(Unit.MBARRIER_ARRIVE, mbarrier=mbarrier, arrivals=1, tx=tx)


def copy(mbarrier: int, tx: int) -> Instruction:
    return Instruction(Unit.BULK_LOAD, mbarrier=mbarrier, tx=tx, lines=tx // 128, misses=tx // 32)


def go(warps: list[Code], *overrides: str, mbarriers: tuple[int, ...] = (), **changes: int) -> Run:
    trace = synthesize(warps, mbarriers=mbarriers)
    drive = Drive(1, 1, 1, 0, MEMORY, MEMORY, 0, 0, 0, 0, 8, 10_000_000)._replace(**changes)
    return replay(resolve(trace, load_gpu("h200", overrides)), drive, np.asarray(trace.loops[:, 2]))


def lost(run: Run, name: str) -> int:
    return int(run.stalls[STALL_NAMES.index(name)])


@pytest.mark.parametrize(
    ("n", "source", "latency"), [(8, "ss", 43), (64, "ss", 43), (256, "ss", 43), (64, "rs", 36)]
)
def test_accumulators_are_readable_half_n_and_the_latency_after_the_last_warp_issued(
    n: int, source: str, latency: int
) -> None:
    run = go([[wgmma(n, source), until(0), NOP]] * GROUP)
    assert run.end[0] == n // 2 + latency + 2  # the wait and what follows it
    assert lost(run, "gmma") == GROUP * (n // 2 + latency - 1)


def test_a_wgmma_begins_when_the_last_of_its_four_warps_has_issued_it() -> None:
    late = [Instruction(Unit.NONE, stall=15)] * 4 + [wgmma(64), until(0), NOP]
    alone = go([[wgmma(64), until(0), NOP]] * GROUP).end[0]
    assert go([[wgmma(64), until(0), NOP]] * 3 + [late]).end[0] == alone + 4 * 15


@pytest.mark.parametrize("n", [8, 16, 32, 64, 128, 256])
def test_the_interval_is_that_of_the_tensor_core_or_of_the_operands(n: int) -> None:
    def cycles(count: int, source: str) -> int:
        code = [wgmma(n, source, False)] * (count - 1) + [wgmma(n, source), until(0)]
        return int(go([code] * GROUP).end[0])

    assert cycles(40, "ss") - cycles(20, "ss") == 20 * max(n // 2, 16 + n // 4)
    assert cycles(40, "rs") - cycles(20, "rs") == 20 * max(n // 2, 13)


def test_groups_may_stay_in_flight() -> None:
    assert lost(go([[wgmma(64), wgmma(64), until(2), NOP]] * GROUP), "gmma") == 0
    one = lost(go([[wgmma(64), wgmma(64), until(1), NOP]] * GROUP), "gmma")
    assert one == GROUP * (32 + 43 - 2)  # the first is awaited: issued two cycles before


def test_warpgroups_share_the_tensor_cores() -> None:
    code = [wgmma(128)] * 20 + [until(0)]
    assert go([code] * 2 * GROUP).end[0] - go([code] * GROUP).end[0] == pytest.approx(20 * 64, abs=2)


def test_the_tensor_cores_stay_with_a_warpgroup_until_it_pauses() -> None:
    """Both have issued their four before the first is done; one works on its sums while the other's go on."""
    four = [wgmma(256, stall=30)] * 4 + [until(0)]
    with_sums = [*four, *[Instruction(Unit.FMA)] * 200]
    either = (go([with_sums] * GROUP + [four] * GROUP), go([four] * GROUP + [with_sums] * GROUP))
    assert min(run.end[0] for run in either) == pytest.approx(8 * 128 + 43, abs=8)


def test_a_warp_issues_as_far_ahead_as_the_queue_is_long() -> None:
    code = [wgmma(64)] * 4 + [NOP]
    assert go([code] * GROUP, "sm.tensor.wgmma_queue_entries=8").end[0] == 5
    # the first begins in the cycle after its issue; each of the others waits for the one before it to begin
    assert go([code] * GROUP, "sm.tensor.wgmma_queue_entries=1").end[0] == pytest.approx(2 * 32, abs=3)


def test_loads_get_what_the_operands_leave_of_the_pipe() -> None:
    """N = 128: 48 of 64 cycles are the operands'; a stream of loads fills the rest and delays no wgmma."""
    loads = [[LDS] * 40] * GROUP  # 160 wavefronts
    both = go([[wgmma(128)] * 10 + [until(0)]] * GROUP + loads)
    assert both.end[0] == pytest.approx(10 * 64 + 43 + 64, abs=64)
    assert go(loads).end[0] < 170


def test_arithmetic_beside_a_wgmma_takes_longer() -> None:
    adds = [Instruction(Unit.ALU)] * 20
    busy = go([[wgmma(256)]] * GROUP + [adds] * GROUP, "sm.tensor.wgmma_arithmetic_factor=3")
    assert busy.end[0] - go([adds] * GROUP).end[0] == pytest.approx(20 * 2 * 2, rel=0.15)


def test_a_wait_whose_phase_is_over_takes_its_latency_only() -> None:
    run = go([[wait(0, 0), Instruction(Unit.NONE, wait=1)]], mbarriers=(1,))
    assert run.end[0] == 38 + 1


@pytest.mark.parametrize("needed", [1, 3])
def test_a_phase_ends_with_its_last_arrival(needed: int) -> None:
    arrivals = [[*[Instruction(Unit.NONE, stall=10)] * k, arrive(0)] for k in range(needed)]
    run = go([[wait(0, 1), NOP], *arrivals], mbarriers=(needed,))
    window, effect = 3, 8
    assert run.end[0] == 10 * (needed - 1) + window + effect + 2
    assert lost(run, "long_scoreboard") == run.end[0] - 2


def test_arrivals_are_counted_one_after_the_other() -> None:
    few, many = (go([[arrive(0)] * count] * GROUP, mbarriers=(99,)).end[0] for count in (20, 40))
    assert many - few == pytest.approx(4 * 20 * 7.65, abs=8)


@pytest.mark.parametrize("size", [128, 4096, 32768])
def test_a_copy_is_there_after_a_round_trip_and_its_transfer(size: int) -> None:
    run = go([[arrive(0, size), copy(0, size)], [wait(0, 1), Instruction(Unit.NONE, wait=1)]], mbarriers=(1,))
    transfer = max(15.1, size / H200.sm.bulk_copy.bytes_per_cycle)
    assert run.end[0] == pytest.approx(1 + transfer + MEMORY + 4 + 1, abs=1)


def test_no_phase_ends_before_its_bytes_are_there() -> None:
    short = [[arrive(0, 256), copy(0, 128)], [wait(0, 1), NOP]]
    lacks = "for mbarrier 0, in whose phase 1 1 of 1 arrivals and all but 128 bytes have come"
    with pytest.raises(DeadlockError, match=lacks):
        go(short, mbarriers=(1,))


def test_copies_follow_each_other_through_one_engine() -> None:
    def cycles(count: int) -> int:
        producer = [arrive(0, 8192 * count), *[copy(0, 8192)] * count]
        return int(go([producer, [wait(0, 1), NOP]], mbarriers=(1,)).end[0])

    rate = H200.sm.bulk_copy.bytes_per_cycle
    assert cycles(12) - cycles(4) == pytest.approx(8 * 8192 / rate, abs=2)


def test_a_counted_barrier_opens_without_the_others() -> None:
    pair = [Instruction(Unit.BARRIER, argument=1 + 16 * 2), NOP]
    slow = [Instruction(Unit.NONE, stall=15)] * 10
    assert go([pair, pair, slow]).end[0] == 150 - 14
    assert lost(go([pair, pair, slow]), "barrier") < 40


def ring(stages: int, extra: int) -> list[Code]:
    """A producer that fills stages of 8 KiB, and a warpgroup that multiplies them; full mbarriers, then empty ones."""
    steps = [(step % stages, step // stages) for step in range(2 * stages)]
    producer, consumer = [], []
    for stage, use in steps:
        producer += [wait(stages + stage, use, 2), arrive(stage, 8192), copy(stage, 8192)]
        consumer += [wait(stage, use + 1, 2), wgmma(64, stall=4), until(0), arrive(stages + stage)]
    own: Code = [Loop(tuple(consumer), extra), EXIT]
    return [own] * GROUP + [[Loop(tuple(producer), extra), EXIT]]


def ring_barriers(stages: int) -> tuple[int, ...]:
    return (1,) * stages + (GROUP,) * stages


def test_folded_rings_replay_the_same_share_of_both_loops() -> None:
    """What was not replayed follows from the slope: within 1 % of the time of all iterations in every detail."""
    trace = synthesize(ring(2, 199), mbarriers=ring_barriers(2))
    plan = plan_replays(resolve(trace, H200))
    assert not plan.complete
    assert len(set(plan.replays.tolist())) == 1
    timing = time_cta(trace, H200, 1, seeds=(0,), latencies=(MEMORY,))
    whole = go(ring(2, 199), mbarriers=ring_barriers(2), far_cycles=MEMORY + 16)
    assert timing.iterations == 200
    assert float(timing.total_cycles[0]) == pytest.approx(float(whole.end[0]), rel=0.01)


def test_a_deeper_ring_hides_the_latency() -> None:
    shallow, deep = (
        go(ring(stages, 31 * 4 // stages), mbarriers=ring_barriers(stages)).end[0] for stages in (1, 4)
    )
    assert deep < 0.5 * shallow
