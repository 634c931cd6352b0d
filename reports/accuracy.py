"""The accuracy tables of README.md and docs/accuracy.md, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from reports.markdown import table
from sim.validation.comparison import VARIANTS, Comparison, TimePair
from sim.validation.statistics import Accuracy, accuracy
from sim.validation.summary import NOISE_PCT, Summary

KIND_WORDS = {
    "held_out": "Rows measured after their prediction was committed",
    "development": "Development rows, measured before a prediction was committed",
    "unlabelled": "Rows of which it is not known whether they were predicted first",
}
MARK, END = "<!-- accuracy: {} -->", "<!-- accuracy: end -->"


def blocks(summary: Summary) -> dict[str, str]:
    """Return every generated block by the name in its marker."""
    return {
        "times": times(summary),
        "foretold": foretold(summary),
        "counters": counters(summary),
        "checks": checks(summary),
        "tiles": tiles(summary),
    }


def with_blocks(text: str, found: dict[str, str]) -> str:
    """Return ``text`` with what stands between its markers renewed; blocks it does not ask for are left out."""
    for name, block in found.items():
        before, mark, rest = text.partition(MARK.format(name))
        if mark:
            _, end, after = rest.partition(END)
            if not end:
                raise ValueError(f"no {END} behind {mark}")
            text = f"{before}{mark}\n{block}\n{end}{after}"
    return text


HEADER = ("kernels", "rows", "MAPE", "max", "bias", "r", "MAPE in cycles", "MAPE, clock predicted")


def foretold(summary: Summary) -> str:
    """Return the errors of the predictions that were committed before their rows were measured."""
    schemes = dict.fromkeys(scheme for scheme, _ in summary.foretold)
    rows = [
        (_kernel(scheme), *_cells([summary.foretold[scheme, variant] for variant in VARIANTS]))
        for scheme in schemes
    ]
    return table(HEADER, rows) if rows else "No recorded row has one."


def times(summary: Summary) -> str:
    """Return the errors of time by scheme and kind of row."""
    parts = []
    for kind in summary.kinds:
        rows = [
            (_kernel(scheme), *_cells([summary.accuracy[scheme, kind, variant] for variant in VARIANTS]))
            for scheme in (*summary.schemes, "")
            if (scheme, kind, VARIANTS[0]) in summary.accuracy
        ]
        if rows:
            parts.append(f"{KIND_WORDS[kind]}:\n\n{table(HEADER, rows)}")
    return "\n\n".join(parts)


def _kernel(scheme: str) -> str:
    return f"`{scheme}`" if scheme else "all"


def _cells(variants: Sequence[Accuracy]) -> tuple[str, ...]:
    """Return the cells of one row; ``variants`` as in VARIANTS."""
    first, cycles, predicted = variants
    r = "" if first.pearson_r is None else f"{first.pearson_r:.4f}"
    percents = (f"{first.mape_pct:.1f} %", f"{first.max_ape_pct:.1f} %", f"{first.bias_pct:+.1f} %")
    return str(first.cases), *percents, r, f"{cycles.mape_pct:.1f} %", f"{predicted.mape_pct:.1f} %"


def counters(summary: Summary) -> str:
    """Return how the counters agree."""
    header = ("counter", "rows", "exact", f"within {NOISE_PCT:g} %", "beyond", "farthest off")
    rows = [
        (
            name.replace("_", " "),
            *map(str, (each.rows, each.exact, each.within_noise, each.rows - each.exact - each.within_noise)),
            f"{each.worst_pct:+.2f} %",
        )
        for name, each in summary.counters.items()
    ]
    return table(header, rows)


def checks(summary: Summary) -> str:
    """Return goals and tolerances beside what was reached."""
    words = {"mape_pct": "MAPE", "max_ape_pct": "max"}
    rows = [
        (
            f"{each.subject.replace('_', ' ')} {words.get(each.quantity, 'farthest off')}",
            "reached" if each.reached else "missed" if each.passed else "beyond the tolerance",
            *(f"{value:.3g} %" for value in (each.value, each.goal, each.tolerance)),
        )
        for each in summary.checks
    ]
    return table(("what", "goal", "now", "goal is", "tolerance"), rows, left=2)


def tiles(summary: Summary) -> str:
    """Return the errors of time at the recorded clock by scheme and tile."""
    timed = [(each, each.time) for each in summary.comparisons if each.time]
    ordered = sorted(timed, key=lambda pair: _tile_key(pair[0]))
    rows = [
        (f"`{scheme}` {tile}", *_tile_cells([time for _, time in group]))
        for (scheme, tile), group in groupby(
            ordered, key=lambda pair: (pair[0].case.scheme, pair[0].case.tile)
        )
    ]
    return table(("tile", "rows", "bias", "MAPE", "least", "most"), rows)


def _tile_key(comparison: Comparison) -> tuple[str, list[int], str]:
    case = comparison.case
    return case.scheme, [int(part) for part in case.tile.split("x") if part.isdigit()], case.tile


def _tile_cells(group: Sequence[TimePair]) -> tuple[str, ...]:
    errors = [time.error_pct() for time in group]
    found = accuracy([time.pair(VARIANTS[0]) for time in group])
    ends = (f"{value:+.1f} %" for value in (min(errors), max(errors)))
    return str(found.cases), f"{found.bias_pct:+.1f} %", f"{found.mape_pct:.1f} %", *ends
