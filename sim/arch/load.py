"""YAML -> GpuSpec, in one place: bundled GPUs by name, files by path, ``extends`` one level, overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import arch_configs
from sim.arch.checks import findings
from sim.arch.leaves import EXTENDS, PLAIN, Leaf, Leaves, nested, number_or_curve, read_leaves
from sim.arch.spec import GpuSpec
from sim.config import Document, KeyPath, dotted, load_yaml, parse_yaml, shown, validate_data
from sim.errors import ConfigError, unknown

SUFFIXES = (".yaml", ".yml")
USER = "set by the user"
OPTION = "--set"


@dataclass(frozen=True)
class GpuFile:
    """One GPU's file with what it extends folded in."""

    document: Document
    text: dict[str, object]  # name, title, ...
    leaves: Leaves
    extends: str | None


def gpu_directory() -> Path:
    """Return the folder of the bundled GPU files."""
    return arch_configs.DIRECTORY / "gpus"


def available() -> tuple[str, ...]:
    """Return the names of the bundled GPUs, sorted."""
    return tuple(sorted(path.stem for path in gpu_directory().glob("*.yaml")))


def load_gpu(name_or_path: str, overrides: Sequence[str] = ()) -> GpuSpec:
    """Return a GPU by its bundled name or its file, with ``path=value`` overrides applied in order."""
    file = _read(_resolve(name_or_path, None, ""))
    leaves = {**file.leaves}
    for override in overrides:
        _override(leaves, override)
    return _spec(file, leaves)


def overridable(gpu: GpuSpec) -> tuple[str, ...]:
    """Return the dotted paths that ``--set`` and sweep axes may name."""
    return tuple(sorted(gpu.sources))


def _spec(file: GpuFile, leaves: Leaves) -> GpuSpec:
    sources = {dotted(key): leaf.source for key, leaf in sorted(leaves.items())}

    def where(key: KeyPath) -> str:
        return _where(file.document, leaves, key)

    spec = validate_data(GpuSpec, {**file.text, **nested(leaves), "sources": sources}, where)
    for key, message in findings(spec):
        raise ConfigError(where(key), message)
    return spec


def _where(document: Document, leaves: Leaves, key: KeyPath) -> str:
    """Return the place of ``key``: of the leaf it is or lies in, else in the file itself."""
    for end in range(len(key), 0, -1):
        if key[:end] in leaves:
            rest = dotted(key[end:])
            return leaves[key[:end]].where + (f".{rest}" if rest else "")
    return document.where(key)


def _resolve(name_or_path: str, beside: Path | None, where: str) -> Path:
    """Return the file of a bundled name or of a path (relative to the folder ``beside``)."""
    if name_or_path.endswith(SUFFIXES) or "/" in name_or_path:
        return (beside or Path()) / name_or_path
    if name_or_path not in available():
        raise unknown("arch", name_or_path, available(), where)
    return gpu_directory() / f"{name_or_path}.yaml"


def _read(path: Path) -> GpuFile:
    """Read a GPU's file and what it extends; both are parsed once as long as they do not change."""
    document = _parsed(path, _stamp(path))
    file = _own(document)
    if file.extends is None:
        return file
    where = document.where((EXTENDS,))
    base_path = _resolve(file.extends, path.parent, where)
    base = _own(_parsed(base_path, _stamp(base_path)))
    if base.extends is not None:
        got = f"{shown(file.extends)}, which itself extends {shown(base.extends)}"
        raise ConfigError(where, f"got {got}, allowed: a file that extends nothing")
    inherited = {key: value for key, value in base.text.items() if key not in ("name", "title")}
    text = {**inherited, **file.text}
    return GpuFile(document, text, {**base.leaves, **file.leaves}, file.extends)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when the file does; None where there is none to read."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=64)
def _parsed(path: Path, stamp: tuple[int, int] | None) -> Document:
    return load_yaml(path)


def _own(document: Document) -> GpuFile:
    """Return what one file itself states."""
    leaves = read_leaves(document)
    extends = document.data.get(EXTENDS)
    if EXTENDS in document.data and not isinstance(extends, str):
        raise ConfigError(document.where((EXTENDS,)), f"got {shown(extends)}, allowed: the name of a GPU")
    text = {"name": document.path.stem} | {key: document.data[key] for key in PLAIN if key in document.data}
    return GpuFile(document, text, leaves, extends)


def _override(leaves: dict[KeyPath, Leaf], override: str) -> None:
    """Apply one ``dotted.path=value``."""
    path, equals, value_text = override.partition("=")
    path = path.strip()
    if not equals or not path:
        raise ConfigError(OPTION, f"got {shown(override)}, allowed: dotted.path=value")
    paths = {dotted(key): key for key in leaves}
    if path not in paths:
        raise unknown("path", path, paths, OPTION)
    where = f"{OPTION} {path}"
    value = parse_yaml(value_text, Path(where)).data
    leaves[paths[path]] = Leaf(number_or_curve(value, paths[path], where), USER, where)
