"""Where the shifter of an accumulator sits, and what it costs: area, delay and energy of synthesized units.

Not one of the reports on a sweep: its data are those of ``sim.arch.accumulator``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from reports.output import save_figure, write_csv
from sim.arch.accumulator import Cost, Costs, Design, Overhead, Position, overhead

C_PATH: Position = "c_path"
BEHIND: Position = "behind_adder"
PLACES: dict[Position, str] = {C_PATH: "in the path of C", BEHIND: "behind the adder"}
FILE = "shifter_cost"
USUAL_BITS = 32


@dataclass(frozen=True, order=True)
class Unit:
    """A unit by what it multiplies."""

    unit: str
    operand_bits: int
    length: int

    @property
    def label(self) -> str:
        """Return its name in figures."""
        if self.unit == "pe":
            return f"PE, INT{self.operand_bits}"
        return f"dot product, {self.length} × INT{self.operand_bits}"

    @property
    def short(self) -> str:
        """Return its name where there is little room."""
        return (
            f"PE INT{self.operand_bits}" if self.unit == "pe" else f"dot {self.length}×INT{self.operand_bits}"
        )


@dataclass(frozen=True)
class Priced:
    """One unit with a shifter beside the same unit without; shares are of the unit without."""

    library: str
    unit: str
    operand_bits: int
    length: int
    width_bits: int
    overflow: str
    position: str
    shift_range: int
    gates: float  # two-input NANDs
    area_um2: float
    delay_ns: float
    mac_pj: float
    shift_pj: float
    area_pct: float
    delay_pct: float
    mac_energy_pct: float  # of an operation that does not shift
    shift_energy_pct: float  # of a shift: added to the operation that shifts, or that of the bubble


def priced(costs: Costs) -> tuple[Priced, ...]:
    """Return every synthesized unit, in the order of the data."""
    return tuple(_priced(costs, row) for row in costs.rows)


def _priced(costs: Costs, row: Cost) -> Priced:
    design = Design(**row.model_dump(include=set(Design.model_fields)))
    found = overhead(costs, design, row.library)
    return Priced(
        row.library,
        **design.model_dump(),
        gates=costs.gates(row.area_um2, row.library),
        area_um2=row.area_um2,
        delay_ns=row.delay_ns,
        mac_pj=row.mac_gaussian_pj,
        shift_pj=row.shift_gaussian_pj,
        area_pct=100 * found.area,
        delay_pct=100 * found.delay,
        mac_energy_pct=100 * found.mac_energy,
        shift_energy_pct=100 * shift_share(found),
    )


def shift_share(found: Overhead) -> float:
    """Return the additional energy of a shift as a share of an operation of the unit without a shifter."""
    return found.shift_pj / found.plain.mac_gaussian_pj if found.cost.shift_range else 0.0


def units(costs: Costs, width_bits: int = USUAL_BITS) -> tuple[Unit, ...]:
    """Return the units that were synthesized at a width: processing elements, then dot products, by size."""
    found = {
        Unit(row.unit, row.operand_bits, row.length) for row in costs.rows if row.width_bits == width_bits
    }
    return tuple(sorted(found, key=lambda each: (each.unit != "pe", each.operand_bits * each.length, each)))


def widths(costs: Costs, unit: Unit) -> list[int]:
    """Return the widths of a unit's accumulator, rising."""
    return sorted(
        {row.width_bits for row in costs.rows if Unit(row.unit, row.operand_bits, row.length) == unit}
    )


def at(
    costs: Costs,
    unit: Unit,
    position: str,
    shift_range: int,
    width_bits: int = USUAL_BITS,
    overflow: str = "wrap",
    library: str = "",
) -> Overhead:
    """Return one unit beside the same one without a shifter."""
    design = Design.model_validate(
        {
            **asdict(unit),
            "width_bits": width_bits,
            "overflow": overflow,
            "position": position,
            "shift_range": shift_range,
        }
    )
    return overhead(costs, design, library)


def findings(costs: Costs) -> list[str]:
    """Say in words what the shifter costs in each place."""
    return [*_per_unit(costs), *_processes(costs)]


def _per_unit(costs: Costs) -> Iterator[str]:
    for unit in units(costs):
        places = "; ".join(_words(at(costs, unit, position, 1)) for position in PLACES)
        yield f"{unit.label}, 1-bit shift: {places}."


def _words(found: Overhead) -> str:
    return (
        f"{PLACES[found.cost.position]} {_percent(found.area)} area, {_percent(found.delay)} delay, "
        f"{_percent(found.mac_energy)} energy of each operation"
    )


def _percent(share: float) -> str:
    return f"{round(100 * share, 1) + 0:+.1f} %"  # + 0: no minus before 0.0


def _processes(costs: Costs) -> Iterator[str]:
    """Say how far the added areas move with the process."""
    spreads = []
    for unit in units(costs):
        for position in PLACES:
            shares = [at(costs, unit, position, 1, library=name).area for name in _libraries(costs, unit)]
            spreads.append(max(shares) / min(shares) - 1)
    names = ", ".join(costs.origin.libraries)
    yield f"The added areas differ by at most {100 * max(spreads):.1f} % of themselves between {names}."


def _libraries(costs: Costs, unit: Unit) -> list[str]:
    found = {row.library for row in costs.rows if Unit(row.unit, row.operand_bits, row.length) == unit}
    return sorted(found)


def render(costs: Costs, out_dir: Path) -> list[Path]:
    """Write the figure and the table of all units."""
    from reports.shifter_cost_figure import draw
    from reports.style import drawing

    with drawing():
        files = save_figure(draw(costs), out_dir, FILE)
    columns = [each.name for each in fields(Priced)]
    return [*files, write_csv([asdict(row) for row in priced(costs)], columns, out_dir / f"{FILE}.csv")]
