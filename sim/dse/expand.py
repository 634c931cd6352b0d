"""A sweep's points: every combination of its axes, in a fixed order, each checked before any is simulated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.config import KeyPath
from sim.dse.spec import Axes, Scalar, SchemeChoice, ShapeChoice, Sweep
from sim.errors import ConfigError, TcsimError

MAX_POINTS = 1_000_000


@dataclass(frozen=True)
class Layer:
    """One matmul of a workload, Y[m, n] = X[m, k] · W[n, k]^T; ``m`` None = the sweep's axis m says it."""

    model: str
    name: str
    n: int
    k: int
    m: int | None = None


@dataclass(frozen=True)
class Point:
    """All that a sweep may choose about one run."""

    arch: str
    overrides: tuple[str, ...]  # dotted.field=value
    extensions: tuple[str, ...]
    scheme: str
    options: tuple[tuple[str, Scalar], ...]
    tile: str | None  # None = the fastest
    m: int
    n: int
    k: int

    @property
    def machine(self) -> str:
        """Name the machine: its arch and what differs from it."""
        changes = ", ".join((*self.overrides, *self.extensions))
        return f"{self.arch} [{changes}]" if changes else self.arch

    @property
    def method(self) -> str:
        """Name the scheme with its options and tile."""
        details = [f"{key}={value}" for key, value in self.options] + ([self.tile] if self.tile else [])
        return f"{self.scheme} ({', '.join(details)})" if details else self.scheme

    @property
    def label(self) -> str:
        """Name the point in a message."""
        return f"{self.machine}, {self.method}, M={self.m} N={self.n} K={self.k}"


@dataclass(frozen=True)
class Job:
    """A point of the sweep, and the layers whose matmul it is."""

    point: Point
    layers: tuple[tuple[str, str], ...]  # (model, layer)


class AxisError(TcsimError):
    """A check's finding; ``axis`` is the key of the sweep file whose value is wrong."""

    def __init__(self, axis: str, message: str) -> None:
        super().__init__(message)
        self.axis = axis


@dataclass(frozen=True)
class Choice:
    """One value of one axis, and where it stands in the file."""

    axis: str
    value: Any
    key: KeyPath


Combination = tuple[Choice, ...]
LayersOf = Callable[[str, str], Sequence[Layer]]  # ("model" | "suite", name) -> layers
Check = Callable[[Point], Point]  # raises AxisError; returns the point with every option spelled out


def expand(sweep: Sweep, layers_of: LayersOf, check: Check) -> tuple[Job, ...]:
    """Return the sweep's points in a fixed order, without duplicates, all of them checked.

    Machines vary slowest, then schemes, layers and M. A mistake is reported with the line of its value.
    """
    layers = _read_layers(sweep, layers_of)
    jobs: dict[Point, dict[tuple[str, str], None]] = {}
    checked: dict[Point, Point] = {}
    for given, layer, combination in _points(sweep, layers):
        if given not in checked:
            checked[given] = _checked(sweep, check, given, combination)
        point = checked[given]
        jobs.setdefault(point, {})[(layer.model, layer.name)] = None
    return tuple(Job(point, tuple(names)) for point, names in jobs.items())


def _checked(sweep: Sweep, check: Check, point: Point, combination: Combination) -> Point:
    try:
        return check(point)
    except AxisError as error:
        keys = {choice.axis: choice.key for choice in combination}
        key = keys.get(error.axis, keys.get("scheme", ()))
        raise ConfigError(sweep.document.where(key), f"{error} (at {point.label})") from None


def _points(
    sweep: Sweep, layers: Mapping[KeyPath, Sequence[Layer]]
) -> Iterator[tuple[Point, Layer, Combination]]:
    """Yield (point, layer, choices); all M of a layer before the next layer."""
    rest_of = itertools.groupby(_combinations(sweep), key=lambda c: [x for x in c if x.axis != "m"])
    for _, group in rest_of:
        combinations = list(group)
        for layer in layers[_one(combinations[0], "work").key]:
            for combination in combinations:
                yield _point(sweep, combination, layer), layer, combination


def _point(sweep: Sweep, combination: Combination, layer: Layer) -> Point:
    values = {choice.axis: choice.value for choice in combination}
    scheme, options, tile = values["scheme"]
    m = layer.m or values.get("m")
    if m is None:
        key = _one(combination, "work").key
        raise ConfigError(sweep.document.where(key), "has no M of its own; allowed with an axis 'm'")
    if tile is not None and "tile" in values:
        key = _one(combination, "tile").key
        message = f"scheme {scheme!r} names its own tiles; allowed: tiles in one of both places"
        raise ConfigError(sweep.document.where(key), message)
    overrides = (f"{axis[4:]}={_text(value)}" for axis, value in values.items() if axis.startswith("set."))
    return Point(
        arch=str(values["arch"]),
        overrides=tuple(sorted(overrides)),
        extensions=values.get("extensions", ()),
        scheme=scheme,
        options=options,
        tile=tile or values.get("tile"),
        m=m,
        n=layer.n,
        k=layer.k,
    )


