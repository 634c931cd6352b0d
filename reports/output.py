"""Writing reports: every file appears whole or not at all, and the same data gives the same bytes."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160


def replace_file(path: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then put it in its place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(str(path), f"cannot write: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def write_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> Path:
    """Write rows as CSV under a header of ``columns``."""

    def write(target: Path) -> None:
        with target.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    return replace_file(path, write)


def save_figure(figure: Figure, out_dir: Path, name: str) -> list[Path]:
    """Write ``name.png`` and ``name.svg``, without dates or versions in them."""
    png = replace_file(
        out_dir / f"{name}.png",
        lambda target: figure.savefig(target, format="png", dpi=DPI, metadata={"Software": None}),
    )
    svg = replace_file(
        out_dir / f"{name}.svg",
        lambda target: figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None}),
    )
    return [png, svg]
