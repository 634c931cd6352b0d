"""The executor's results equal an H200's: small kernels of every kind, run once on the GPU.

``h200/probe.cu`` was compiled by NVRTC 13.5.37 for sm_90a; its outputs for fixed inputs are in ``h200/outputs.npz``.
Integer, half, FP32, conversion, division, vote, shuffle, atomic and matrix instructions are exact; the hardware's
special functions are approximations within a few units in the last place of ours.
"""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.exec.execute import execute
from sim.isa.decode import Listing, decode_program
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch

FOLDER = Path(__file__).parent / "h200"
APPROXIMATE = {
    "k_exp": 2,
    "k_tanh": 2,
    "k_rsqrt": 2,
    "k_mufu": 128,
}  # units in the last place; tanh.approx is coarse

pytestmark = pytest.mark.jit


@cache
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lzma.decompress((FOLDER / "listings.json.xz").read_bytes()))
    return found


@cache
def cubin() -> bytes:
    return lzma.decompress((FOLDER / "probe.cubin.xz").read_bytes())


def launch_of(kernel: str) -> KernelLaunch:
    size = record()["kernels"][kernel]
    inputs = np.load(FOLDER / "inputs.npz")
    arrays = {name: inputs[kernel + name] if kernel + name in inputs else inputs[name] for name in "abc"}
    buffers = tuple(Buffer(name, array.nbytes, "activations", array) for name, array in arrays.items())
    output = Buffer("o", 4 * size["words"], "output", np.zeros(size["words"], np.uint32))
    grid = (-(-size["threads"] // size["block"]), 1, 1)
    program = decode_program(cubin(), Listing.from_json(record()["listings"][kernel]))
    arguments = (*map(BufferRef, "abco"), np.int32(size["threads"]))
    return KernelLaunch(program, grid, (size["block"], 1, 1), 0, arguments, (*buffers, output), ())


def results_of(kernel: str) -> np.ndarray:
    """Run every CTA on its own and join their parts of the output."""
    launch = launch_of(kernel)
    parts = [
        execute(launch, CtaClass((x, 0, 0), 1), fold=False).buffer("o").view(np.uint32)
        for x in range(launch.grid[0])
    ]
    share = len(parts[0]) // launch.grid[0]
    return np.concatenate([part[x * share : (x + 1) * share] for x, part in enumerate(parts)])


@pytest.mark.parametrize("kernel", sorted(record()["kernels"]))
def test_results_equal_the_hardware(kernel: str) -> None:
    theirs = np.load(FOLDER / "outputs.npz")[kernel]
    ours = results_of(kernel)[: len(theirs)]
    if kernel not in APPROXIMATE:
        np.testing.assert_array_equal(ours, theirs)
        return
    nan = (theirs & 0x7FFFFFFF) > 0x7F800000
    np.testing.assert_array_equal(ours[nan], theirs[nan])
    distance = np.abs(ours.view(np.int32).astype(np.int64) - theirs.view(np.int32))[~nan]
    assert distance.max() <= APPROXIMATE[kernel]
