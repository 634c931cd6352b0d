"""What a sweep needs of the rest: layers of models, the check of a point, its key, its simulation.

``evaluate`` is a module's function, so that worker processes can import it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import gpu_kernels
import sim
import workloads
from gpu_kernels.catalog import matches, tiles
from gpu_kernels.programs.store import load_program
from sim.arch.hash import config_hash
from sim.commands.selection import (
    Selection,
    check_extensions,
    check_tile,
    described_launches,
    machine,
    shared_memory,
    workload,
)
from sim.dse.expand import AxisError, Layer, Point
from sim.dse.spec import Scalar
from sim.dse.store import point_key
from sim.errors import TcsimError
from sim.extensions import require_no_marks, with_extensions
from sim.results import RunResult
from workloads.llm import load_model
from workloads.schemes.base import get_scheme
from workloads.suite import load_suite


def layers_of(kind: str, name: str) -> Sequence[Layer]:
    """Return the matmuls of a model (M open) or of a suite."""
    if kind == "model":
        model = load_model(name)
        return [Layer(model.name, layer.name, layer.n, layer.k) for layer in model.linear_layers()]
    return [
        Layer(matmul.model, matmul.layer or matmul.name, matmul.n, matmul.k, matmul.m)
        for matmul in load_suite(name)
    ]


def check(point: Point) -> Point:
    """Refuse what cannot be simulated, naming the axis; return the point with every option spelled out."""
    _check_machine(point.arch, point.overrides)
    _on_axis("extensions", lambda: check_extensions(point.extensions))
    options = _checked_options(point.scheme, point.options)
    _on_axis("tile", lambda: check_tile(point.scheme, point.tile))
    target = machine(point.arch, point.overrides).program_target
    _on_axis("extensions", lambda: _check_marks(point.scheme, options, point.tile, target, point.extensions))
    _on_axis("work", lambda: workload(point.scheme, point.m, point.n, point.k, dict(options)))
    return Point(
        point.arch,
        point.overrides,
        point.extensions,
        point.scheme,
        options,
        point.tile,
        point.m,
        point.n,
        point.k,
    )


def evaluate(point: Point) -> RunResult:
    """Simulate one point."""
    from sim.simulate import simulate

    gpu, options = machine(point.arch, point.overrides), _plain(point)
    shape, memory = (point.m, point.n, point.k), shared_memory(gpu, point.extensions)
    selection = Selection(
        workload(point.scheme, *shape, options),
        described_launches(point.scheme, *shape, options, gpu, point.tile, None, memory),
        gpu,
        point.extensions,
    )
    result = simulate(selection.workload, selection.launches, gpu, point.extensions)
    return selection.named(result, point.overrides)


def _plain(point: Point) -> dict[str, Any]:
    return dict(point.options)


def key_of(point: Point) -> str:
    """Return the hash of all that determines a point's result: code, programs, machine, the point itself."""
    return point_key(point, code_identity(), _machine_hash(point.arch, point.overrides))


@lru_cache(maxsize=4096)
def _machine_hash(arch: str, overrides: tuple[str, ...]) -> str:
    gpu = machine(arch, overrides)
    return f"{gpu.name} {config_hash(gpu)}"


@cache
def code_identity() -> str:
    """Return the hash of the code, of the kernels and of their programs."""
    digest = hashlib.sha256()
    for package in (sim, workloads, gpu_kernels):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".yaml":
                digest.update(
                    f"{package.__name__}/{path.relative_to(root)}\0{path.stat().st_size}\0".encode()
                )
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _on_axis(axis: str, step: Callable[[], object]) -> None:
    try:
        step()
    except TcsimError as error:
        raise AxisError(axis, str(error)) from None


@lru_cache(maxsize=4096)
def _check_machine(arch: str, overrides: tuple[str, ...]) -> None:
    """Load the machine; of several overrides, blame the first that does not go."""
    _on_axis("arch", lambda: machine(arch))
    try:
        machine(arch, overrides)
    except TcsimError as error:
        raise AxisError(f"set.{_first_wrong(arch, overrides)}", str(error)) from None


def _first_wrong(arch: str, overrides: tuple[str, ...]) -> str:
    for end in range(1, len(overrides)):
        try:
            machine(arch, overrides[:end])
        except TcsimError:
            return overrides[end - 1].partition("=")[0]
    return overrides[-1].partition("=")[0]


@lru_cache(maxsize=4096)
def _check_marks(
    scheme: str,
    options: tuple[tuple[str, Scalar], ...],
    tile: str | None,
    target: str,
    extensions: tuple[str, ...],
) -> None:
    """Refuse a kernel that asks for hardware that neither the machine nor the extensions have."""
    for name, each in tiles(scheme).items():  # those of one choice of options ask for the same
        if tile in (None, name) and matches(scheme, each, dict(options)):
            require_no_marks(with_extensions(load_program(scheme, name, target), extensions))
            return


@lru_cache(maxsize=4096)
def _checked_options(scheme: str, options: tuple[tuple[str, Scalar], ...]) -> tuple[tuple[str, Scalar], ...]:
    try:
        given: dict[str, Any] = dict(options)
        return tuple(get_scheme(scheme).check_options(given).items())
    except TcsimError as error:
        raise AxisError("scheme", str(error)) from None
