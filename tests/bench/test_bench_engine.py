"""Speed of the timing engine and of what surrounds it, on one core."""

import numpy as np
import pytest

from sim.arch.load import load_gpu
from sim.isa.units import Unit
from sim.sm.banks import wavefronts
from sim.sm.columns import resolve
from sim.sm.layout import ISSUED
from sim.sm.model import drive_for, time_cta
from sim.sm.plan import plan_replays
from sim.sm.replay import replay
from sim.sm.synthetic import Instruction, Loop, strided, synthesize

pytestmark = [pytest.mark.benchmark, pytest.mark.jit]

H200 = load_gpu("h200")
FLOOR = 5e6  # warp instructions per second
MMA = "m16n8k16.f32.f16"


def main_loop(extra: int):  # type: ignore[no-untyped-def]
    """A GEMM's main loop: 4 warps, 150 instructions of each per iteration."""
    load = Instruction(Unit.SHARED_LOAD, 2, write=2, offsets=strided(32, 16), access_bytes=16, matrix=True)
    copy = Instruction(Unit.ASYNC_COPY, 2, read=1, offsets=strided(32, 16), access_bytes=16, lines=8)
    tensor = [
        Instruction(Unit.TENSOR, 6, wait=4, registers=(200, 204, 4 * (i % 32)), target=4 * (i % 32), mma=MMA)
        for i in range(64)
    ]
    rest = [Instruction(Unit.ALU if i % 2 else Unit.IMAD, 2, registers=(i, i + 1, i + 2)) for i in range(58)]
    wait = [Instruction(Unit.COPY_WAIT, argument=1), Instruction(Unit.BARRIER)]
    body = (*wait, *[copy] * 8, Instruction(Unit.COPY_COMMIT), *[load] * 16, *tensor, *rest)
    return synthesize(
        [[copy, Instruction(Unit.COPY_COMMIT), Loop((*body, Instruction(Unit.BRANCH)), extra)]] * 4
    )


@pytest.mark.parametrize("resident", [1, 2, 4])
def test_warp_instructions_per_second(benchmark, resident: int) -> None:  # type: ignore[no-untyped-def]
    columns = resolve(main_loop(99), H200)
    drive = drive_for(H200, plan_replays(columns), 400, resident, 0, 61)
    run = benchmark(replay, columns, drive, np.array([99] * 4))
    rate = run.stalls[ISSUED] / benchmark.stats.stats.min
    benchmark.extra_info["warp instructions per second"] = rate
    assert rate > FLOOR


def test_timing_a_cta_pair(benchmark) -> None:  # type: ignore[no-untyped-def]
    trace = main_loop(200)
    benchmark(time_cta, trace, H200, 2)
    assert benchmark.stats.stats.min < 0.2


def test_wavefronts_of_a_table_look_up(benchmark) -> None:  # type: ignore[no-untyped-def]
    offsets = np.random.default_rng(0).integers(0, 4096, (10_000, 32), dtype=np.int32) * 4
    patterns = np.hstack([np.full((10_000, 1), 4, np.int32), np.zeros((10_000, 1), np.int32), offsets])
    found = benchmark(wavefronts, patterns, H200.sm.shared_memory)
    assert found.mean() == pytest.approx(3.5, abs=0.2)  # the most of 32 balls in one of 32 bins
    assert benchmark.stats.stats.min < 0.1
