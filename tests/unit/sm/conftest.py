"""What the tests of the timing engine share."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sim.arch.load import load_gpu
from sim.sm.columns import resolve
from sim.sm.layout import Drive
from sim.sm.replay import Run, replay
from sim.sm.synthetic import Code, synthesize

MEMORY_CYCLES = 300


@pytest.fixture(scope="session")
def drive() -> Drive:
    """One CTA on one SM, a memory of one latency."""
    return Drive(1, 1, 1, 0, MEMORY_CYCLES, MEMORY_CYCLES, 0, 0, 0, 0, 8, 10_000_000)


@pytest.fixture(scope="session")
def go(drive: Drive) -> Callable[..., Run]:
    """Replay hand-written warps on an H200 with overrides."""

    def run(warps: Sequence[Code], *overrides: str, profile: bool = False, **changes: int) -> Run:
        trace = synthesize(warps)
        columns = resolve(trace, load_gpu("h200", overrides))
        return replay(columns, drive._replace(**changes), np.asarray(trace.loops[:, 2]), profile)

    return run
