"""What bounds each layer, in words: one row per machine, scheme and layer, with ranges of M."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from reports.naming import bound_words, m_range
from sim.commands.terminal import Table
from sim.dse.expand import Job
from sim.results import RunResult

HEADER = ("machine", "scheme", "layer", "N", "K", "bound by")
Row = tuple[str, str, str, str, str]  # the header without the bound


def bounds_table(jobs: Sequence[Job], results: Sequence[RunResult | None]) -> Table:
    """Merge neighbouring M with the same bound: ``M 1-64: DRAM; M 128-256: tensor core``."""
    rows: dict[Row, list[tuple[int, str]]] = {}
    several = len({model for job in jobs for model, _ in job.layers}) > 1
    for job, result in zip(jobs, results, strict=True):
        bound = bound_words(result.bound_by) if result else "failed"
        rows.setdefault(_row(job, several), []).append((job.point.m, bound))
    return Table(HEADER, tuple(_thinned(rows)), "What bounds each layer", right=(3, 4))


def _row(job: Job, several: bool) -> Row:
    names = (f"{model} {layer}" if several and model else layer for model, layer in job.layers)
    point = job.point
    return point.machine, point.method, ", ".join(names), str(point.n), str(point.k)


def ranges(bounds: Iterable[tuple[int, str]]) -> str:
    """Write (M, bound) pairs as ranges of M."""
    parts = []
    for bound, group in groupby(sorted(bounds), key=lambda pair: pair[1]):
        sizes = [m for m, _ in group]
        parts.append(f"M {m_range(sizes[0], sizes[-1])}: {bound}")
    return "; ".join(parts)


def _thinned(rows: dict[Row, list[tuple[int, str]]]) -> Iterable[tuple[str, ...]]:
    """Yield the rows, naming machine and scheme where they change, with a rule between machines."""
    before: tuple[str, ...] = ("", "")
    for (machine, scheme, *layer), bounds in rows.items():
        if before[0] and machine != before[0]:
            yield ()
        named = (
            machine if machine != before[0] else "",
            scheme if (machine, scheme) != before else "",
        )
        before = (machine, scheme)
        yield (*named, *layer, ranges(bounds))
