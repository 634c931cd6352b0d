"""Bundled kernels: the executor equals its twin, folding keeps all totals, results do not hang on stale registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.exec import execute as executor
from sim.exec import state
from sim.exec.execute import execute
from sim.exec.reference import execute_reference
from sim.isa.launch import KernelLaunch
from sim.isa.trace import WarpTrace
from tests.unit.exec.test_folding import totals
from workloads.schemes.base import get_scheme

pytestmark = pytest.mark.jit
COLUMNS = (
    "offset", "pc", "lanes", "lines", "sectors", "misses", "taken", "buffer", "mbarrier", "phase", "arrivals", "tx",
)  # fmt: skip


def launch_of(scheme: str, tile: str, m: int, n: int, k: int, data: bool) -> KernelLaunch:
    """Return a bundled kernel's launch, with random operands or without any."""
    chosen = get_scheme(scheme)
    options = chosen.check_options({})
    operands: Any = None
    if data:
        rng = np.random.default_rng(0)
        weights = rng.standard_normal((n, k)).astype(np.float32)
        operands = {
            **chosen.pack(chosen.quantize(weights, options)),
            "activations": rng.standard_normal((m, k)).astype(np.float16),
        }
    return catalog.launches(scheme, m, n, k, options, load_gpu("h200"), tile, operands)[0]


def assert_same_trace(a: WarpTrace, b: WarpTrace) -> None:
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(a, column), getattr(b, column), column)
    np.testing.assert_array_equal(a.pattern >= 0, b.pattern >= 0)
    np.testing.assert_array_equal(
        a.patterns[a.pattern[a.pattern >= 0]], b.patterns[b.pattern[b.pattern >= 0]]
    )


@pytest.mark.parametrize(("scheme", "tile"), [("fp16", "16x64"), ("w4a16", "16x64"), ("fp16_wgmma", "16x64")])
def test_the_twin_agrees_on_every_access_and_every_byte(scheme: str, tile: str) -> None:
    launch = launch_of(scheme, tile, 13, 128, 512, data=True)
    ours, twin = execute(launch, launch.classes[0], fold=False), execute_reference(launch, launch.classes[0])
    assert_same_trace(ours.trace, twin.trace)
    np.testing.assert_array_equal(ours.memory.flat, twin.memory.flat)
    np.testing.assert_array_equal(ours.memory.shared, twin.memory.shared)


@pytest.mark.parametrize(
    ("scheme", "tile"),
    [
        ("fp16", "8x64"),
        ("fp16", "128x128"),
        ("w4a16", "16x128"),
        ("w4a16", "64x256"),
        ("fp16_wgmma", "128x64"),
    ],
)
@pytest.mark.parametrize("k", [64 * 40, 64 * 98, 64 * 256])
def test_folding_keeps_all_totals(scheme: str, tile: str, k: int) -> None:
    launch = launch_of(scheme, tile, 16, 256, k, data=False)
    for cta_class in launch.classes:
        folded, full = execute(launch, cta_class, fold=True), execute(launch, cta_class, fold=False)
        assert totals(folded.trace) == totals(full.trace)


@pytest.mark.parametrize("scheme", ["fp16", "w4a16", "fp16_wgmma"])
def test_the_cost_of_a_kernel_is_bounded(scheme: str) -> None:
    tile = {"fp16": "128x128", "w4a16": "64x256", "fp16_wgmma": "128x128"}[scheme]
    rows = []
    for k in (64 * 480, 64 * 4800):
        launch = launch_of(scheme, tile, 128, 4096 * 4, k, data=False)
        rows.append(
            sum(len(execute(launch, cta_class).trace.pc) for cta_class in launch.classes)
            / len(launch.classes)
        )
    assert rows[1] < 1.2 * rows[0]


@pytest.mark.parametrize(("scheme", "tile"), [("fp16", "16x64"), ("w4a16", "32x64"), ("fp16_wgmma", "32x64")])
def test_registers_that_nobody_wrote_do_not_matter(
    scheme: str, tile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = launch_of(scheme, tile, 16, 128, 1024, data=True)
    clean = execute(launch, launch.classes[0], fold=False)
    build = state.build_registers

    def littered(*arguments: Any) -> state.Registers:
        registers = build(*arguments)
        registers.general[:, :255] = 0xDEADBEEF
        registers.uniform[:, :63] = 0xDEADBEEF
        registers.predicates[:, :7] = 1
        registers.uniform_predicates[:, :7] = 1
        return registers

    monkeypatch.setattr(executor.state, "build_registers", littered)
    other = execute(launch, launch.classes[0], fold=False)
    assert_same_trace(clean.trace, other.trace)
    np.testing.assert_array_equal(clean.memory.flat, other.memory.flat)
