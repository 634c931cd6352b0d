"""Every tile of every kernel computes its scheme's matmul: all CTAs of a grid, executed one after another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from gpu_kernels import catalog
from gpu_kernels.matmul import common
from gpu_kernels.matmul.tiling import BLOCK_K, Tile
from gpu_kernels.programs.build import TARGETS
from sim.arch.load import load_gpu
from sim.exec.execute import execute
from sim.extensions import with_extensions
from sim.isa.launch import Buffer, CtaClass, KernelLaunch
from workloads.operands import random_operands
from workloads.schemes.base import OptionValue, get_scheme

pytestmark = pytest.mark.jit

# Half results: 2^-11 of each; weights rounded after scaling add as much again.
TOLERANCE = 2.0**-11
TOLERANCES = dict.fromkeys(("lut_gemm", "dequant_optq"), 2 * TOLERANCE)  # they add some halves as halves
TILES = [(scheme, name) for scheme in catalog.available() for name in catalog.tiles(scheme)]
SPLIT = [(scheme, name) for scheme, name in TILES if catalog.tiles(scheme)[name].splits_k]
POISON = 0xFF  # all ones are NaN as half and as float: nobody may use what nobody wrote


def run_grid(launch: KernelLaunch, last_first: bool = False) -> dict[str, npt.NDArray[np.uint8]]:
    """Execute every CTA on one memory image, in order or the last one first; return the buffers' bytes."""
    memory = {b.name: _initial(b) for b in launch.buffers}
    gx, gy, gz = launch.grid
    ctas = [(x, y, z) for z in range(gz) for y in range(gy) for x in range(gx)]
    for cta in [ctas[-1], *ctas[:-1]] if last_first else ctas:
        buffers = tuple(replace(b, data=memory[b.name]) for b in launch.buffers)
        done = execute(replace(launch, buffers=buffers), CtaClass(cta, 1), fold=False)
        memory = {name: done.buffer(name).copy() for name in memory}
    return memory


def _initial(buffer: Buffer) -> npt.NDArray[np.uint8]:
    if buffer.data is not None:
        return np.ascontiguousarray(buffer.data).reshape(-1).view(np.uint8)
    return np.full(buffer.nbytes, 0 if buffer.zeroed else POISON, np.uint8)


def multiply(
    scheme: str,
    tile: str,
    m: int,
    n: int,
    k: int,
    splits: int,
    monkeypatch: pytest.MonkeyPatch,
    group: int = -1,
    last_first: bool = False,
    arch: str = "h200",
) -> npt.NDArray[np.float16]:
    """Run one matmul, compare it with the scheme's reference, return it."""
    monkeypatch.setattr(common, "choose_splits", lambda *_: splits)
    chosen = get_scheme(scheme)
    options: dict[str, OptionValue] = dict(catalog.tiles(scheme)[tile].options)
    if "group_size" in chosen.check_options():
        options["group_size"] = group
    operands = random_operands(chosen, m, n, k, options, seed=m * 1000 + k)
    (launch,) = catalog.launches(scheme, m, n, k, options, load_gpu(arch), tile, operands.arrays)
    launch = replace(launch, program=with_extensions(launch.program))
    memory = run_grid(launch, last_first)
    assert "counters" not in memory or not memory["counters"].any(), (
        "the last arriver resets the counters for the next launch"
    )
    y = memory["output"].view(np.float16).reshape(m, n)
    want = operands.reference()
    error = np.linalg.norm(y.astype(np.float64) - want) / np.linalg.norm(want)
    assert error < TOLERANCES.get(scheme, TOLERANCE), f"relative error {error:.2e}"
    return y


def _sizes(scheme: str, tile: str) -> tuple[Tile, int, int]:
    chosen = catalog.tiles(scheme)[tile]
    return chosen, catalog.module(scheme).MULTIPLE_N, catalog.module(scheme).MULTIPLE_K


