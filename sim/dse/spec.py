"""What to vary: the axes of a sweep file, each mistake with its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sim.config import Document, Strict, load_yaml, shown, validate
from sim.errors import ConfigError

Scalar = bool | int | float | str
BLOCKS = ("grid", "zip")


def _scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"got {shown(value)}, allowed: a number, a word, true or false")
    return value


def _listed(value: Any) -> Any:
    """Let one value stand for a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _named(value: Any) -> Any:
    """Let ``fp16`` stand for ``{name: fp16}``."""
    return {"name": value} if isinstance(value, str) else value


def _combination(value: Any) -> Any:
    """Let one extension's name stand for a combination of one."""
    return [value] if isinstance(value, str) else value


Value = Annotated[Any, AfterValidator(_scalar)]
Values = Annotated[tuple[Value, ...], BeforeValidator(_listed), Field(min_length=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Rows = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]


class SchemeChoice(Strict):
    """A scheme; every combination of its options' values and of its tiles is a value of the axis."""

    name: str
    options: dict[str, Values] = Field(default_factory=dict)
    tile: Names | None = None


class ShapeChoice(Strict):
    """A weight matrix W[n, k] by its sizes alone; ``m`` overrules the axis m."""

    n: Rows
    k: Rows
    m: Rows | None = None
    name: str = ""


class Axes(Strict):
    """The values of each axis. ``model``, ``suite`` and ``shapes`` are one axis: what is computed."""

    arch: Names | None = None
    set: dict[str, Values] = Field(default_factory=dict)  # dotted field of the arch -> its values
    extensions: (
        Annotated[
            tuple[Annotated[tuple[str, ...], BeforeValidator(_combination)], ...],
            BeforeValidator(_listed),
            Field(min_length=1),
        ]
        | None
    ) = None
    scheme: (
        Annotated[
            tuple[Annotated[SchemeChoice, BeforeValidator(_named)], ...],
            BeforeValidator(_listed),
            Field(min_length=1),
        ]
        | None
    ) = None
    tile: Names | None = None
    model: Names | None = None
    suite: Names | None = None
    shapes: tuple[ShapeChoice, ...] | None = Field(default=None, min_length=1)
    m: Annotated[tuple[Rows, ...], BeforeValidator(_listed), Field(min_length=1)] | None = None

    def names(self) -> frozenset[str]:
        """Return the axes that have values, by their keys in the file (``set.<field>`` one by one)."""
        plain = (key for key in type(self).model_fields if key != "set" and getattr(self, key) is not None)
        return frozenset(plain) | {f"set.{field}" for field in self.set}


class SweepFile(Strict):
    """One sweep: every combination of the ``grid`` axes, with the ``zip`` axes varying together."""

    title: str = ""
    grid: Axes = Field(default_factory=Axes)
    zip: Axes = Field(default_factory=Axes)

    @model_validator(mode="after")
    def _axes_stand_once(self) -> SweepFile:
        both = sorted(self.grid.names() & self.zip.names())
        if both:
            raise ValueError(f"axis {both[0]!r} stands in grid and in zip; allowed: one of them")
        return self


@dataclass(frozen=True)
class Sweep:
    """A sweep file that was read: its axes, and the document that knows the line of each value."""

    axes: SweepFile
    document: Document

    @property
    def path(self) -> Path:
        """The file."""
        return self.document.path

    def beside(self, name: str) -> str:
        """Return a path given relative to the sweep file as one that can be opened; leave names alone."""
        near = self.path.parent / name
        return str(near) if Path(name).suffix and near.is_file() else name


def load_sweep(path: Path) -> Sweep:
    """Read a sweep file and check what can be checked without machines, schemes and models."""
    document = load_yaml(path)
    axes = validate(SweepFile, document)
    given = axes.grid.names() | axes.zip.names()
    for wanted in ("arch", "scheme"):
        if wanted not in given:
            raise ConfigError(document.where(), f"axis {wanted!r} missing; it has no default")
    if not given & {"model", "suite", "shapes"}:
        raise ConfigError(document.where(), "nothing to compute; allowed: one of model, suite, shapes")
    return Sweep(axes, document)
