"""Hypothetical hardware, a module each: found by name, applied to programs and machines before anything runs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np

from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, UnsupportedInstructionError, unknown
from sim.extensions._interface import NAMES, Extension, MarkedExtension
from sim.isa import opcodes as o
from sim.isa.launch import KernelLaunch
from sim.isa.opcodes import Op
from sim.isa.program import Program

__all__ = [
    "Extension",
    "MarkedExtension",
    "available_extensions",
    "extended",
    "get_extension",
    "require_no_marks",
    "with_extensions",
]


@cache
def available_extensions() -> tuple[str, ...]:
    """Name the hypothetical hardware there is: the modules of this folder, private ones apart."""
    return tuple(
        sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    )


def get_extension(text: str) -> Extension:
    """Import the extension that ``text`` names: ``NAME``, or ``NAME:field=value:field=value`` with other numbers."""
    name, *settings = text.split(":")
    if name not in available_extensions():
        raise unknown("extension", name, available_extensions())
    extension = importlib.import_module(f"sim.extensions.{name}").EXTENSION
    if not isinstance(extension, Extension):
        raise TypeError(f"sim/extensions/{name}.py: EXTENSION must be an Extension")
    return extension.with_settings(dict(each.partition("=")[::2] for each in settings))


def extended(
    launches: Sequence[KernelLaunch], gpu: GpuSpec, names: Sequence[str]
) -> tuple[tuple[KernelLaunch, ...], GpuSpec]:
    """Return launches and machine as they are on ``gpu`` with the extensions ``names``."""
    machine = gpu
    for extension in _in_order(names):
        machine = extension.machine(machine)
    return tuple(
        replace(each, program=with_extensions(each.program, tuple(names))) for each in launches
    ), machine


@lru_cache(maxsize=256)
def with_extensions(program: Program, names: tuple[str, ...] | None = None) -> Program:
    """Return the program with the meaning that extensions give to its marks; by default all that there are."""
    for extension in _in_order(available_extensions() if names is None else names):
        program = extension.give_meaning(program)
    return program


def _in_order(names: Sequence[str]) -> list[Extension]:
    """Return the extensions as they are applied: their order does not depend on how they were asked for."""
    return sorted(map(get_extension, names), key=lambda each: each.order)


def require_no_marks(program: Program) -> None:
    """Raise for a program with marks, or what they are for, that no extension of the machine has given a meaning."""
    marks = np.flatnonzero(program.opcode == int(Op.MARKER))
    if not len(marks):
        return _require_no_sparse(program)
    mask = int(program.operands[marks[0], 0, 1]) & NAMES
    extensions = map(get_extension, available_extensions())
    known = {1 << each.mark: each.name for each in extensions if isinstance(each, MarkedExtension)}
    if mask in known:
        wanted = f"hardware that this machine lacks: --extension {known[mask]}"
    else:
        wanted = (
            f"unknown hardware; known are {', '.join(f'{bits:#x} = {name}' for bits, name in known.items())}"
        )
    raise ConfigError("", f"{program.name}: {program.text[marks[0]]!r} asks for {wanted}")


def _require_no_sparse(program: Program) -> None:
    sparse = (program.opcode == int(Op.IMMA_SPARSE)) & (program.modifiers & o.BLOCK_SCALED == 0)
    for pc in np.flatnonzero(sparse)[:1]:
        raise UnsupportedInstructionError(
            f"{program.name}+{16 * int(pc):#06x}: {program.text[pc]!r}: sparse mma are not simulated"
        )
