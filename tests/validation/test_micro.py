"""Every recorded microbenchmark reading, simulated: the test of the engine before any matmul."""

from __future__ import annotations

from pathlib import Path

import pytest

import gpu_kernels
from gpu_kernels.micro.collect import SUFFIX, read_folder
from sim.arch.load import load_gpu
from sim.commands.calibrate import TOLERANCE, comparisons

pytestmark = pytest.mark.jit

FOLDER = Path(gpu_kernels.__file__).parent / "measurements" / "h200" / "micro"
# "benchmark point" of readings that are known to come out wrong, with the reason; a gap that closes fails the test.
KNOWN_GAPS: dict[str, str] = {}


@pytest.mark.skipif(not list(FOLDER.glob(f"*{SUFFIX}")), reason="no microbenchmark readings are recorded yet")
def test_readings_are_simulated_within_tolerance() -> None:
    found = comparisons(read_folder(FOLDER)[0], load_gpu("h200"))
    assert found, "nothing was compared"
    names = {f"{each.benchmark} {each.point}": each for each in found}
    assert set(KNOWN_GAPS) <= set(names), "a known gap names no reading"
    wrong = {name for name, each in names.items() if not abs(each.error) <= TOLERANCE}
    assert wrong == set(KNOWN_GAPS), [
        (name, f"{names[name].error:+.1%}") for name in sorted(wrong ^ set(KNOWN_GAPS))
    ]
