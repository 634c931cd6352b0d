"""Find bundled YAML files by name and accept paths in their place."""

from __future__ import annotations

from pathlib import Path

from sim.errors import ConfigError, unknown

ROOT = Path(__file__).parent
_PATH_SUFFIXES = (".yaml", ".yml", ".json")


def bundled_names(folder: str) -> tuple[str, ...]:
    """List the YAML files of a folder of this package by name, sorted."""
    return tuple(sorted(path.stem for path in (ROOT / folder).glob("*.yaml")))


def find_file(kind: str, folder: str, name: str, where: str = "", base: Path | None = None) -> Path:
    """Return the bundled file called ``name``, or the path that ``name`` is, relative to ``base``."""
    if "\0" in name:
        raise ConfigError(where, f"{kind}: a name or path cannot hold a NUL character")
    if name in bundled_names(folder):
        return ROOT / folder / f"{name}.yaml"
    if "/" in name or "\\" in name or name.lower().endswith(_PATH_SUFFIXES):
        return (base or Path()) / Path(name)
    raise unknown(kind, name, bundled_names(folder), where)
