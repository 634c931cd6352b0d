"""A sweep's results as one table: a row per point, the same bytes however the sweep was interrupted."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from sim.dse.expand import Job
from sim.dse.store import Outcome
from sim.results import BOUNDS, COUNTERS, STALLS, RunResult

POINT = ("models", "layers", "arch", "set", "extensions", "scheme", "options", "tile", "m", "n", "k")
TOTALS = ("time_us", "cycles", "clock_mhz", "bound_by", "energy_uj", "flops", "compulsory_bytes")
RESULT = (
    *TOTALS,
    *(f"{name}_us" for name in BOUNDS),
    *(f"stall_{name}" for name in STALLS),
    *COUNTERS,
    "bound_text",
    "spread_us",
    "config_hash",
    "version",
)


def csv_text(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> str:
    """Return the table; numbers are printed so that reading them back gives the same bits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*POINT, *RESULT, "error"))
    for job, outcome in zip(jobs, outcomes, strict=True):
        result = outcome.result()
        cells = _result_cells(result) if result else [""] * len(RESULT)
        writer.writerow((*_point_cells(job, result), *cells, outcome.error))
    return out.getvalue()


def _point_cells(job: Job, result: RunResult | None) -> tuple[object, ...]:
    point = job.point
    options = "; ".join(f"{key}={value}" for key, value in point.options)
    ran = result.tile.removeprefix(f"{result.scheme} ") if result else ""
    models = dict.fromkeys(model for model, _ in job.layers if model)
    layers = "; ".join(name for _, name in job.layers)
    return (
        "; ".join(models),
        layers,
        point.arch,
        "; ".join(point.overrides),
        "; ".join(point.extensions),
        point.scheme,
        options,
        ran or point.tile,
        point.m,
        point.n,
        point.k,
    )


def _result_cells(result: RunResult) -> list[object]:
    return [
        *(getattr(result, name) for name in TOTALS),
        *(result.breakdown_us.get(name, 0.0) for name in BOUNDS),
        *(result.stalls.get(name, 0.0) for name in STALLS),
        *(result.counters.get(name, 0.0) for name in COUNTERS),
        result.bound_text,
        result.spread_us,
        result.config_hash,
        result.version,
    ]