def _one(combination: Combination, axis: str) -> Choice:
    return next(choice for choice in combination if choice.axis == axis)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _combinations(sweep: Sweep) -> Iterator[Combination]:
    """Cross the grid's axes and the zip's rows; M varies fastest."""
    grid = _axes(sweep, sweep.axes.grid, "grid")
    rows = _zipped(sweep, _axes(sweep, sweep.axes.zip, "zip"))
    size = len(rows) * math.prod(len(choices) for choices in grid)
    if size > MAX_POINTS:
        message = f"got {size} combinations, allowed: at most {MAX_POINTS}"
        raise ConfigError(sweep.document.where(), message)
    for row in rows:
        for choices in itertools.product(*grid):
            yield (*row, *choices)


def _zipped(sweep: Sweep, axes: list[list[Choice]]) -> list[Combination]:
    for axis in axes[1:]:
        if len(axis) != len(axes[0]):
            first, other = axes[0][0], axis[0]
            message = (
                f"axes of zip vary together: {_shown(first)} has {len(axes[0])} values,"
                f" {_shown(other)} has {len(axis)}; allowed: equal lengths"
            )
            raise ConfigError(sweep.document.where(other.key[:-1]), message)
    rows: list[Combination] = list(zip(*axes, strict=True))
    return rows or [()]


def _shown(choice: Choice) -> str:
    return repr(choice.axis if choice.axis != "work" else choice.key[1])


def _axes(sweep: Sweep, axes: Axes, block: str) -> list[list[Choice]]:
    """List the axes of one block that have values, machines first and M last."""
    every = [
        [Choice("arch", sweep.beside(name), key) for name, key in _values(axes.arch, block, "arch")],
        *(
            [Choice(f"set.{field}", value, key) for value, key in _values(values, block, "set", field)]
            for field, values in axes.set.items()
        ),
        [Choice("extensions", value, key) for value, key in _values(axes.extensions, block, "extensions")],
        [choice for value, key in _values(axes.scheme, block, "scheme") for choice in _schemes(value, key)],
        [Choice("tile", value, key) for value, key in _values(axes.tile, block, "tile")],
        _work(axes, block),
        [Choice("m", value, key) for value, key in _values(axes.m, block, "m")],
    ]
    return [choices for choices in every if choices]


def _values(values: Iterable[Any] | None, *key: str) -> list[tuple[Any, KeyPath]]:
    return [(value, (*key, index)) for index, value in enumerate(values or ())]


def _schemes(scheme: SchemeChoice, key: KeyPath) -> list[Choice]:
    """Return one (name, options, tile) for each combination of a scheme's options and tiles."""
    names = list(scheme.options)
    combinations = itertools.product(*(scheme.options[name] for name in names), scheme.tile or (None,))
    return [
        Choice("scheme", (scheme.name, tuple(zip(names, values, strict=True)), tile), key)
        for *values, tile in combinations
    ]


def _work(axes: Axes, block: str) -> list[Choice]:
    kinds = (("model", axes.model), ("suite", axes.suite), ("shapes", axes.shapes))
    return [
        Choice("work", value, key) for kind, values in kinds for value, key in _values(values, block, kind)
    ]


def _read_layers(sweep: Sweep, layers_of: LayersOf) -> dict[KeyPath, Sequence[Layer]]:
    """Look up the layers of every model, suite and shape that the sweep names, by the key it stands at."""
    found: dict[KeyPath, Sequence[Layer]] = {}
    for block, axes in (("grid", sweep.axes.grid), ("zip", sweep.axes.zip)):
        for choice in _work(axes, block):
            if isinstance(choice.value, ShapeChoice):
                shape = choice.value
                name = shape.name or f"{shape.n}x{shape.k}"
                found[choice.key] = (Layer("", name, shape.n, shape.k, shape.m),)
            else:
                found[choice.key] = _named_layers(sweep, layers_of, choice)
    return found


def _named_layers(sweep: Sweep, layers_of: LayersOf, choice: Choice) -> Sequence[Layer]:
    kind, name = str(choice.key[1]), sweep.beside(str(choice.value))
    try:
        return layers_of(kind, name)
    except TcsimError as error:
        raise ConfigError(sweep.document.where(choice.key), str(error)) from None
