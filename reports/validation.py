"""Validation: simulated against measured time, on doubly logarithmic axes with a band of ±10 %.

Not one of the reports on a sweep: its data are comparisons with measured rows, from ``tcsim validate``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.output import save_figure, write_csv
from sim.validation.comparison import Comparison
from sim.validation.statistics import Accuracy, accuracy

FILE = "validation"
BAND_PCT = 10.0
LABELLED = 8  # rows farthest off, named in the figure
COLUMNS = (
    "scheme", "options", "tile", "m", "n", "k", "kind", "splits", "ctas", "ctas_per_sm", "waves", "bound_by",
    "measured_us", "spread_us", "recorded_mhz", "recorded_clock_us", "error_pct", "predicted_us", "predicted_mhz",
)  # fmt: skip


@dataclass(frozen=True)
class Dot:
    """One timed row, at the recorded clock."""

    scheme: str
    label: str
    measured_us: float
    simulated_us: float

    @property
    def error_pct(self) -> float:
        """Return the signed error."""
        return 100 * (self.simulated_us / self.measured_us - 1)


@dataclass(frozen=True)
class Validation:
    """The data of the figure and of the file of rows."""

    rows: tuple[Comparison, ...]  # those with a time
    dots: tuple[Dot, ...]
    accuracy: dict[str, Accuracy]  # by scheme
    gpus: tuple[str, ...]

    @property
    def worst(self) -> list[Dot]:
        """Return the dots outside the band, farthest off first."""
        outside = [dot for dot in self.dots if abs(dot.error_pct) > BAND_PCT]
        return sorted(outside, key=lambda dot: -abs(dot.error_pct))[:LABELLED]

    @property
    def inside(self) -> int:
        """Count the dots inside the band."""
        return sum(abs(dot.error_pct) <= BAND_PCT for dot in self.dots)


def collect(comparisons: Sequence[Comparison]) -> Validation:
    """Take the rows that were timed."""
    timed = [(each, each.time) for each in comparisons if each.time]
    dots = tuple(
        Dot(each.case.scheme, _label(each), time.measured_us, time.recorded_clock_us) for each, time in timed
    )
    schemes = dict.fromkeys(dot.scheme for dot in dots)
    found = {
        scheme: accuracy([(dot.measured_us, dot.simulated_us) for dot in dots if dot.scheme == scheme])
        for scheme in schemes
    }
    gpus = tuple(dict.fromkeys(each.case.gpu for each, _ in timed))
    return Validation(tuple(each for each, _ in timed), dots, found, gpus)


def _label(comparison: Comparison) -> str:
    case = comparison.case
    return f"{case.tile} M={case.m} {case.n}×{case.k}"


def render(data: Validation, out_dir: Path) -> list[Path]:
    """Write validation.png, validation.svg and validation.csv."""
    from reports.style import drawing
    from reports.validation_figure import draw

    with drawing():
        files = save_figure(draw(data), out_dir, FILE)
    return [*files, write_csv(list(csv_rows(data.rows)), COLUMNS, out_dir / f"{FILE}.csv")]


def csv_rows(rows: Sequence[Comparison]) -> Iterator[dict[str, object]]:
    """Yield the timed rows for a table, numbers to six digits."""
    for each in rows:
        if each.time is None:
            continue
        case, time = each.case, each.time
        options = " ".join(f"{name}={value}" for name, value in case.options.items())
        words = (case.scheme, options, case.tile, case.m, case.n, case.k, each.kind)
        shape = (each.splits, each.ctas, each.resident, each.waves, each.bound)
        numbers = (
            time.measured_us, time.spread_us, time.recorded_mhz, time.recorded_clock_us,
            time.error_pct(), time.predicted_us, time.predicted_mhz,
        )  # fmt: skip
        yield dict(zip(COLUMNS, (*words, *shape, *(f"{v:.6g}" for v in numbers)), strict=True))
