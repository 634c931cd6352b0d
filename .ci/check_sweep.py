"""Check that a sweep left a result for every point, and its figures: ``check_sweep.py DIRECTORY``."""

from __future__ import annotations

import csv
import sqlite3
import sys
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"
FIGURES = ("roofline", "bank_conflicts")  # a name begins with the report's


def mistakes(directory: Path) -> list[str]:
    """Return one line per thing that is missing or damaged."""
    lines = [
        f"{name}: missing" for name in ("results.sqlite", "results.csv") if not (directory / name).is_file()
    ]
    if lines:
        return lines
    return [*_store(directory / "results.sqlite"), *_table(directory / "results.csv"), *_figures(directory)]


def _store(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        connection.close()
    return [] if answer == "ok" else [f"{path.name}: {answer}"]


def _table(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = [] if rows else [f"{path.name}: no rows"]
    lines += [f"{path.name}: {row['error']}" for row in rows if row.get("error")]
    return lines + [
        f"{path.name}: a row without a time" for row in rows if not float(row["time_us"] or 0) > 0
    ]


def _figures(directory: Path) -> list[str]:
    lines = []
    for report in FIGURES:
        for suffix in (".png", ".svg"):
            found = sorted(directory.rglob(f"{report}*{suffix}"))
            lines += [] if found else [f"{report}: no {suffix[1:].upper()}"]
            lines += [f"{path.name}: damaged" for path in found if not _is_figure(path)]
    return lines


def _is_figure(path: Path) -> bool:
    content = path.read_bytes()
    if path.suffix == ".png":
        return content.startswith(PNG) and len(content) > 10_000
    return b"<svg" in content[:2000] and content.rstrip().endswith(b"</svg>")


def main(directory: Path) -> int:
    """Print what is wrong, or that nothing is."""
    found = mistakes(directory)
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    sys.stdout.write("\n".join(found or names) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
