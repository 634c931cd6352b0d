"""Reads a cell library in Liberty format: areas, functions, capacitances, tables of delay and energy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sim.energy.synthesis.boolean import Function, compiled
from sim.errors import ConfigError

F64 = npt.NDArray[np.float64]
_TOKEN = re.compile(r'"[^"]*"|[{}();:]|[^\s{}();:"]+')
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """Values over output load in pF and input transition in ns; one of them may be missing."""

    loads: F64
    slews: F64
    values: F64  # [load, slew]

    def at(self, load: float, slew: float) -> float:
        """Interpolate linearly; beyond the table, go on as its last interval does."""
        row, right = _place(self.loads, load)
        column, up = _place(self.slews, slew)
        cells = self.values[row : row + 2, column : column + 2]
        across = cells @ np.array([1 - up, up])[: cells.shape[1]]
        return float(across @ np.array([1 - right, right])[: len(across)])


def _place(axis: F64, value: float) -> tuple[int, float]:
    if len(axis) < 2:
        return 0, 0.0
    index = min(max(int(np.searchsorted(axis, value)) - 1, 0), len(axis) - 2)
    return index, float((value - axis[index]) / (axis[index + 1] - axis[index]))


@dataclass(frozen=True)
class Arc:
    """How an input moves an output: delay and transition for the output's rise and fall, and its sense."""

    source: str
    sense: str  # positive_unate, negative_unate, non_unate
    delay: tuple[Table, Table]  # rise, fall
    slew: tuple[Table, Table]


@dataclass(frozen=True)
class Pin:
    """One pin: what it loads its net with, what it does."""

    name: str
    output: bool
    capacitance_pf: float
    function: Function | None = None
    arcs: tuple[Arc, ...] = ()
    energy_pj: tuple[Table, ...] = ()  # internal, per edge: rise and fall, for each related input


@dataclass(frozen=True)
class Cell:
    """One cell."""

    name: str
    area_um2: float
    pins: dict[str, Pin]
    next_state: str = ""  # input of a flip-flop
    clock: str = ""

    @property
    def outputs(self) -> list[Pin]:
        """Return the pins it drives."""
        return [pin for pin in self.pins.values() if pin.output]


@dataclass(frozen=True)
class Library:
    """All cells, at one corner."""

    name: str
    voltage: float
    cells: dict[str, Cell]


@dataclass
class Group:
    """``name (args) { ... }`` as it stands in the file."""

    name: str
    args: list[str]
    values: dict[str, list[str]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Group]:
        """Return the groups called ``name`` in it."""
        return (each for each in self.groups if each.name == name)

    def text(self, name: str, default: str = "") -> str:
        """Return an attribute as text."""
        return self.values.get(name, [default])[0]

    def number(self, name: str) -> float:
        """Return an attribute as a number, 0 if it has none."""
        return float(self.text(name, "0"))


def read_library(path: Path) -> Library:
    """Read a Liberty file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from None
    tokens = _TOKEN.findall(_COMMENT.sub(" ", text).replace("\\\n", " "))
    try:
        root = _group(tokens, 0)[0]
        templates = {
            each.args[0]: each.text("variable_1").startswith("total")
            for kind in ("lu_table_template", "power_lut_template")
            for each in root.all(kind)
        }
        cells = {each.args[0]: _cell(each, templates) for each in root.all("cell")}
        return Library(root.args[0], root.number("nom_voltage"), cells)
    except (IndexError, KeyError, ValueError) as error:
        raise ConfigError(str(path), f"not a Liberty file: {error}") from None


def _group(tokens: list[str], at: int) -> tuple[Group, int]:
    """Parse the group that begins at token ``at``; return it and the place behind it."""
    group = Group(tokens[at], [])
    close = tokens.index(")", at)
    group.args = [each.strip(',"') for each in tokens[at + 2 : close] if each.strip(',"')]
    at = close + 2
    while tokens[at] != "}":
        if tokens[at] == ";":
            at += 1
        elif tokens[at + 1] == ":":
            end = tokens.index(";", at)
            group.values[tokens[at]] = [" ".join(tokens[at + 2 : end]).strip('"')]
            at = end + 1
        else:
            close = tokens.index(")", at)
            if tokens[close + 1] == "{":
                inner, at = _group(tokens, at)
                group.groups.append(inner)
            else:
                group.values[tokens[at]] = [each.strip('"') for each in tokens[at + 2 : close] if each != ","]
                at = close + 1
    return group, at + 1


def _cell(group: Group, templates: dict[str, bool]) -> Cell:
    flip_flop = next(group.all("ff"), None)
    state = flip_flop.args[0] if flip_flop else ""
    pins = {each.args[0]: _pin(each, templates, state) for each in group.all("pin")}
    if flip_flop is None:
        return Cell(group.args[0], group.number("area"), pins)
    next_state, clock = (flip_flop.text(name).strip("() ") for name in ("next_state", "clocked_on"))
    return Cell(group.args[0], group.number("area"), pins, next_state, clock)


def _pin(group: Group, templates: dict[str, bool], state: str) -> Pin:
    text = group.text("function")
    function = compiled(text) if text and state == "" and not group.text("three_state") else None
    arcs = tuple(
        Arc(
            each.text("related_pin"),
            each.text("timing_sense", "non_unate"),
            (_table(each, "cell_rise", templates), _table(each, "cell_fall", templates)),
            (_table(each, "rise_transition", templates), _table(each, "fall_transition", templates)),
        )
        for each in group.all("timing")
        if next(each.all("cell_rise"), None) and next(each.all("cell_fall"), None)
    )
    energy = tuple(
        _table(each, name, templates)
        for each in group.all("internal_power")
        for name in ("rise_power", "fall_power")
        if next(each.all(name), None)
    )
    output = group.text("direction") == "output"
    return Pin(group.args[0], output, group.number("capacitance"), function, arcs, energy)


def _table(group: Group, name: str, templates: dict[str, bool]) -> Table:
    found = next(group.all(name))
    rows = [[float(value) for value in row.split(",")] for row in found.values["values"]]
    axes = [
        np.array([float(value) for value in found.values[key][0].split(",")])
        for key in ("index_1", "index_2")
        if key in found.values
    ]
    values, none = np.array(rows), np.zeros(1)
    if len(axes) == 1:
        return Table(none, axes[0], values.reshape(1, -1))
    if templates[found.args[0]]:
        return Table(axes[0], axes[1], values)
    return Table(axes[1], axes[0], values.T)
