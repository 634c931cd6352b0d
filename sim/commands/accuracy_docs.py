"""Renews what the documents say of accuracy: the tables of README.md and docs/accuracy.md, its figure and its rows."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

from gpu_kernels.measuring.rows import FOLDER
from gpu_kernels.micro.collect import read_folder
from reports.accuracy import blocks, with_blocks
from reports.borders import border_costs, border_table
from reports.kernel_speed import Speed, speed_table
from reports.microbenchmarks import Reading, micro_csv, micro_table
from reports.validation import COLUMNS, collect, csv_rows, render
from sim.arch.load import load_gpu
from sim.commands.calibrate import TOLERANCE, comparisons
from sim.dse.files import write_whole
from sim.errors import ConfigError
from sim.validation.summary import Summary
from workloads.schemes.base import get_scheme

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/accuracy.md", "docs/kernels.md", "docs/microbenchmarks.md")
ROWS, READINGS, FIGURE = "docs/accuracy.csv", "docs/microbenchmarks.csv", "docs/img/validation.png"
GPU = "h200"  # whose microbenchmarks are shown


def write(summary: Summary) -> list[Path]:
    """Write all that is generated; the files written."""
    if not (ROOT / PAGES[1]).is_file():
        raise ConfigError("--write-docs", f"there is no {PAGES[1]} here; allowed: in a checkout")
    if not summary.schemes:
        raise ConfigError(
            "--write-docs", f"no row has a time that was compared ({summary.stale} rows are stale)"
        )
    texts = generated(summary)
    for name, text in texts.items():
        write_whole(ROOT / name, text)
    with tempfile.TemporaryDirectory() as folder:
        png = next(
            path for path in render(collect(summary.comparisons), Path(folder)) if path.suffix == ".png"
        )
        (ROOT / FIGURE).write_bytes(png.read_bytes())
    return [*(ROOT / name for name in texts), ROOT / FIGURE]


def generated(summary: Summary) -> dict[str, str]:
    """Return the texts of the files that hold generated parts, by path in the checkout."""
    readings = _readings()
    found = blocks(summary) | {
        "speed": speed_table(_speeds(summary)),
        "borders": border_table(border_costs(summary.comparisons)),
        "micro": micro_table(readings, 100 * TOLERANCE),
    }
    pages = {name: with_blocks((ROOT / name).read_text(encoding="utf-8"), found) for name in PAGES}
    return {**pages, ROWS: _csv(summary), READINGS: micro_csv(readings)}


def _speeds(summary: Summary) -> list[Speed]:
    """Return the timed rows that were compared: those of today's kernels."""
    found = []
    for each in summary.comparisons:
        if each.time is None:
            continue
        case = each.case
        found.append(
            Speed(
                scheme=case.scheme,
                options=" ".join(f"{name}={value}" for name, value in case.options.items()),
                tile=case.tile + (" (earlier)" if each.superseded else ""),
                m=case.m,
                n=case.n,
                k=case.k,
                time_us=each.time.measured_us,
                cublas_us=each.cublas_us,
                bytes=get_scheme(case.scheme).compulsory_bytes(case.m, case.n, case.k, case.options),
            )
        )
    return found


def _readings() -> list[Reading]:
    rows, _ = read_folder(FOLDER / GPU / "micro")
    compared = comparisons(rows, load_gpu(GPU))
    return [Reading(each.benchmark, each.point, each.measured, each.simulated) for each in compared]


def _csv(summary: Summary) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_rows(summary.comparisons))
    return stream.getvalue()
