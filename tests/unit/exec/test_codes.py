"""Kernels whose addresses depend on data: which codes they see, and what these cost in shared memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.chip.accounting import counted_shared_wavefronts, row_wavefronts
from sim.chip.run import trace_launch
from sim.exec.execute import execute, execute_grid
from sim.isa.launch import KernelLaunch
from workloads.codes import Codes, sample_codes
from workloads.operands import random_operands
from workloads.schemes.base import Options, get_scheme

pytestmark = pytest.mark.jit

H200 = load_gpu("h200")
FLUTE = get_scheme("flute")


def _launch(tile: str, m: int, n: int, k: int, options: Options, codes: Codes | None) -> KernelLaunch:
    return catalog.launches("flute", m, n, k, options, H200, tile, codes=codes)[0]


def _look_up_wavefronts(tile: str, choice: Options) -> float:
    """Return the mean wavefronts of a look-up, over a CTA."""
    options = FLUTE.check_options({**choice, **catalog.tiles("flute")[tile].options})
    launch = _launch(tile, 16, 33792, 1024, options, sample_codes(FLUTE, 33792, 1024, options))
    trace = execute(launch, launch.classes[0]).trace
    lines = catalog.source_lines(launch.program)
    static = ["(table + offset)" in lines[line - 1] for line in launch.program.source_line]
    table = np.array(static)[trace.pc] & (trace.pattern >= 0)
    assert table.sum() >= 2048
    return float(row_wavefronts(trace, H200)[0][table].mean())


@pytest.mark.parametrize(
    ("tile", "choice", "expected"),
    [
        ("16x128-w4", {"codes": "random"}, 1.0),  # a lane has a bank to itself
        ("16x128-w4c8", {"codes": "random"}, 2.93),  # eight lanes share four banks: as good as none
        (
            "16x128-w4c1",
            {"codes": "random"},
            3.15,
        ),  # 256 words, 32 drawn: the fullest bank, by simulation apart
    ],
)
def test_look_ups_cost_what_chance_makes_of_them(tile: str, choice: Options, expected: float) -> None:
    assert _look_up_wavefronts(tile, choice) == pytest.approx(expected, abs=0.05)


def test_peaked_codes_collide_more() -> None:
    uniform = {"table": "uniform"}
    random = _look_up_wavefronts("16x128-w4c1", {**uniform, "codes": "random"})
    assert _look_up_wavefronts("16x128-w4c1", {**uniform, "codes": "gaussian"}) > 1.05 * random


def test_data_that_repeats_is_as_the_whole() -> None:
    options = FLUTE.check_options({})
    sample = sample_codes(FLUTE, 512, 256, options)
    assert sample is not None
    twice = {name: np.concatenate([each, each]) for name, each in sample.arrays.items()}
    traces = []
    for codes in (sample, Codes(twice, "twice")):
        launch = _launch("16x128-w4c1", 16, 512, 256, options, codes)
        last = replace(launch.classes[0], cta=(0, 3, 0), count=1)  # outputs 384 to 511
        traces.append(execute(launch, last).trace)
    np.testing.assert_array_equal(traces[0].patterns, traces[1].patterns)
    np.testing.assert_array_equal(traces[0].pattern, traces[1].pattern)


def test_data_that_repeats_must_begin_again_at_256_bytes() -> None:
    launch = _launch("16x128-w4", 16, 512, 256, {}, Codes({"weights": np.zeros(1000, np.uint8)}, "x"))
    with pytest.raises(ValueError, match="multiple of 256 bytes; got 1000"):
        execute(launch, launch.classes[0])


def test_a_whole_grid_computes_the_product() -> None:
    operands = random_operands(FLUTE, 5, 272, 512, {}, seed=0)
    (launch,) = catalog.launches("flute", 5, 272, 512, {}, H200, "16x128-w4c1", operands.arrays)
    assert launch.grid[2] > 1  # the CTA that arrives last adds the slices up
    done = list(execute_grid(launch))
    assert len(done) == launch.ctas
    y = done[-1].buffer("output")[: 5 * 272 * 2].view(np.float16).reshape(5, 272)
    want = operands.reference()
    assert np.linalg.norm(y - want) < 2.0**-11 * np.linalg.norm(want)


def test_traces_are_kept_by_the_identity_of_their_codes() -> None:
    options = FLUTE.check_options({})
    sample = sample_codes(FLUTE, 128, 256, options)
    assert sample is not None
    launch = _launch("16x128-w4c1", 16, 128, 256, options, sample)
    other = replace(launch, data_identity="others")
    nameless = replace(launch, data_identity="")
    assert trace_launch(launch) is trace_launch(launch)
    assert trace_launch(other) is not trace_launch(launch)
    assert trace_launch(nameless) is not trace_launch(nameless)


def test_counted_wavefronts_are_those_of_all_ctas() -> None:
    options = FLUTE.check_options({"codes": "random"})
    operands = random_operands(FLUTE, 1, 256, 256, options, seed=0)
    (launch,) = catalog.launches("flute", 1, 256, 256, options, H200, "16x128-w4c1", operands.arrays)
    apart = 0.0
    for done in execute_grid(launch):
        trace = done.trace
        loads = np.array(["LDS" in text or "LDSM" in text for text in launch.program.text])[trace.pc]
        apart += float(row_wavefronts(trace, H200)[0][loads].sum())
    assert counted_shared_wavefronts(launch, H200)["shared_load_wavefronts"] == apart
