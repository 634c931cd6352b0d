"""``tcsim reproduce``: the papers' headline numbers, published beside simulated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from reports.reproduction import UNITS, Reproduction, Row, matrix, number, render, value_text
from sim.commands.claims import all_points, rows, sensitivities
from sim.commands.evaluator import evaluate
from sim.commands.parallel import in_order
from sim.commands.terminal import Table, progress_shown, say, show
from sim.dse.expand import Point
from sim.dse.files import make_directory
from sim.dse.run import default_workers
from sim.results import RunResult
from workloads.papers import Paper, available_papers, load_paper


def run(claims: str | None, as_json: bool, out: Path | None, workers: int | None) -> None:
    """Simulate the claims of the named papers (comma-separated; None: all) and say how they compare."""
    names = available_papers() if claims is None else [name.strip() for name in claims.split(",")]
    papers = [load_paper(name, "--claims") for name in dict.fromkeys(names)]
    if out is not None:
        make_directory(out)
    found = collect(papers, simulated(all_points(papers), workers or default_workers(), quiet=as_json))
    if as_json:
        say(json.dumps([_record(each) for each in found], allow_nan=False))
    for each in () if as_json else found:
        _say(each)
    for path in render(found, out) if out is not None else ():
        if not as_json:
            say(f"wrote {path}")


def collect(papers: Sequence[Paper], results: dict[Point, RunResult]) -> tuple[Reproduction, ...]:
    """Put published and simulated side by side."""
    return tuple(
        Reproduction(
            paper.title,
            paper.reference,
            paper.how,
            tuple(rows(paper, results)),
            tuple(sensitivities(paper)),
        )
        for paper in papers
    )


def simulated(points: Sequence[Point], workers: int, quiet: bool = False) -> dict[Point, RunResult]:
    """Simulate every point."""
    if not points:
        return {}
    if quiet:
        return dict(zip(points, in_order(evaluate, points, workers), strict=True))
    found = {}
    with progress_shown() as progress:
        for done, result in enumerate(in_order(evaluate, points, workers), 1):
            found[points[done - 1]] = result
            progress(done, len(points), 0)
    return found


def _record(each: Reproduction) -> dict[str, object]:
    record = asdict(each)
    for row, own in zip(record["rows"], each.rows, strict=True):
        row |= {"ratio": own.ratio, "unit": UNITS[own.quantity]}
    return record


def _say(each: Reproduction) -> None:
    say(f"{each.title}: {each.reference}")
    header = ("", "claim", "machine", "published", "simulated", "ratio")
    table = [_cells(index, row) for index, row in enumerate(each.rows, 1)]
    show(Table(header, tuple(table), right=(0, 3, 4, 5)))
    say("")
    show(Table(("", "source", "why"), tuple(_why(each.rows))))
    if each.sensitivities:
        say("")
        say("What the paper does not say, and how far each number moves with it:")
        unknowns, cells = matrix(each.sensitivities)
        show(Table(unknowns, cells, right=tuple(range(1, len(unknowns)))))
    say("")


def _cells(index: int, row: Row) -> tuple[str, ...]:
    published = value_text(row.published_low, row.published_high, row.quantity)
    simulated_text = f"{number(row.simulated)} {UNITS[row.quantity]}"
    return str(index), row.claim, row.machine, published, simulated_text, f"{row.ratio:.2f}"


def _why(found: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    """Return source and reason of each row; those of single models are in the files."""
    for index, row in enumerate(found, 1):
        if not row.bar_of:
            yield str(index), row.source, row.why
