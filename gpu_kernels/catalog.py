"""Every matmul kernel there is: found by folder, ``gpu_kernels/matmul/<scheme>/launch.py``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

from gpu_kernels.matmul.common import Arrays, Options
from gpu_kernels.matmul.tiling import Tile
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, unknown
from sim.isa.launch import KernelLaunch
from sim.isa.program import Program
from workloads.codes import Codes
from workloads.schemes.base import get_scheme

FOLDER = Path(__file__).parent / "matmul"


@cache
def available() -> tuple[str, ...]:
    """Name the schemes that have a kernel."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob("*/launch.py")))


def module(scheme: str) -> ModuleType:
    """Import the launch description of ``scheme``."""
    if scheme not in available():
        raise unknown("scheme with a kernel", scheme, available())
    return importlib.import_module(f"gpu_kernels.matmul.{scheme}.launch")


def tiles(scheme: str) -> Mapping[str, Tile]:
    """Return the tile configurations of ``scheme`` by name."""
    found: Mapping[str, Tile] = module(scheme).TILES
    return found


def launches(
    scheme: str,
    m: int,
    n: int,
    k: int,
    options: Options,
    gpu: GpuSpec,
    tile: str | None = None,
    operands: Arrays | None = None,
    codes: Codes | None = None,
) -> tuple[KernelLaunch, ...]:
    """Return one launch per tile worth trying, or the one of ``tile``; ``codes`` are laid behind their buffers.

    Tiles that cannot run on ``gpu`` or were compiled for other options are passed over, unless ``tile`` asks for
    one: that is an error.
    """
    launch = module(scheme).launch
    names = _names(scheme, m, n, options, gpu) if tile is None else (_checked(scheme, tile, options),)
    found = (launch(m, n, k, options, name, gpu, operands) for name in names)
    return tuple(with_source(each if codes is None else with_codes(each, codes)) for each in found)


def with_codes(launch: KernelLaunch, codes: Codes) -> KernelLaunch:
    """Return the launch with codes in its buffers, where they decide the addresses."""
    buffers = tuple(replace(each, data=codes.arrays.get(each.name, each.data)) for each in launch.buffers)
    return replace(launch, buffers=buffers, data_identity=codes.identity)


def matches(scheme: str, tile: Tile, options: Options) -> bool:
    """Tell whether a tile was compiled for these options; those not given have their defaults."""
    complete = {**get_scheme(scheme).check_options(), **options}
    return all(complete[name] == value for name, value in tile.options.items()) and not any(
        complete[name] in values for name, values in tile.excluded.items()
    )


def _checked(scheme: str, tile: str, options: Options) -> str:
    """Refuse a tile that was compiled for other options."""
    chosen = tiles(scheme).get(tile)
    if chosen is not None and not matches(scheme, chosen, {**chosen.options, **options}):
        wanted = ", ".join(
            [f"{name}={value}" for name, value in chosen.options.items()]
            + [f"{name} other than {value}" for name, values in chosen.excluded.items() for value in values]
        )
        got = ", ".join(f"{name}={options.get(name)}" for name in (*chosen.options, *chosen.excluded))
        raise ConfigError("", f"tile {tile} of {scheme}: got {got}, allowed: {wanted}")
    return tile


def _names(scheme: str, m: int, n: int, options: Options, gpu: GpuSpec) -> tuple[str, ...]:
    """Name the tiles worth trying; it is an error if ``gpu`` can run none."""
    limit = gpu.sm.shared_memory.cta_limit_bytes
    usable = {
        name: each
        for name, each in tiles(scheme).items()
        if matches(scheme, each, options) and gpu.program_target in (each.targets or (gpu.program_target,))
    }
    fitting = {name: each for name, each in usable.items() if each.shared_bytes <= limit}
    if not usable:
        raise ConfigError("", f"no tile of {scheme} was compiled for these options")
    if not fitting:
        least = min(each.shared_bytes for each in usable.values())
        raise ConfigError(
            "",
            f"no tile of {scheme} fits {gpu.name}: "
            f"the least needs {least} bytes of shared memory, allowed: {limit}",
        )
    return worth_trying(fitting, m, n)


def worth_trying(candidates: Mapping[str, Tile], m: int, n: int) -> tuple[str, ...]:
    """Leave out tiles that cannot win: much taller than M, much wider than N, or far too low for M.

    A tile with a quarter of the tokens of another reads the weights four times as often.
    """
    by_tokens = sorted({tile.tokens for tile in candidates.values()})
    enough = next((tokens for tokens in by_tokens if tokens >= m), by_tokens[-1])
    kept = {
        name: tile
        for name, tile in candidates.items()
        if enough // 2 <= tile.tokens and (tile.fewest_tokens or tile.tokens) <= enough
    }
    narrow = min(tile.outputs for tile in kept.values())
    return tuple(name for name, tile in kept.items() if tile.outputs <= max(narrow, 2 * n))


def with_source(launch: KernelLaunch) -> KernelLaunch:
    """Return the launch with the lines of its CUDA source, for reports."""
    return replace(launch, source_lines=source_lines(launch.program))


def source_lines(program: Program) -> tuple[str, ...]:
    """Return the lines of the CUDA source that ``program.source_line`` counts in; none if it is not here."""
    for path in (FOLDER.parent / program.source_name, Path(program.source_name)):
        if program.source_name and path.is_file():
            return tuple(path.read_text(encoding="utf-8", errors="replace").splitlines())
    return ()
