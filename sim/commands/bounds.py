"""What bounds each layer, in words: one table per machine, a row per scheme and layer, with ranges of M."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from reports.naming import bound_words, m_range
from sim.commands.terminal import Table
from sim.dse.expand import Job, Point
from sim.results import RunResult

HEADER = ("scheme", "layer", "N×K", "bound by")
Bounds = dict[tuple[str, str, str], list[tuple[int, str]]]  # (scheme, layer, N×K) -> (M, bound)


def bounds_tables(jobs: Sequence[Job], results: Sequence[RunResult | None]) -> Iterator[Table]:
    """Yield a table per machine, with neighbouring M of the same bound merged."""
    machines: dict[str, Bounds] = {}
    several = len({model for job in jobs for model, _ in job.layers}) > 1
    methods = _short_methods([job.point for job in jobs])
    for job, result in zip(jobs, results, strict=True):
        point = job.point
        row = methods[point.method], _layers(job, several), f"{point.n}×{point.k}"
        bound = bound_words(result.bound_by) if result else "failed"
        machines.setdefault(point.machine, {}).setdefault(row, []).append((point.m, bound))
    for machine, bounds in machines.items():
        yield Table(HEADER, tuple(_thinned(bounds)), f"What bounds each layer on {machine}")


def _layers(job: Job, several: bool) -> str:
    return ", ".join(f"{model} {layer}" if several and model else layer for model, layer in job.layers)


def _short_methods(points: Iterable[Point]) -> dict[str, str]:
    """Shorten a scheme with options and tile to its bare name where that says enough."""
    methods: dict[str, set[str]] = {}
    for point in points:
        methods.setdefault(point.scheme, set()).add(point.method)
    return {
        method: scheme if len(several) == 1 else method
        for scheme, several in methods.items()
        for method in several
    }


def ranges(bounds: Iterable[tuple[int, str]]) -> str:
    """Write (M, bound) pairs as ranges of M: ``M 1-64: DRAM; M 128-256: tensor core``."""
    parts = []
    for bound, group in groupby(sorted(bounds), key=lambda pair: pair[1]):
        sizes = [m for m, _ in group]
        parts.append(f"M {m_range(sizes[0], sizes[-1])}: {bound}")
    return "; ".join(parts)


def _thinned(bounds: Bounds) -> Iterator[tuple[str, ...]]:
    """Yield the rows, naming the scheme where it changes."""
    before = ""
    for (scheme, *layer), found in bounds.items():
        yield (scheme if scheme != before else "", *layer, ranges(found))
        before = scheme
