"""What a border between two groups costs: the slope of a launch's time over its number of groups, beside the GPU's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from reports.markdown import table
from sim.validation.comparison import Comparison

FEWEST = 4  # numbers of groups for a slope
HEADER = ("kernel", "M", "N", "K", "groups", "µs with the fewest", "measured", "simulated", "error")


@dataclass(frozen=True)
class BorderCost:
    """One kernel on one shape, over its numbers of equally long groups; SM cycles at the recorded clocks."""

    kernel: str
    shape: tuple[int, int, int]
    groups: tuple[int, ...]
    first_us: float  # measured, with the fewest groups
    measured_cycles: float  # per border
    simulated_cycles: float

    @property
    def error_pct(self) -> float:
        """Return the signed error of the simulated cost."""
        return 100 * (self.simulated_cycles / self.measured_cycles - 1)


def border_costs(comparisons: Iterable[Comparison]) -> list[BorderCost]:
    """Return the cost of a border for every kernel and shape that was timed with enough numbers of groups."""
    series: dict[tuple[str, tuple[int, int, int]], dict[int, Comparison]] = defaultdict(dict)
    for each in comparisons:
        case = each.case
        if each.time is not None and case.options.get("profile") == "even":
            key = f"`{case.scheme}` {case.tile}", (case.m, case.n, case.k)
            series[key].setdefault(int(case.options["groups"]), each)
    return [
        _cost(kernel, shape, rows) for (kernel, shape), rows in sorted(series.items()) if len(rows) >= FEWEST
    ]


def _cost(kernel: str, shape: tuple[int, int, int], rows: dict[int, Comparison]) -> BorderCost:
    groups = tuple(sorted(rows))
    times = [time for count in groups if (time := rows[count].time) is not None]
    slopes = (
        np.polyfit(groups, [us * time.recorded_mhz for us, time in zip(column, times, strict=True)], 1)[0]
        for column in ([time.measured_us for time in times], [time.recorded_clock_us for time in times])
    )
    measured, simulated = (float(slope) for slope in slopes)
    return BorderCost(kernel, shape, groups, times[0].measured_us, measured, simulated)


def border_table(costs: Iterable[BorderCost]) -> str:
    """Return the costs as Markdown."""
    rows = [
        (
            each.kernel,
            *(str(size) for size in each.shape),
            f"{each.groups[0]} to {each.groups[-1]}",
            f"{each.first_us:.1f}",
            f"{each.measured_cycles:.0f}",
            f"{each.simulated_cycles:.0f}",
            f"{each.error_pct:+.0f} %",
        )
        for each in costs
    ]
    return table(HEADER, rows)
