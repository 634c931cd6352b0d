"""What bounds each layer over M, in words and as a map; and how much faster another machine is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from reports import style
from reports.naming import bound_words, layer_name, m_range, machine_name, plain, scheme_names, unique
from reports.output import save_figure, write_csv
from sim.errors import unknown
from sim.results import RunResult

NAME = "bounds"
TITLE = "What bounds each layer, over M"

_UNCHANGED = 0.02  # a speed-up within so much of 1 is none
_ALIKE = 0.03  # speed-ups within so much of each other are told as one
_MAX_SPANS = 3  # of a sentence about speed-ups
_MAX_SHARES = 3  # of bounds named in the title
COLUMNS = ("machine", "scheme", "layer", "m", "time_us", "bound_by", "speed_up", "sentence")


@dataclass(frozen=True)
class Cell:
    """One run of a row; ``speed_up`` is the first machine's time over the time here, else NaN."""

    m: int
    time_us: float
    bound_by: str
    speed_up: float


@dataclass(frozen=True)
class Span:
    """Neighbouring values of M that share a bound."""

    first_m: int
    last_m: int
    bound_by: str


@dataclass(frozen=True)
class BoundRow:
    """One layer under one scheme on one machine, over M."""

    machine: str
    scheme: str
    layer: str
    cells: tuple[Cell, ...]

    @property
    def spans(self) -> tuple[Span, ...]:
        """Merge neighbouring M of one bound."""
        spans: list[Span] = []
        for cell in self.cells:
            if spans and spans[-1].bound_by == cell.bound_by:
                spans[-1] = Span(spans[-1].first_m, cell.m, cell.bound_by)
            else:
                spans.append(Span(cell.m, cell.m, cell.bound_by))
        return tuple(spans)

    @property
    def text(self) -> str:
        """Say it shortly: ``M 1-64 DRAM, M 128-256 tensor core``."""
        return ", ".join(
            f"M {m_range(span.first_m, span.last_m)} {bound_words(span.bound_by)}" for span in self.spans
        )

    @property
    def sentence(self) -> str:
        """Say it as a sentence."""
        parts = [
            f"by {_article(span.bound_by)} at M = {m_range(span.first_m, span.last_m)}" for span in self.spans
        ]
        listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
        return f"On {self.machine}, {self.scheme} {self.layer} is bound {listed}."


@dataclass(frozen=True)
class SpeedUp:
    """How much faster than ``base`` a machine is: (first M, last M, slowest, mean, fastest) per span of M."""

    machine: str
    base: str
    spans: tuple[tuple[int, int, float, float, float], ...]
    first_m: int
    last_m: int
    scheme: str = ""  # empty: over all schemes

    @property
    def told(self) -> str:
        """Say how much: ``1.86x faster at M <= 16, unchanged at M = 256``."""
        parts = [f"{_factor(*span[2:])} {self._where(span[0], span[1])}" for span in self.spans]
        return ", ".join(parts)

    @property
    def text(self) -> str:
        """Say it with the names: ``h200-2x-dram, fp16: 1.86x faster at M <= 16, unchanged at M = 256``."""
        return f"{', '.join(filter(None, (self.machine, self.scheme)))}: {self.told}"

    @property
    def short(self) -> str:
        """Say it without the machine and in fewer words."""
        return f"{self.scheme} {self.told}".strip().replace("x faster", "x")

    def _where(self, first: int, last: int) -> str:
        if (first, last) == (self.first_m, self.last_m) and first != last:
            return "at every M"
        return (
            f"at M <= {last}" if first == self.first_m and first != last else f"at M = {m_range(first, last)}"
        )


@dataclass(frozen=True)
class Bounds:
    """The whole report."""

    rows: tuple[BoundRow, ...]
    speed_ups: tuple[SpeedUp, ...]


def collect(results: Sequence[RunResult]) -> Bounds:
    """Merge the runs into rows; the first machine is the base of the speed-ups."""
    return Bounds(bound_table(results), speed_ups_told(results))


def bound_table(results: Sequence[RunResult]) -> tuple[BoundRow, ...]:
    """Return a row per machine, scheme and layer, in the results' order; of equal runs the fastest counts."""
    runs = _fastest(results)
    base = next(iter(runs), ("",))[0]
    rows: dict[tuple[str, str, str], list[Cell]] = {}
    for (machine, scheme, layer, m), run in sorted(runs.items(), key=lambda item: item[0][3]):
        speed_up = _ratio(runs.get((base, scheme, layer, m)), run)
        rows.setdefault((machine, scheme, layer), []).append(Cell(m, run.time_us, run.bound_by, speed_up))
    return tuple(BoundRow(*key, tuple(rows[key])) for key in unique(key[:3] for key in runs))


def speed_ups(results: Sequence[RunResult], base: str = "", scheme: str = "") -> tuple[SpeedUp, ...]:
    """Compare each machine with ``base`` (the first one if empty): geometric means over layers and schemes.

    ``scheme`` keeps to that one of ``scheme_names``. A machine without a run in common is left out.
    """
    runs = {key: run for key, run in _fastest(results).items() if scheme in ("", key[1])}
    machines = unique(key[0] for key in runs)
    if base and base not in machines:
        raise unknown("machine", base, machines)
    reference = base or next(iter(machines), "")
    compared = ((machine, _by_size(runs, machine, reference)) for machine in machines if machine != reference)
    return tuple(_speed_up(machine, reference, factors) for machine, factors in compared if factors)


