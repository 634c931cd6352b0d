"""How many lines a wait covers decides how much slower than the mean its slowest line is."""

from __future__ import annotations

import math

import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.chip.memory_system import Demand, MemorySystem
from sim.chip.run import trace_launch
from sim.chip.waits import STAGE_LINES
from workloads.schemes.base import get_scheme

H200 = load_gpu("h200")


def _awaited(scheme: str, tile: str) -> float:
    options = get_scheme(scheme).check_options(dict(catalog.tiles(scheme)[tile].options))
    (launch,) = catalog.launches(scheme, 1, 8192, 8192, options, H200, tile)
    return trace_launch(launch)[0].awaited


@pytest.mark.jit
@pytest.mark.parametrize(("scheme", "tile"), [("w4a16", "8x64"), ("fp16", "8x64")])
def test_a_cta_that_waits_at_a_barrier_waits_for_a_whole_stage(scheme: str, tile: str) -> None:
    assert _awaited(scheme, tile) >= 1.0


@pytest.mark.jit
def test_a_warp_that_waits_for_its_own_copies_waits_for_few_lines() -> None:
    """512 bytes of codes and 64 of scales are five lines; each fourth wait has the offsets' line too."""
    low, high = (math.log(lines) / math.log(STAGE_LINES) for lines in (5, 7))
    assert low < _awaited("lut_gemm", "1x128-private") < high


def test_the_slowest_of_few_lines_is_less_slow() -> None:
    memory = MemorySystem(H200, H200.sm.max_clock_mhz)
    latency = [
        memory.balance([Demand(lambda ns: 1e6 + ns, 1e3, 1e3, 1.0, 1.0, True, True, share)]).latencies_ns[0]
        for share in (0.0, 0.5, 1.0)
    ]
    least = H200.dram.stage_excess[0].factor * memory.unloaded_dram_ns  # DRAM is as good as idle
    assert latency[2] - latency[0] == pytest.approx(least)
    assert latency[1] == pytest.approx((latency[0] + latency[2]) / 2)
