"""The Tender schemes: borders, shifted operands, and kernels that compute the integer path bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.matmul import common
from sim.arch.load import load_gpu
from sim.errors import ConfigError
from sim.exec.execute import execute
from sim.extensions import with_extensions
from workloads.operands import Operands, random_operands
from workloads.schemes._tender import TRAILER_BYTES, Tender, pack_rows
from workloads.schemes.base import get_scheme
from workloads.schemes.tender_w4a4 import NINE, shifts_of
from workloads.tender.decomposition import Chunk, Format
from workloads.tender.integer import accumulate, accumulate_floats
from workloads.tender.layout import positions

H200 = load_gpu("h200")
M, N, K = 8, 128, 512


def _scheme(name: str) -> Tender:
    found = get_scheme(name)
    assert isinstance(found, Tender)
    return found


def _sizes(groups: int) -> tuple[int, ...]:
    """Groups of whole steps, one of them empty if there are more than steps."""
    steps = np.bincount(np.arange(K // 32) * groups // (K // 32), minlength=groups)
    return tuple((32 * steps).tolist())


def _run(name: str, tile: str, codes: Any, weights: Any, options: dict[str, Any], at: Any = None) -> Any:
    """Return what the kernel makes of codes and weights with all scales one, half [m, n]."""
    scheme = _scheme(name)
    operands = {"codes": weights.astype(np.int8), "scales": np.ones(N, np.float32)}
    if name == "tender_w4a4":
        operands["shifts"] = shifts_of(K, options)[1]
    placed = scheme.placed(codes.astype(np.int8), options)
    arrays = {**scheme.pack(operands), "activations": pack_rows(placed, np.ones(M, np.float32))}
    arrays |= {} if at is None else {"borders": at}
    (launch,) = catalog.launches(name, M, N, K, options, H200, tile, arrays)
    return execute(launch, launch.classes[0], fold=False).buffer("output").view(np.float16).reshape(M, N)


@pytest.mark.jit
@pytest.mark.parametrize("groups", [1, 4, 14, 20])
@pytest.mark.parametrize(
    ("scheme", "tile"),
    [
        ("tender_w8a8", "16x128-software_shift"),
        ("tender_w8a8", "16x128-explicit"),
        ("tender_w8a8_wgmma", "16x64-software_shift"),  # warpgroups along K
        ("tender_w8a8_wgmma", "16x64-extension"),
        ("tender_w8a8_wgmma", "128x64-explicit"),  # of those, each would round totals of its own
        ("tender_w8a8_wgmma", "128x128-software_shift"),
        ("tender_w8a8_wgmma", "128x128-extension"),
        ("tender_w8a8_wgmma", "128x128-explicit"),
    ],
)
def test_w8a8_kernels_equal_the_integer_path(
    groups: int, scheme: str, tile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full-range codes: with many groups INT32 wraps, in the kernel as in the reference; FP32 rounds in order."""
    monkeypatch.setattr(common, "choose_splits", lambda *_: 1)
    random = np.random.default_rng(groups)
    n, variant = catalog.tiles(scheme)[tile].outputs, tile.partition("-")[2]
    codes, weights = random.integers(-128, 128, (M, K)), random.integers(-127, 128, (n, K))
    sizes = _sizes(groups)
    at = (np.cumsum(sizes)[:-1] // 32).astype(np.uint32)
    chunk = Chunk(np.zeros(K), np.repeat(np.arange(groups), sizes), 1.0)
    if variant == "explicit":
        want = accumulate_floats(codes, weights, chunk, Format(groups=groups))
    else:
        want = accumulate(codes, weights, chunk, Format(groups=groups)).sums.astype(np.float32)
    scale = 2.0**-20  # a power of two, so that halves hold the leading bits
    options = {"variant": variant, "groups": 8, "profile": "even"}
    got = _run_scaled(scheme, codes, weights, options, tile, at, scale)
    with np.errstate(over="ignore"):
        assert np.array_equal(got, (want * np.float32(scale)).astype(np.float16))


def _run_scaled(
    scheme: str, codes: Any, weights: Any, options: dict[str, Any], tile: str, at: Any, scale: float
) -> Any:
    n = len(weights)
    arrays = {
        "weights": weights.astype(np.int8),
        "scales": np.full(n, scale, np.float32),
        "activations": pack_rows(codes.astype(np.int8), np.ones(M, np.float32)),
        "borders": at,
    }
    (launch,) = catalog.launches(scheme, M, n, K, options, H200, tile, arrays)
    launch = replace(launch, program=with_extensions(launch.program))
    return execute(launch, launch.classes[0], fold=False).buffer("output").view(np.float16).reshape(M, n)


@pytest.mark.jit
@pytest.mark.parametrize("variant", ["software_shift", "operand_shift", "explicit"])
def test_small_sums_of_int4_codes_are_exact(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums below 2^11 are halves as they stand: every bit of them is compared."""
    monkeypatch.setattr(common, "choose_splits", lambda *_: 1)
    random = np.random.default_rng(3)
    options = {"variant": variant, "groups": 8, "profile": "even"}
    worth = 2 ** positions((64,) * 8)
    codes = random.integers(-1, 2, (M, K)) * (random.random((M, K)) < 0.02)
    weights = random.integers(-7, 8, (N, K))
    exact = (codes * worth) @ weights.T
    held = np.abs(exact) < 2**11
    assert held.mean() > 0.7
    got = _run("tender_w4a4", f"16x128-{variant}", codes, weights, options)
    assert np.array_equal(got[held], exact[held].astype(np.float16))


@pytest.mark.parametrize(("groups", "crossings"), [(8, 0), (14, 1), (20, 2)])
def test_nine_positions_need_no_border(groups: int, crossings: int) -> None:
    options = {"variant": "operand_shift", "groups": groups, "profile": "even"}
    at = _scheme("tender_w4a4").borders(4096, options)
    assert len(at) == NINE * crossings == NINE * len(set(at.tolist()))


def test_shifted_codes_fit_their_bytes() -> None:
    options = {"variant": "operand_shift", "groups": 20, "profile": "even"}
    activations, weights = shifts_of(4096, options)
    assert (activations + weights == np.repeat(np.arange(20)[::-1], np.diff(_even_edges())) % NINE).all()
    assert -8 << int(activations.max()) >= -128 and 7 << int(weights.max()) <= 127


def _even_edges() -> Any:
    return np.minimum(4096, -(-np.round(4096 * np.arange(21) / 20).astype(int) // 32) * 32)


@pytest.mark.parametrize("variant", ["software_shift", "ideal"])
def test_a_row_carries_its_codes_and_its_factor(variant: str) -> None:
    operands: Operands = random_operands(_scheme("tender_w8a8"), 300, 8, 64, {"variant": variant})
    rows = operands.arrays["activations"]
    assert rows.shape == (300, 64 + TRAILER_BYTES)
    factors = rows[:, 64:68].copy().view(np.float32).ravel()
    assert len(set(factors[:256])) == 1 and factors[256] != factors[0], "256 rows share their scales"


def test_too_many_borders_are_one_line() -> None:
    arrays = {"borders": np.zeros(24, np.uint32)}
    with pytest.raises(ConfigError, match="allowed: fewer than 24, ascending"):
        catalog.launches("tender_w8a8", M, N, K, {}, H200, "16x128-software_shift", arrays)


def test_sums_of_int4_groups_must_fit_fp32() -> None:
    with pytest.raises(ConfigError, match="K must be at most 65536"):
        _scheme("tender_w4a4").check_shape(1, 64, 2**17)