@pytest.mark.parametrize(("scheme", "tile"), TILES)
def test_k_shorter_than_the_pipeline(scheme: str, tile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, _, multiple_k = _sizes(scheme, tile)
    multiply(scheme, tile, chosen.tokens, chosen.outputs, multiple_k, 1, monkeypatch)


@pytest.mark.parametrize(("scheme", "tile"), TILES)
def test_edges_in_every_dimension(scheme: str, tile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, multiple_n, multiple_k = _sizes(scheme, tile)
    k = BLOCK_K * chosen.blocks * (chosen.stages + 2) + multiple_k
    multiply(scheme, tile, chosen.tokens + 1, chosen.outputs + multiple_n, k, 1, monkeypatch)


@pytest.mark.parametrize(("scheme", "tile"), SPLIT)
def test_splits_of_unequal_length_do_not_depend_on_the_order(
    scheme: str, tile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, multiple_n, _ = _sizes(scheme, tile)
    m, n, k = max(1, chosen.tokens - 3), chosen.outputs - multiple_n, BLOCK_K * chosen.blocks * 5
    excluded = chosen.excluded.get("group_size", ())
    group = (
        next(size for size in (BLOCK_K, 2 * BLOCK_K) if size not in excluded)
        if chosen.options.get("table", "private") == "private"
        else -1
    )  # shared tables: 128 columns or more
    forward = multiply(scheme, tile, m, n, k, 3, monkeypatch, group)
    backward = multiply(scheme, tile, m, n, k, 3, monkeypatch, group, last_first=True)
    assert np.array_equal(forward, backward)


@pytest.mark.parametrize("scheme", sorted({scheme for scheme, _ in SPLIT}))
def test_more_slices_than_one_batch_of_partial_sums(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tile, chosen = next(iter(catalog.tiles(scheme).items()))
    multiply(scheme, tile, 1, chosen.outputs, BLOCK_K * chosen.blocks * 9, 9, monkeypatch)


OLDER = [
    (scheme, next(iter(catalog.tiles(scheme))))
    for scheme in catalog.available()
    if "sm_80" in getattr(catalog.module(scheme), "TARGETS", TARGETS)
]


@pytest.mark.parametrize(("scheme", "tile"), OLDER)
def test_binaries_of_older_gpus_compute_the_same(
    scheme: str, tile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, multiple_n, _ = _sizes(scheme, tile)
    m, n, k = chosen.tokens + 1, chosen.outputs + multiple_n, BLOCK_K * chosen.blocks * 3
    ours = multiply(scheme, tile, m, n, k, 2, monkeypatch, arch="a100-sxm-80gb")
    assert np.array_equal(ours, multiply(scheme, tile, m, n, k, 2, monkeypatch))


@pytest.mark.parametrize("group", [64, 128, 256, -1])
def test_w4a16_groups(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for tile in ("8x64", "16x192", "32x64"):
        multiply("w4a16", tile, 3, 64, 768, 2, monkeypatch, group=group)


STREAMED = [name for name in catalog.tiles("flute") if name.endswith("-stream")]


@pytest.mark.parametrize("tile", STREAMED)
@pytest.mark.parametrize(("m", "group", "spans", "odd"), [(5, 128, 27, 0), (12, -1, 27, 1), (16, 256, 34, 0)])
def test_a_warps_blocks_go_round_its_ring(
    tile: str, m: int, group: int, spans: int, odd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every warp has more blocks than stages, some one span more than others; with and without tokens 8..15."""
    chosen = catalog.tiles("flute")[tile]
    k = BLOCK_K * (chosen.blocks * spans + odd)
    assert spans * chosen.blocks // chosen.warps_k > chosen.stages
    multiply("flute", tile, m, chosen.outputs - 16, k, 1, monkeypatch, group)


def test_grouped_rasterization_reaches_every_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply("fp16", "8x64", 8 * 3, 64 * 4, 64, 1, monkeypatch)
