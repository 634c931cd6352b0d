"""A thousand machines, one shape: what an architect's sweep costs once the trace exists."""

from __future__ import annotations

import time

import pytest

from gpu_kernels.catalog import launches
from sim.arch.load import load_gpu
from sim.chip.run import run_launch

pytestmark = pytest.mark.benchmark
MACHINES = 50  # timed; a thousand take twenty times as long
GOAL_S = 40.0  # for a thousand machines on two cores


@pytest.mark.xfail(
    strict=True, reason="51 s on two cores on 2026-11-21: seven replays of 12,000 rows per machine"
)
def test_a_thousand_machines_on_two_cores() -> None:
    """Each machine has another shared-memory latency, so that the SM is timed anew."""
    launch = launches("fp16", 4096, 4096, 4096, {}, load_gpu("h200"), "128x128")[0]
    run_launch(launch, load_gpu("h200"))
    start = time.perf_counter()
    for index in range(MACHINES):
        run_launch(launch, load_gpu("h200", [f"sm.shared_memory.load_latency_cycles={20 + index / 100}"]))
    assert (time.perf_counter() - start) * 1000 / MACHINES / 2 <= GOAL_S
