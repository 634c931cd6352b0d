from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_kernels import catalog
from gpu_kernels.measuring import timing
from gpu_kernels.measuring.clock import clock_between
from gpu_kernels.measuring.device import Device, addresses
from sim.arch.load import load_gpu
from workloads.operands import random_operands
from workloads.schemes.base import get_scheme

H200 = load_gpu("h200")
L2 = 60 * 2**20


@pytest.mark.parametrize(
    ("bytes_per_copy", "copies"),
    [
        (4096 * 4096 * 2, 8),  # 240 MiB / 32 MiB = 7.5
        (L2, 4),
        (L2 + 1, 4),
        (4 * L2, 2),  # never one: the next call must read other bytes
        (8 * 10**9, 2),
        (1, timing.MAX_COPIES),
    ],
)
def test_copies_exceed_four_times_the_l2(bytes_per_copy: int, copies: int) -> None:
    assert timing.copies_needed(bytes_per_copy, L2) == copies


@given(bytes_per_copy=st.integers(1, 2**33), l2=st.integers(2**20, 2**28))
def test_copies_are_enough_and_no_more_than_that(bytes_per_copy: int, l2: int) -> None:
    copies = timing.copies_needed(bytes_per_copy, l2)
    capped = copies == timing.MAX_COPIES or (copies + 1) * bytes_per_copy > timing.MAX_ROTATION_BYTES
    assert copies >= 2
    assert copies * bytes_per_copy >= timing.L2_MULTIPLE * l2 or capped
    assert copies == 2 or (copies - 1) * bytes_per_copy < timing.L2_MULTIPLE * l2


@given(copies=st.integers(1, 600))
def test_a_graph_uses_every_copy_equally_often(copies: int) -> None:
    calls = timing.calls_per_graph(copies)
    assert calls % copies == 0 and calls >= timing.MIN_CALLS and calls - copies < timing.MIN_CALLS


@pytest.mark.parametrize(("graph_ms", "replays"), [(11.0, 24), (0.5, 40), (0.01, 200), (0.0, 200)])
def test_short_graphs_are_replayed_more_often(graph_ms: float, replays: int) -> None:
    assert timing.replays_for(graph_ms) == replays


def test_times_are_per_call_over_all_copies(gpu: Any, cupy: Any) -> None:
    m, n, k = 3, 136, 192
    operands = random_operands(get_scheme("fp16"), m, n, k, seed=1)
    launch = catalog.launches("fp16", m, n, k, {}, H200, "8x64", operands.arrays)[0]
    device = Device(cupy)
    rotation = timing.RotatingCopies(device, launch, 5)
    arrays = device.place(launch, rotation.first)
    device.run(launch, addresses(arrays))
    gpu.calls.clear()

    times = timing.time_launch(device, launch, addresses(arrays), rotation)

    assert times.median_us == pytest.approx(4.0) and times.minimum_us == pytest.approx(4.0)
    assert times.spread_us == pytest.approx(0.0, abs=1e-9)
    assert times.clock_mhz is None, "there is no compiler for the stamps here"
    assert times.calls == 50 and times.replays in (99, 100)  # 20 ms / 0.2 ms
    used = [int(call["args"][1]) for call in gpu.calls[1:]]
    assert len(set(used)) == 5 and {used.count(each) for each in used} == {len(used) // 5}
    assert used[:5] == [rotation.pointers(copy)["weights"] for copy in range(5)]
    for address in set(used):
        assert np.array_equal(
            gpu.view(address, 2 * n * k).view(np.float16), operands.arrays["weights"].reshape(-1)
        )
        assert address % timing.ALIGNMENT == 0
    assert {int(call["args"][2]) for call in gpu.calls} == {addresses(arrays)["output"]}
    assert rotation.total_bytes == 5 * 2 * n * k


def test_scales_rotate_with_the_weights(gpu: Any, cupy: Any) -> None:
    operands = random_operands(get_scheme("w4a16"), 1, 64, 256, seed=1)
    launch = catalog.launches("w4a16", 1, 64, 256, {}, H200, "8x64", operands.arrays)[0]
    rotation = timing.RotatingCopies(Device(cupy), launch, 3)
    assert set(rotation.first) == {"weights", "scales"}
    assert rotation.bytes_per_copy == 64 * 256 // 2 + 2 * 64 * 2 == timing.rotating_bytes(launch)
    scales = rotation.pointers(2)["scales"] - rotation.pointers(0)["scales"]
    assert scales == 2 * timing.ALIGNMENT


def test_a_failed_capture_is_ended(gpu: Any, cupy: Any) -> None:
    device = Device(cupy)

    def fails_in_capture() -> None:
        if gpu.capturing is not None:
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        timing.time_calls(device, [fails_in_capture])
    assert gpu.capturing is None


def test_the_clock_is_cycles_over_time_of_the_sms_seen_twice() -> None:
    before = np.array([[100, 1000], [500, 1000], [7, 0], [9, 1000]], np.uint64)
    after = np.array([[1900 + 100, 2000], [1800 + 500, 2000], [9, 2000], [9, 900]], np.uint64)
    assert clock_between(before, after) == pytest.approx(1850.0)
    assert clock_between(before[2:], after[2:]) is None
