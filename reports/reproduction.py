"""Published numbers beside simulated ones: the rows of ``tcsim reproduce``, its page, table and figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from reports.markdown import table
from reports.output import replace_file, save_figure, write_csv

UNITS = {"speedup": "x", "energy_ratio": "x", "time_us": "µs", "step_ms": "ms"}
CLOSE = 0.15  # a ratio within it needs no word, nor does a value within a published range
STEM = "reproduction"


@dataclass(frozen=True)
class Row:
    """One claim. ``simulated`` is the geometric mean of what lies between ``simulated_low`` and ``simulated_high``."""

    paper: str
    claim: str
    machine: str
    quantity: str  # a key of UNITS
    published_low: float
    published_high: float
    simulated: float
    simulated_low: float
    simulated_high: float
    source: str
    note: str  # why they differ, as far as one knows without simulating
    computed: str  # what the simulation says of it
    bar_of: str = ""  # the claim of which this is one model

    @property
    def nearest(self) -> float:
        """Return the published number; of a range the one that is nearest to the simulated."""
        return min(max(self.simulated, self.published_low), self.published_high)

    @property
    def ratio(self) -> float:
        """Return simulated / published; 1 within a range."""
        return self.simulated / self.nearest

    @property
    def why(self) -> str:
        """Return the note, if they differ, and what the simulation says."""
        ranged = self.published_low < self.published_high
        differs = self.ratio != 1 if ranged else not 1 - CLOSE <= self.ratio <= 1 + CLOSE
        parts = [self.note if differs else "", self.computed]
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class Sensitivity:
    """How far one claim moves while an input that the paper does not say goes through its values."""

    claim: str
    unknown: str
    why: str
    low: float  # of the input
    high: float
    simulated_low: float
    simulated_high: float
    implied: (
        float | None
    )  # value of the input with which the published number comes out, where it is asked for


@dataclass(frozen=True)
class Reproduction:
    """One paper."""

    title: str
    reference: str
    how: str
    rows: tuple[Row, ...]
    sensitivities: tuple[Sensitivity, ...]


def number(value: float) -> str:
    """Return three digits, without an exponent."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def value_text(low: float, high: float, quantity: str) -> str:
    """Return one number or a range, with its unit."""
    text = number(low) if low == high else f"{number(low)} to {number(high)}"
    return f"{text} {UNITS[quantity]}"


def matrix(found: Sequence[Sensitivity]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return header and cells: a row per unknown input, a column per claim, the range of each."""
    claims = list(dict.fromkeys(each.claim for each in found))
    unknowns = list(dict.fromkeys(each.unknown for each in found))
    cells = {(each.unknown, each.claim): each for each in found}
    lines = [
        (
            _unknown_text(cells[name, claims[0]]),
            *(
                f"{cells[name, claim].simulated_low:.2f} to {cells[name, claim].simulated_high:.2f}"
                for claim in claims
            ),
        )
        for name in unknowns
    ]
    for name in unknowns:
        if any(cells[name, claim].implied is not None for claim in claims):
            lines.append((f"{name}, as published", *(_implied(cells[name, claim]) for claim in claims)))
    return ("what is not said", *claims), tuple(lines)


def _unknown_text(each: Sensitivity) -> str:
    low, high = (f"{value:,.0f}" if value >= 1000 else f"{value:g}" for value in (each.low, each.high))
    return f"{each.unknown}, {low} to {high}"


def _implied(each: Sensitivity) -> str:
    return "none" if each.implied is None else f"{each.implied:.2f}"


def render(found: Sequence[Reproduction], out_dir: Path) -> list[Path]:
    """Write the page, its table and its figure."""
    from reports.reproduction_figure import draw
    from reports.style import drawing

    rows = [row for each in found for row in each.rows]
    columns = [*(each.name for each in fields(Row)), "ratio"]
    paths = [
        write_csv([{**asdict(row), "ratio": row.ratio} for row in rows], columns, out_dir / f"{STEM}.csv")
    ]
    with drawing():
        paths += save_figure(draw(found), out_dir, STEM)
    text = page(found)
    return [replace_file(out_dir / f"{STEM}.md", lambda path: _write(path, text)), *paths]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def page(found: Sequence[Reproduction]) -> str:
    """Return everything as one page of Markdown."""
    parts = ["# Published and simulated", f"![Published and simulated]({STEM}.png)"]
    for each in found:
        parts += [f"## {each.title}", each.reference, each.how.strip(), _row_table(each.rows)]
        if each.sensitivities:
            header, cells = matrix(each.sensitivities)
            parts += [
                "What the paper does not say, and how far each number moves with it:",
                table(header, cells),
            ]
            reasons = {line.unknown: line.why for line in each.sensitivities}
            parts.append("\n".join(f"* {name}: {why}." for name, why in reasons.items()))
    return "\n\n".join(parts) + "\n"


def _row_table(rows: Sequence[Row]) -> str:
    header = ("claim", "machine", "source", "why", "published", "simulated", "ratio")
    cells = [
        (
            row.claim,
            row.machine,
            row.source,
            row.why,
            value_text(row.published_low, row.published_high, row.quantity),
            f"{number(row.simulated)} {UNITS[row.quantity]}",
            f"{row.ratio:.2f}",
        )
        for row in rows
    ]
    return table(header, cells, left=4)
