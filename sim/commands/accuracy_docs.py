"""Renews what the documents say of accuracy: the tables of README.md and docs/accuracy.md, its figure and its rows."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

from reports.accuracy import blocks, with_blocks
from reports.validation import COLUMNS, collect, csv_rows, render
from sim.dse.files import write_whole
from sim.errors import ConfigError
from sim.validation.summary import Summary

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/accuracy.md")
ROWS, FIGURE = "docs/accuracy.csv", "docs/img/validation.png"


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
    found = blocks(summary)
    pages = {name: with_blocks((ROOT / name).read_text(encoding="utf-8"), found) for name in PAGES}
    return {**pages, ROWS: _csv(summary)}


def _csv(summary: Summary) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_rows(summary.comparisons))
    return stream.getvalue()
