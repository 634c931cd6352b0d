"""The timing engine against closed forms: latencies are tight, pipes and queues take what they should."""

import numpy as np
import pytest

from sim.arch.load import load_gpu
from sim.errors import DeadlockError, UnsupportedInstructionError
from sim.isa.units import Unit
from sim.results import STALLS
from sim.sm.columns import resolve
from sim.sm.layout import STALL_NAMES
from sim.sm.synthetic import Instruction, Loop, strided, synthesize

pytestmark = pytest.mark.jit

H200 = load_gpu("h200")
MMA = "m16n8k16.f32.f16"
NOP = Instruction(Unit.NONE)
STORE_CYCLES = 3  # that four sectors keep the pipe longer than one line
LDS = Instruction(Unit.SHARED_LOAD, write=0, offsets=strided(32, 4))
USE = Instruction(Unit.NONE, wait=1)
BAR = Instruction(Unit.BARRIER)
LDG = Instruction(Unit.GLOBAL_LOAD, write=0)
COPY = Instruction(Unit.ASYNC_COPY, offsets=strided(32, 16), access_bytes=16)
COMMIT = Instruction(Unit.COPY_COMMIT)


def mma(target: int, source: int, stall: int = 6) -> Instruction:
    return Instruction(Unit.TENSOR, stall=stall, registers=(40, 50, source), target=target, mma=MMA)


def tensor(interval: float, latency: float) -> tuple[str, str]:
    path = f"sm.tensor.mma.{MMA}"
    return f"{path}.latency_cycles={latency}", f"{path}.interval_cycles={interval}"


def lost(run, name: str) -> int:  # type: ignore[no-untyped-def]
    return int(run.stalls[STALL_NAMES.index(name)])


def test_stall_names_are_those_of_the_results() -> None:
    assert STALL_NAMES == STALLS


@pytest.mark.parametrize("stall", [1, 4, 15])
def test_stall_count_is_the_distance_to_the_next_issue(go, stall: int) -> None:  # type: ignore[no-untyped-def]
    run = go([[Instruction(Unit.NONE, stall=stall), NOP]])
    assert run.end[0] == stall + 1
    assert lost(run, "wait") == stall - 1


@pytest.mark.parametrize("latency", [18, 23, 40])
def test_consumer_issues_when_the_load_is_there_and_not_before(go, latency: int) -> None:  # type: ignore[no-untyped-def]
    run = go([[LDS, USE]], f"sm.shared_memory.load_latency_cycles={latency}")
    assert run.end[0] == latency + 1
    assert lost(run, "short_scoreboard") == latency - 1


