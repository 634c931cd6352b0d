"""Every recorded microbenchmark reading, simulated: the test of the engine before any matmul."""

from __future__ import annotations

from pathlib import Path

import pytest

import gpu_kernels
from gpu_kernels.micro.collect import SUFFIX, read_folder
from sim.arch.load import load_gpu
from sim.commands.calibrate import TOLERANCE, comparisons
from sim.config import load_yaml

pytestmark = pytest.mark.jit

FOLDER = Path(gpu_kernels.__file__).parent / "measurements" / "h200" / "micro"
GAPS = Path(__file__).with_name("micro_gaps.yaml")


def known_gaps() -> set[str]:
    """Return "benchmark point" of the readings that are known to come out wrong; each benchmark has a reason."""
    listed = load_yaml(GAPS).data
    assert all(group["reason"] for group in listed.values())
    return {f"{benchmark} {point}" for benchmark, group in listed.items() for point in group["points"]}


@pytest.mark.skipif(not list(FOLDER.glob(f"*{SUFFIX}")), reason="no microbenchmark readings are recorded yet")
def test_readings_are_simulated_within_tolerance() -> None:
    found = comparisons(read_folder(FOLDER)[0], load_gpu("h200"))
    assert found, "nothing was compared"
    names = {f"{each.benchmark} {each.point}": each for each in found}
    assert known_gaps() <= set(names), "a known gap names no reading"
    wrong = {name for name, each in names.items() if not abs(each.error) <= TOLERANCE}
    assert wrong == known_gaps(), [
        (name, f"{names[name].error:+.1%}") for name in sorted(wrong ^ known_gaps())
    ]
