"""From what a user names to what the simulator takes: machine, scheme, shape, tile, kernel file."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from gpu_kernels.catalog import launches, tiles, with_source
from sim.arch.load import load_gpu
from sim.arch.spec import GpuSpec, SharedMemory
from sim.errors import ConfigError, unknown
from sim.extensions import extended, get_extension
from sim.isa.launch import KernelLaunch
from sim.results import RunResult, Workload
from workloads.codes import SAMPLE_OUTPUTS, Codes, codes_of_file, sample_codes, whole_codes
from workloads.llm import load_model
from workloads.schemes.base import get_scheme

DEFAULT_SCHEME = "fp16"
BANKS, BANK_BYTES = 32, 4  # the kernels' layouts that have no conflicts are made for


@dataclass(frozen=True)
class Request:
    """What the options of ``simulate`` and ``trace`` say."""

    arch: str
    scheme: str | None
    m: int | None
    n: int | None
    k: int | None
    model: str | None
    layer: str | None
    options: tuple[str, ...]  # key=value
    tile: str | None
    overrides: tuple[str, ...]  # dotted.field=value
    extensions: tuple[str, ...]
    kernel: Path | None
    weights: Path | None = None


@dataclass(frozen=True)
class Selection:
    """All that one simulation takes."""

    workload: Workload
    launches: tuple[KernelLaunch, ...]
    gpu: GpuSpec
    extensions: tuple[str, ...]

    def named(self, result: RunResult, overrides: Sequence[str]) -> RunResult:
        """Return the result under the machine's name and what was changed in it."""
        changes = f" [{', '.join(overrides)}]" if overrides else ""
        return replace(result, arch=f"{self.gpu.name}{changes}")


@lru_cache(maxsize=2048)
def machine(arch: str, overrides: tuple[str, ...] = ()) -> GpuSpec:
    """Load a GPU once per process."""
    return load_gpu(arch, overrides)


def describe_extension(name: str) -> str:
    """Return the first line of an extension's docstring."""
    text = importlib.import_module(f"sim.extensions.{name}").__doc__ or ""
    return text.partition("\n")[0]


def check_extensions(names: Iterable[str]) -> None:
    """Refuse names of hardware that does not exist even hypothetically."""
    for name in names:
        get_extension(name)


def check_tile(scheme: str, tile: str | None) -> None:
    """Refuse a tile that the scheme's kernel does not have."""
    if tile is not None and tile not in tiles(scheme):
        raise unknown(f"tile of {scheme}", tile, tiles(scheme))


def workload(scheme: str, m: int, n: int, k: int, options: Mapping[str, Any]) -> Workload:
    """Describe one matmul; ``options`` are complete and checked."""
    found = get_scheme(scheme)
    found.check_shape(m, n, k, options)
    compulsory = found.compulsory_bytes(m, n, k, options)
    return Workload(scheme, m, n, k, options, found.flops(m, n, k), compulsory, found.input_type)


def select(request: Request) -> Selection:
    """Turn a request into machine, workload and kernel launches; every mistake is one line."""
    gpu = machine(request.arch, request.overrides)
    check_extensions(request.extensions)
    if request.kernel is not None:
        return _own_kernel(request, request.kernel, gpu)
    m, n, k = _shape(request)
    scheme = request.scheme or DEFAULT_SCHEME
    options = get_scheme(scheme).check_options(_pairs(request.options), "--option")
    check_tile(scheme, request.tile)
    described = workload(scheme, m, n, k, options)
    codes = None
    if request.weights is not None:
        codes = _own_codes(request.weights, scheme, n, k, options)
        drawn = {name: value for name, value in options.items() if name != "codes"}  # they were not
        described = replace(described, options={**drawn, "weights": codes.identity})
    memory = shared_memory(gpu, request.extensions)
    found = described_launches(scheme, m, n, k, options, gpu, request.tile, codes, memory)
    return Selection(described, found, gpu, request.extensions)


def described_launches(
    scheme: str,
    m: int,
    n: int,
    k: int,
    options: Mapping[str, Any],
    gpu: GpuSpec,
    tile: str | None = None,
    codes: Codes | None = None,
    memory: SharedMemory | None = None,
) -> tuple[KernelLaunch, ...]:
    """Describe launches as they are simulated: with codes where these decide the time.

    On banks other than the kernels are made for (``memory``, by default that of ``gpu``), those of all look-ups do.
    """
    described, banks = get_scheme(scheme), memory or gpu.sm.shared_memory
    found = codes or sample_codes(described, n, k, options)
    if found is None and described.code_buffers and (banks.banks < BANKS or banks.bank_bytes != BANK_BYTES):
        found = whole_codes(described, min(n, SAMPLE_OUTPUTS), k, options)
    return launches(scheme, m, n, k, options, gpu, tile, codes=found)


def shared_memory(gpu: GpuSpec, extensions: Sequence[str]) -> SharedMemory:
    """Return the shared memory of a GPU with extensions."""
    return extended((), gpu, extensions)[1].sm.shared_memory


def _own_codes(path: Path, scheme: str, n: int, k: int, options: Mapping[str, Any]) -> Codes:
    """Quantize the user's weights, which must have the matmul's size."""
    codes, size = codes_of_file(get_scheme(scheme), path, options)
    if size != (n, k):
        raise ConfigError("--weights", f"got a matrix {size[0]} x {size[1]}, allowed: N x K = {n} x {k}")
    return codes


def _shape(request: Request) -> tuple[int, int, int]:
    """Return M, N and K from the sizes or from a model's layer."""
    n, k = (request.n, request.k) if request.model is None else _layer(request)
    sizes = {"--m": request.m, "--n": n, "--k": k}
    missing = [name for name, size in sizes.items() if size is None]
    if missing:
        raise ConfigError(missing[0], "missing; allowed: --m with --n and --k, or with --model and --layer")
    return request.m or 0, n or 0, k or 0


def _layer(request: Request) -> tuple[int, int]:
    if request.n is not None or request.k is not None:
        raise ConfigError("--model", "stands beside --n or --k; allowed: one of both")
    model = load_model(str(request.model), "--model")
    layers = {layer.name: layer for layer in model.linear_layers(lm_head=True)}
    if request.layer not in layers:
        raise unknown(f"layer of {model.name}", request.layer or "", layers, "--layer")
    return layers[request.layer].n, layers[request.layer].k


def _pairs(options: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise ConfigError("--option", f"got {option!r}, allowed: name=value")
        pairs[name.strip()] = value.strip()
    return pairs


def _own_kernel(request: Request, path: Path, gpu: GpuSpec) -> Selection:
    """Select a user's kernel; sizes, if given, name the matmul it computes."""
    for name, value in (("--scheme", request.scheme), ("--tile", request.tile), ("--model", request.model)):
        if value is not None:
            raise ConfigError(name, "stands beside --kernel; allowed: one of both")
    if request.weights is not None:
        raise ConfigError("--weights", "stands beside --kernel; allowed: one of both")
    if request.options:
        raise ConfigError("--option", "stands beside --kernel; allowed: one of both")
    from gpu_kernels.custom import load_launch

    launch = with_source(load_launch(path, gpu.program_target))
    m, n, k = request.m or 0, request.n or 0, request.k or 0
    touched = sum(buffer.nbytes for buffer in launch.buffers if buffer.role != "workspace")
    name = launch.label or launch.program.name
    described = Workload(name, m, n, k, {}, 2 * m * n * k, touched)
    return Selection(described, (launch,), gpu, request.extensions)
