"""Is what a kernel computes right: against float64, every element written, the same bits each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpu_kernels.measuring.device import Device, addresses
from sim.errors import TcsimError
from sim.isa.launch import KernelLaunch

OUTPUT = "output"
TOLERANCE = 1e-3  # of the norm: rounding the result and the dequantized weights to half gives 2 to 4e-4
Half = npt.NDArray[np.float16]


class WrongResultError(TcsimError):
    """A kernel computed something else than its scheme says."""


@dataclass(frozen=True)
class Accuracy:
    """Errors against float64: of the norm, and the largest one over the largest magnitude."""

    relative_error: float
    max_error: float


def accuracy(result: Half, reference: npt.NDArray[np.float64]) -> Accuracy:
    """Compare a result with the reference of the same shape."""
    difference = result.astype(np.float64) - reference
    norm, largest = float(np.linalg.norm(reference)), float(np.abs(reference).max())
    relative = float(np.linalg.norm(difference)) / (norm or 1.0)
    return Accuracy(relative, float(np.abs(difference).max()) / (largest or 1.0))


def check(result: Half, reference: npt.NDArray[np.float64]) -> Accuracy:
    """Return the accuracy, or raise what is wrong with ``result``."""
    unwritten = int(np.isnan(result).sum())
    if unwritten:
        raise WrongResultError(f"{unwritten} of {result.size} elements are NaN or were never written")
    found = accuracy(result, reference)
    if not found.relative_error <= TOLERANCE:
        raise WrongResultError(
            f"relative error {found.relative_error:.3g} against float64, allowed: {TOLERANCE}"
        )
    return found


def verify(
    device: Device, launch: KernelLaunch, arrays: dict[str, Any], reference: npt.NDArray[np.float64]
) -> tuple[Accuracy, Half]:
    """Run a launch twice on poisoned outputs; return its accuracy and its result.

    The second run sees the counters as the first left them, which is what a graph's replays do.
    """
    results = [_result_of_a_run(device, launch, arrays, reference.shape) for _ in range(2)]
    found = check(results[0], reference)
    require_same(results[0], results[1], "a second launch")
    return found, results[0]


def require_same(first: Half, second: Half, what: str) -> None:
    """Raise unless both results have the same bits."""
    differing = int((first.view(np.uint16) != second.view(np.uint16)).sum())
    if differing:
        raise WrongResultError(f"{what} changed {differing} of {first.size} elements")


def read_output(arrays: dict[str, Any], shape: tuple[int, ...]) -> Half:
    """Copy the output to the host."""
    host: Half = arrays[OUTPUT].get().view(np.float16).reshape(shape)
    return host


def _result_of_a_run(
    device: Device, launch: KernelLaunch, arrays: dict[str, Any], shape: tuple[int, ...]
) -> Half:
    device.poison(arrays[OUTPUT])
    device.run(launch, addresses(arrays))
    return read_output(arrays, shape)
