"""The microbenchmarks, measured beside simulated."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from reports.markdown import table

COLUMNS = ("benchmark", "point", "measured_cycles", "simulated_cycles", "error_pct")


@dataclass(frozen=True)
class Reading:
    """One reading in SM cycles."""

    benchmark: str
    point: str
    measured: float
    simulated: float

    @property
    def error_pct(self) -> float:
        """Return the signed error of the simulation."""
        return 100 * (self.simulated / self.measured - 1)


def micro_table(readings: Sequence[Reading], tolerance_pct: float) -> str:
    """Return one row per benchmark."""
    header = ("benchmark", "readings", f"within {tolerance_pct:g} %", "median error", "least", "most")
    names = dict.fromkeys(each.benchmark for each in readings)
    groups = [(f"`{name}`", [each for each in readings if each.benchmark == name]) for name in names]
    return table(header, [_cells(name, group, tolerance_pct) for name, group in [*groups, ("all", readings)]])


def _cells(name: str, group: Sequence[Reading], tolerance_pct: float) -> tuple[str, ...]:
    errors = [each.error_pct for each in group]
    within = sum(abs(error) <= tolerance_pct for error in errors)
    middle = median(abs(error) for error in errors)
    return (
        name,
        str(len(group)),
        str(within),
        f"{middle:.1f} %",
        f"{min(errors):+.1f} %",
        f"{max(errors):+.1f} %",
    )


def micro_csv(readings: Sequence[Reading]) -> str:
    """Return every reading as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in readings:
        numbers = (f"{each.measured:.4g}", f"{each.simulated:.4g}", f"{each.error_pct:+.1f}")
        writer.writerow((each.benchmark, each.point, *numbers))
    return stream.getvalue()