@pytest.mark.parametrize("stride", [4, 8, 16, 32, 64, 128])
def test_conflict_ladder(go, stride: int) -> None:  # type: ignore[no-untyped-def]
    load = Instruction(Unit.SHARED_LOAD, write=0, offsets=strided(32, stride))
    run = go([[load, USE]], "sm.shared_memory.load_latency_cycles=23")
    assert run.end[0] == 23 + 2 * (stride // 4 - 1) + 1


def test_conflicting_loads_take_the_data_pipe_one_wavefront_per_cycle(go) -> None:  # type: ignore[no-untyped-def]
    load = Instruction(Unit.SHARED_LOAD, stall=2, offsets=strided(32, 128))
    one, many = (go([[load] * count] * 4).end[0] for count in (20, 40))
    assert many - one == 4 * 20 * 32


def test_lines_of_global_loads_take_the_same_pipe(go) -> None:  # type: ignore[no-untyped-def]
    scattered = Instruction(Unit.GLOBAL_LOAD, lines=8, misses=0)
    unit = "sm.load_store"
    overrides = (
        f"{unit}.global_line_cycles=2",
        f"{unit}.copy_instruction_cycles=7",
        f"{unit}.intake_interval_cycles=1",
    )
    for code, cycles in (([scattered], 16), ([scattered, LDS], 17), ([COPY, LDS], 7)):
        short, long = (go([code * count] * 4, *overrides, near_cycles=10**6).end[0] for count in (20, 60))
        assert long - short == pytest.approx(40 * 4 * cycles, abs=8)


def test_load_from_memory_and_from_l1(go) -> None:  # type: ignore[no-untyped-def]
    hit = Instruction(Unit.GLOBAL_LOAD, write=0, misses=0)
    assert go([[LDG, USE]], near_cycles=777, far_cycles=777).end[0] == 778
    run = go([[hit, USE]], "sm.l1.hit_latency_cycles=35", near_cycles=777, far_cycles=777)
    assert run.end[0] == 36
    assert lost(run, "long_scoreboard") == 34


def test_each_further_line_adds_its_pipe_time(go) -> None:  # type: ignore[no-untyped-def]
    scattered = Instruction(Unit.GLOBAL_LOAD, write=0, lines=9)
    assert go([[scattered, USE]], "sm.load_store.global_line_cycles=2").end[0] == 300 + 16 + 1


def test_memory_latency_is_near_or_far_with_the_given_odds(go) -> None:  # type: ignore[no-untyped-def]
    ends = np.diff([go([[LDG, USE] * 200], near_cycles=100, far_cycles=200, far_threshold=odds).end[0]
                    for odds in (0, 1 << 29, 1 << 31)])  # fmt: skip
    assert ends.sum() == 200 * 100
    assert 0.15 < ends[0] / ends.sum() < 0.35


@pytest.mark.parametrize("count", [2, 5, 32])
def test_dependent_mma_wait_for_the_accumulator(go, count: int) -> None:  # type: ignore[no-untyped-def]
    run = go([[mma(4, 4)] * count], *tensor(6, 33))
    assert run.end[0] == (count - 1) * 33 + 1


def test_an_mma_waits_for_the_a_operand_that_another_tensor_instruction_writes(go) -> None:  # type: ignore[no-untyped-def]
    takes = Instruction(Unit.TENSOR, stall=6, registers=(4, 50, 8), target=8, mma=MMA)
    assert go([[mma(4, -1), takes]], *tensor(6, 33)).end[0] == 33 + 1
    assert go([[mma(12, -1), takes]], *tensor(6, 33)).end[0] == 6 + 1


@pytest.mark.parametrize("interval", [6, 8, 6.25])
def test_independent_mma_issue_at_the_interval(go, interval: float) -> None:  # type: ignore[no-untyped-def]
    run = go([[mma(4 * i, 4 * i) for i in range(8)] * 8], *tensor(interval, 33))
    assert run.end[0] == int(63 * interval) + 1


def test_a_faster_tensor_core_shortens_the_stall_counts_between_mma(go) -> None:  # type: ignore[no-untyped-def]
    chain = [mma(4 * i, 4 * i) for i in range(8)] * 4
    assert go([chain], *tensor(4, 20)).end[0] == 31 * 4 + 1
    assert go([[mma(4, 4, stall=11), NOP]], *tensor(4, 20)).end[0] == 11 + 1


def test_pipe_interval(go) -> None:  # type: ignore[no-untyped-def]
    xu = [Instruction(Unit.XU)] * 10
    run = go([xu], "sm.pipes.xu.interval_cycles=8")
    assert run.end[0] == 9 * 8 + 1
    assert lost(run, "math_pipe_throttle") == 9 * 7


def test_the_sixth_memory_instruction_finds_the_queue_full(go) -> None:  # type: ignore[no-untyped-def]
    load = Instruction(Unit.SHARED_LOAD, offsets=strided(32, 4))
    overrides = ("sm.load_store.queue_entries=5", "sm.load_store.address_interval_cycles=4")
    assert lost(go([[load] * 5], *overrides), "mio_throttle") == 0
    assert lost(go([[load] * 6], *overrides), "mio_throttle") > 0
    gaps = np.diff([go([[load] * count], *overrides).end[0] for count in range(6, 12)])
    assert gaps.tolist() == [4] * 5


@pytest.mark.parametrize(("warps", "gap"), [(1, 4), (2, 4), (3, 6), (4, 8)])
def test_steady_issue_gap_of_memory_instructions_by_active_sub_cores(go, warps: int, gap: int) -> None:  # type: ignore[no-untyped-def]
    """4, 4, 6, 8 cycles with 1, 2, 3, 4 sub-cores: Huerta et al., MICRO'25, on Ampere."""
    load = Instruction(Unit.SHARED_LOAD, offsets=strided(32, 4))
    ampere = ("sm.load_store.address_interval_cycles=4", "sm.load_store.intake_interval_cycles=2")
    short, long = (go([[load] * count] * warps, *ampere).end[0] for count in (20, 60))
    assert long - short == 40 * gap


def test_source_registers_are_free_after_the_release_time(go) -> None:  # type: ignore[no-untyped-def]
    store = Instruction(Unit.GLOBAL_STORE, read=1)
    run = go([[store, Instruction(Unit.NONE, wait=2)]], "sm.load_store.source_release_cycles=17")
    assert run.end[0] == 17 + 1


def test_four_warps_have_four_issue_slots_and_five_share_one(go) -> None:  # type: ignore[no-untyped-def]
    assert go([[NOP] * 100] * 4).end[0] == 100
    run = go([[NOP] * 100] * 5)
    assert run.end[0] == 200
    assert lost(run, "not_selected") == 100


def test_the_issuing_warp_goes_on_then_the_youngest(go) -> None:  # type: ignore[no-untyped-def]
    body = [Loop((NOP,), 0)]
    slow = [Instruction(Unit.NONE, stall=4), *body]
    codes = [slow if warp % 4 == 0 else [] for warp in range(12)]
    assert [int(go(codes, mark_warp=warp).marks[0, 0]) for warp in (8, 4, 0)] == [4, 5, 6]


def test_barrier_opens_after_the_last_arrival(go) -> None:  # type: ignore[no-untyped-def]
    late = [Instruction(Unit.NONE, stall=15)] * 3
    run = go([[BAR, NOP], [*late, BAR, NOP]], *barrier(release=5, arrival=0))
    assert run.end[0] == 45 + 5 + 1
    assert lost(run, "barrier") == 44 + 5 + 4


def test_a_warp_that_exits_is_not_waited_for(go) -> None:  # type: ignore[no-untyped-def]
    assert go([[BAR, NOP], [NOP]], *barrier(release=5, arrival=0)).end[0] == 6


@pytest.mark.parametrize("warps", [1, 2, 4, 8])
def test_a_barrier_counts_its_arrivals_one_by_one(go, warps: int) -> None:  # type: ignore[no-untyped-def]
    """Warps of different sub-cores arrive together; the fifth and later ones a cycle after the first four."""
    run = go([[BAR, NOP]] * warps, *barrier(release=5, arrival=3))
    assert run.end[0] == 3 * warps + 5 + (2 if warps > 4 else 1)


def barrier(release: int, arrival: int) -> tuple[str, str]:
    """Return overrides of what a barrier costs."""
    control = "sm.control.barrier"
    return f"{control}_release_cycles={release}", f"{control}_arrival_cycles={arrival}"


def test_lines_of_global_loads_pass_while_shared_loads_are_served(go) -> None:  # type: ignore[no-untyped-def]
    """Tags and data are two stages: a warp of conflicting LDS and one of scattered LDG do not wait for each other."""
    conflicting = [Instruction(Unit.SHARED_LOAD, stall=2, offsets=strided(32, 128))] * 40
    scattered = [Instruction(Unit.GLOBAL_LOAD, lines=16, misses=0)] * 40
    line = ("sm.load_store.global_line_cycles=1", "sm.load_store.intake_interval_cycles=1")
    alone = go([conflicting], *line).end[0]
    assert go([conflicting, scattered], *line).end[0] == pytest.approx(alone, rel=0.02)


def test_copies_are_waited_for_by_group(go) -> None:  # type: ignore[no-untyped-def]
    def wait(groups: int) -> Instruction:
        return Instruction(Unit.COPY_WAIT, argument=groups)

    gap = [Instruction(Unit.NONE, stall=15)] * 8
    code = [COPY, COMMIT, *gap, COPY, COMMIT]
    overrides = ("sm.load_store.copy_extra_latency_cycles=40",)
    assert go([[*code, wait(1)]], *overrides).end[0] == 300 + 40 + 1
    assert go([[*code, wait(0)]], *overrides).end[0] == 2 + 8 * 15 + 300 + 40 + 1
    assert go([[*code, wait(2)]], *overrides).end[0] == 2 + 8 * 15 + 3
    assert go([[COMMIT, wait(0)]]).end[0] == 2


def test_a_copys_data_takes_the_shared_data_pipe(go) -> None:  # type: ignore[no-untyped-def]
    """Four wavefronts of a store of 16 bytes per lane stand before a load that comes just then."""
    overrides = (
        "sm.load_store.copy_extra_latency_cycles=0",
        "sm.load_store.copy_write_wavefront_cycles=1",
        "sm.shared_memory.load_latency_cycles=23",
    )

    def end(gap: int) -> int:
        idle = [Instruction(Unit.NONE, stall=5)] * (gap // 5) + [NOP] * (gap % 5)
        return int(go([[COPY, *idle, LDS, USE]], *overrides).end[0]) - gap

    quiet = end(250)
    delays = [end(gap) - quiet for gap in range(280, 305)]
    assert sorted(delays)[-5:] == [0, 1, 2, 3, 4]


def test_a_fence_travels_while_it_waits_for_what_is_outstanding(go) -> None:  # type: ignore[no-untyped-def]
    fence, store = Instruction(Unit.MEMBAR), Instruction(Unit.GLOBAL_STORE)
    assert go([[fence, NOP]], "sm.control.membar_latency_cycles=50").end[0] == 51
    answered = go([[store, fence, NOP]], "sm.load_store.store_extra_latency_cycles=100")
    assert answered.end[0] == 300 + 100 + STORE_CYCLES + 2
    assert lost(answered, "membar") == 300 + 100 + STORE_CYCLES - 1
    assert go([[store, fence, NOP]], "sm.control.membar_latency_cycles=900").end[0] == 1 + 900 + 1


def test_a_store_keeps_the_memory_pipe_for_each_sector(go) -> None:  # type: ignore[no-untyped-def]
    store = Instruction(Unit.GLOBAL_STORE, lines=1, sectors=4)
    one, many = (go([[store] * count]).end[0] for count in (20, 40))
    assert many - one == 20 * 4


def test_an_instruction_without_lanes_only_issues(go) -> None:  # type: ignore[no-untyped-def]
    skipped = Instruction(Unit.FMA, lanes=0)
    assert go([[skipped] * 10], "sm.pipes.fma.interval_cycles=4").end[0] == 10


def test_loops_replay_their_body(go) -> None:  # type: ignore[no-untyped-def]
    run = go([[NOP, Loop((Instruction(Unit.NONE, stall=3), NOP), 4), NOP]])
    assert run.marks[0, :5].tolist() == [1, 5, 9, 13, 17]
    assert run.end[0] == 1 + 5 * 4 + 1


def test_ctas_of_the_queue_follow_each_other(go) -> None:  # type: ignore[no-untyped-def]
    run = go([[NOP] * 10], "sm.control.cta_start_cycles=7", ctas=3)
    assert run.end.tolist() == [10, 27, 44]


def test_co_resident_ctas_share_the_issue_slots(go) -> None:  # type: ignore[no-untyped-def]
    run = go([[NOP] * 100] * 4, ctas=2, resident=2)
    assert sorted(run.end.tolist()) == [100, 200]
    assert go([[NOP] * 100] * 4, ctas=2, resident=2, stagger_cycles=30).end.max() == 200


def test_sms_do_not_share_anything_but_the_memory_server(go) -> None:  # type: ignore[no-untyped-def]
    alone = go([[LDG, USE] * 5]).end
    assert go([[LDG, USE] * 5], sms=2, ctas=2).end.tolist() == [alone[0]] * 2
    served = go([[LDG, USE] * 5], sms=2, ctas=2, sector_ticks=256 * 10).end
    assert served.min() >= alone[0] + 5 * 40
    assert served.max() >= alone[0] + 5 * 40 + 40


def test_profile_adds_up_to_the_stalls(go) -> None:  # type: ignore[no-untyped-def]
    run = go([[LDG, LDS, USE, *[mma(4, 4)] * 3, BAR, NOP]] * 5, profile=True)
    np.testing.assert_array_equal(run.profile.sum(axis=0), run.stalls)


def test_every_warp_cycle_is_counted_once(go) -> None:  # type: ignore[no-untyped-def]
    run = go([[LDG, LDS, USE, mma(4, 4), BAR, NOP]] * 4)
    assert run.stalls.sum() == 4 * run.end[0]


def test_same_input_same_bits(go) -> None:  # type: ignore[no-untyped-def]
    code = [LDG, COPY, COMMIT, LDS, USE, mma(4, 4), BAR] * 20
    runs = [go([code] * 8, ctas=4, resident=2, near_cycles=200, far_threshold=1 << 30) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].end, runs[1].end)
    np.testing.assert_array_equal(runs[0].stalls, runs[1].stalls)


def test_mismatched_barriers_are_named(go) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DeadlockError, match=r"warp 0 of CTA 0 waits at barrier 0, where 1 of 2"):
        go([[BAR, NOP], [Instruction(Unit.BARRIER, argument=1), NOP]])


def test_a_run_beyond_the_limit_names_the_dependence(go) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DeadlockError, match=r"after 100 cycles.*'NONE .*counter 0 to fall from 1 to 0"):
        go([[LDG, USE]], near_cycles=5000, far_cycles=5000, max_cycles=100)


def test_an_unknown_mma_is_named() -> None:
    trace = synthesize([[Instruction(Unit.TENSOR, mma="m16n8k32.f32.e4m3")]])
    with pytest.raises(UnsupportedInstructionError, match=r"h200 has no mma 'm16n8k32.f32.e4m3'"):
        resolve(trace, H200)


def test_a_heap_that_grows_changes_nothing(go) -> None:  # type: ignore[no-untyped-def]
    """More stores under way than the heap first holds."""
    store = Instruction(Unit.GLOBAL_STORE)
    quick, slow = (go([[store] * 1500] * 4, near_cycles=n, far_cycles=n).end[0] for n in (10, 100_000))
    assert quick == slow
