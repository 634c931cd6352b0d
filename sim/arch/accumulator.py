"""What accumulators that shift cost: synthesized units, each with and without the shifter.

The numbers stand in ``arch_configs/hardware/accumulator.jsonl``, their origin in ``accumulator.yaml`` beside it;
``python -m sim.energy.synthesis`` makes both. They are those of old processes, whose libraries are open: what carries
over to a newer one are ratios to the unit without a shifter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

import arch_configs
from sim.config import Strict, load_yaml, validate
from sim.errors import ConfigError
from sim.jsonl import read_records

Positive = Annotated[float, Field(gt=0, le=1e9)]
Zero = Annotated[float, Field(ge=0, le=1e9)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Unit = Literal["pe", "dot"]  # of a systolic array, with its registers; or a dot product without any
Position = Literal["none", "c_path", "behind_adder"]
Overflow = Literal["wrap", "saturate"]
TRANSISTORS_PER_GATE = 4  # of a two-input NAND in CMOS


class Design(Strict):
    """A multiply-accumulate unit."""

    unit: Unit
    operand_bits: Annotated[int, Field(ge=2, le=16)]
    length: Annotated[int, Field(ge=1, le=64)]  # products that it adds at once
    width_bits: Annotated[int, Field(ge=8, le=64)]  # of the accumulator
    overflow: Overflow
    position: Position  # of the shifter
    shift_range: Annotated[int, Field(ge=0, le=4)]  # bits


class Cost(Design):
    """What a unit costs. Of a ``shift``: one operation that shifts; 0 to a unit without a shifter.

    Energies count what changes between two operations at rest; ``glitching`` ones also what changes and is taken back.
    """

    library: Text
    area_um2: Positive
    shifter_um2: Zero
    multiplier_um2: Positive
    adder_um2: Positive  # with what saturates the sum
    register_um2: Zero
    delay_ns: Positive
    mac_gaussian_pj: Positive  # one multiply-accumulate that does not shift
    shift_gaussian_pj: Zero = 0.0
    mac_uniform_pj: Positive
    shift_uniform_pj: Zero = 0.0
    mac_glitching_pj: Positive  # of gaussian operands
    shift_glitching_pj: Zero = 0.0


class CellLibrary(Strict):
    """The cells that units were mapped to."""

    source: Text
    sha256: Text
    supply_v: Positive
    nand2_um2: Positive  # the smallest one: a gate equivalent


class Origin(Strict):
    """How the numbers were made."""

    title: Text
    tool: Text
    command: Text
    date: Text
    verilog_sha256: Text  # with the commands that Yosys was given
    method: tuple[Text, ...]
    libraries: dict[Text, CellLibrary]  # the first one has all designs, the others those of 32 bits


@dataclass(frozen=True)
class Costs:
    """All synthesized units."""

    rows: tuple[Cost, ...]
    origin: Origin

    @property
    def library(self) -> str:
        """Return the library that has all designs."""
        return next(iter(self.origin.libraries))

    def find(self, design: Design, library: str = "") -> Cost:
        """Return what a unit costs; raise ConfigError if it was not synthesized."""
        name = library or self.library
        found = self._index.get((name, *design.model_dump().values()))
        if found is None:
            raise ConfigError(
                "", f"no synthesized {described(design)} in {name}; arch_configs/hardware has others"
            )
        return found

    @cached_property
    def _index(self) -> dict[tuple[object, ...], Cost]:
        fields = tuple(Design.model_fields)
        return {(row.library, *(getattr(row, each) for each in fields)): row for row in self.rows}

    def gates(self, area_um2: float, library: str = "") -> float:
        """Return an area in gate equivalents: two-input NANDs."""
        return area_um2 / self.origin.libraries[library or self.library].nand2_um2


@dataclass(frozen=True)
class Overhead:
    """What a shifter adds to its unit: a share of what the unit is without one."""

    cost: Cost
    plain: Cost
    area: float
    delay: float
    mac_energy: float  # of an operation that does not shift
    shift_energy: float  # of one that shifts; behind the adder that is one without products, and below 0

    @property
    def mac_pj(self) -> float:
        """Return the additional energy of an operation that does not shift."""
        return self.cost.mac_gaussian_pj - self.plain.mac_gaussian_pj

    @property
    def shift_pj(self) -> float:
        """Return the additional energy of a shift: over an operation without it, or that of the bubble."""
        bubble = self.cost.position == "behind_adder"
        return self.cost.shift_gaussian_pj - (0.0 if bubble else self.plain.mac_gaussian_pj)


def overhead(costs: Costs, design: Design, library: str = "") -> Overhead:
    """Compare a unit with the same one without a shifter."""
    cost = costs.find(design, library)
    plain = costs.find(design.model_copy(update={"position": "none", "shift_range": 0}), library)
    return Overhead(
        cost,
        plain,
        cost.area_um2 / plain.area_um2 - 1,
        cost.delay_ns / plain.delay_ns - 1,
        cost.mac_gaussian_pj / plain.mac_gaussian_pj - 1,
        cost.shift_gaussian_pj / plain.mac_gaussian_pj - 1,
    )


def described(design: Design) -> str:
    """Return a unit in words."""
    place = {"none": "no shifter", "c_path": "in the path of C", "behind_adder": "behind the adder"}[
        design.position
    ]
    reach = f" by 0-{design.shift_range}" if design.shift_range else ""
    return (
        (
            f"{design.unit} INT{design.operand_bits} x {design.length}, {design.width_bits}-bit accumulator that would "
            f"{design.overflow}, {place}{reach}"
        )
        .replace("that would wrap", "(wraps)")
        .replace("that would saturate", "(saturates)")
    )


def directory() -> Path:
    """Return the folder of the data."""
    return arch_configs.DIRECTORY / "hardware"


def read_costs(folder: Path) -> Costs:
    """Read a folder that ``python -m sim.energy.synthesis`` wrote."""
    origin = validate(Origin, load_yaml(folder / "accumulator.yaml"))
    return Costs(read_records(folder / "accumulator.jsonl", Cost, "a synthesized unit"), origin)


@cache
def load_costs() -> Costs:
    """Return the bundled data."""
    return read_costs(directory())
