"""LUT-GEMM's tables, executed: which lookups have bank conflicts, and that they follow the codes."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.exec.execute import execute
from sim.isa.trace import WarpTrace
from sim.sm.banks import wavefronts
from workloads.operands import random_operands
from workloads.schemes.base import get_scheme

pytestmark = pytest.mark.jit

H200, SCHEME = load_gpu("h200"), get_scheme("lut_gemm")
M, N, K = 1, 1024, 256


def _look_ups(tile: str) -> tuple[WarpTrace, float]:
    """Execute a CTA with data; return its trace and the mean wavefronts of its look-ups (loads of 2 or 4 bytes)."""
    options = {**catalog.tiles("lut_gemm")[tile].options, "codes": "random"}
    arrays = random_operands(SCHEME, M, N, K, options).arrays
    (launch,) = catalog.launches("lut_gemm", M, N, K, options, H200, tile, arrays)
    trace = execute(launch, launch.classes[0]).trace
    wanted = "LDS.U16" if "private" not in tile else "LDS R"
    rows = np.array([wanted in text for text in launch.program.text])[trace.pc] & (trace.pattern >= 0)
    cost = wavefronts(trace.patterns, H200.sm.shared_memory)[trace.pattern[rows]]
    return trace, float(np.average(cost, weights=trace.repeats()[rows]))


@pytest.mark.parametrize("tile", ["1x128-private", "1x1024-shared-mu4", "1x1024-shared-mu6"])
def test_a_word_per_bank_never_conflicts(tile: str) -> None:
    assert _look_ups(tile)[1] == 1.0


def _expected(*index_bits: int) -> float:
    """Draw indices: the mean over look-ups of the most words that share a bank, two halves to a word."""
    words = (
        np.random.default_rng(0).integers(
            0, 2 ** np.array(index_bits)[:, None, None], (len(index_bits), 500, 32)
        )
        // 2
    )
    present = np.zeros((len(index_bits), 500, 128), bool)
    np.put_along_axis(present, words, True, axis=2)
    return float(present.reshape(len(index_bits), 500, 4, 32).sum(axis=2).max(axis=2).mean())


@pytest.mark.parametrize(
    ("tile", "index_bits"),
    [
        ("1x1024-shared-mu7", (7, 7, 7, 7, 4)),
        ("1x1024-shared-mu8", (8, 8, 8, 8)),
        ("1x1024-signed-mu8", (7, 7, 7, 7)),
    ],
)
def test_random_codes_meet_as_often_as_random_indices(tile: str, index_bits: tuple[int, ...]) -> None:
    assert _look_ups(tile)[1] == pytest.approx(_expected(*index_bits), rel=0.06)