def speed_ups_told(results: Sequence[RunResult]) -> tuple[SpeedUp, ...]:
    """Compare each machine with the first one: scheme by scheme where they gain differently, else in one."""
    overall = speed_ups(results)
    schemes = unique(scheme_names(results))
    apart = {
        scheme: {each.machine: replace(each, scheme=scheme) for each in speed_ups(results, scheme=scheme)}
        for scheme in schemes
    }
    found: list[SpeedUp] = []
    for one in overall:
        own = [apart[scheme][one.machine] for scheme in schemes if one.machine in apart[scheme]]
        found += own if len({each.told for each in own}) > 1 else [one]
    return tuple(found)


def _fastest(results: Sequence[RunResult]) -> dict[tuple[str, str, str, int], RunResult]:
    best: dict[tuple[str, str, str, int], RunResult] = {}
    for run, scheme in zip(results, scheme_names(results), strict=True):
        key = machine_name(run), scheme, layer_name(run), run.m
        if key not in best or run.time_us < best[key].time_us:
            best[key] = run
    return best


def _ratio(base: RunResult | None, run: RunResult) -> float:
    return base.time_us / run.time_us if base and run.time_us > 0 else float("nan")


def _by_size(runs: dict[tuple[str, str, str, int], RunResult], machine: str, base: str) -> dict[int, float]:
    """Return the geometric mean of the speed-ups at each M, over what both machines ran."""
    logs: dict[int, list[float]] = {}
    for (name, scheme, layer, m), run in runs.items():
        ratio = _ratio(runs.get((base, scheme, layer, m)), run)
        if name == machine and ratio > 0:
            logs.setdefault(m, []).append(math.log(ratio))
    return {m: math.exp(fmean(logs[m])) for m in sorted(logs)}


def _speed_up(machine: str, base: str, factors: dict[int, float]) -> SpeedUp:
    """Merge the most alike neighbours until few spans are left and these differ."""
    groups = [[m] for m in factors]
    while len(groups) > 1:
        means = [_mean(factors, group) for group in groups]
        gaps = [abs(math.log(after / before)) for before, after in pairwise(means)]
        closest = gaps.index(min(gaps))
        if len(groups) <= _MAX_SPANS and gaps[closest] > _ALIKE:
            break
        groups[closest : closest + 2] = [groups[closest] + groups[closest + 1]]
    spans = tuple(_span(factors, group) for group in groups)
    return SpeedUp(machine, base, spans, min(factors), max(factors))


def _mean(factors: dict[int, float], group: Sequence[int]) -> float:
    return math.exp(fmean(math.log(factors[m]) for m in group))


def _span(factors: dict[int, float], group: Sequence[int]) -> tuple[int, int, float, float, float]:
    values = [factors[m] for m in group]
    return group[0], group[-1], min(values), _mean(factors, group), max(values)


def _factor(low: float, mean: float, high: float) -> str:
    """Tell a speed-up; its range where one number would hide more than a tenth."""
    if abs(mean - 1) <= _UNCHANGED and high - low <= 4 * _UNCHANGED:
        return "unchanged"
    if high > 1.1 * low:
        return f"{low:.2f}-{high:.2f}x {'faster' if mean > 1 else 'as fast'}"
    return f"{mean:.2f}x faster" if mean > 1 else f"{1 / mean:.2f}x slower"


def _article(bound: str) -> str:
    words = bound_words(bound)
    return f"the {words}" if bound in ("tensor", "l2", "issue") else words


def finding(rows: Sequence[BoundRow]) -> str:
    """Say which bounds the runs on the first machine have, by share."""
    first = rows[0].machine
    counts = Counter(cell.bound_by for row in rows for cell in row.cells if row.machine == first)
    shares = [
        f"{bound_words(bound)} {100 * count / counts.total():.0f} %"
        for bound, count in counts.most_common(_MAX_SHARES)
    ]
    if len(counts) > _MAX_SHARES:
        rest = counts.total() - sum(count for _, count in counts.most_common(_MAX_SHARES))
        shares.append(f"others {100 * rest / counts.total():.0f} %")
    runs = f"{counts.total()} runs" if counts.total() > 1 else "run"
    return f"What bounds the {runs} on {plain(first, 30)}: {', '.join(shares)}"


def render(data: Bounds, out_dir: Path) -> list[Path]:
    """Write bounds.png, bounds.svg and bounds.csv."""
    from reports.bounds_figure import draw

    with style.drawing():
        files = save_figure(draw(data), out_dir, NAME)
    return [*files, write_csv(list(_rows(data)), COLUMNS, out_dir / f"{NAME}.csv")]


def _rows(data: Bounds) -> Iterator[dict[str, object]]:
    for row in data.rows:
        for cell in row.cells:
            values = (
                row.machine,
                row.scheme,
                row.layer,
                cell.m,
                cell.time_us,
                cell.bound_by,
                cell.speed_up,
                row.sentence,
            )
            yield dict(zip(COLUMNS, values, strict=True))
