"""How the commands write: rich tables on a terminal, aligned plain text when piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from sim.dse.run import Progress

PLAIN_EVERY_S = 10.0  # between two progress lines when piped
FIRST_USE = "starting; on first use the engines are compiled, which takes a minute or two"


@dataclass(frozen=True)
class Table:
    """Rows under a header, which is not shown if it has no word; numbers are aligned to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: tuple[int, ...] = ()  # columns


def say(text: str) -> None:
    """Write one line to standard output."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(text + "\n")


def show(table: Table) -> None:
    """Write a table."""
    if sys.stdout.isatty():
        _show_rich(table)
    else:
        _show_plain(table)


def _show_rich(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    rich_table = RichTable(title=table.title or None, title_justify="left", box=box.SIMPLE_HEAD)
    rich_table.show_header = any(table.header)
    for column, name in enumerate(table.header):
        rich_table.add_column(Text(name), justify="right" if column in table.right else "left")
    for row in table.rows:
        rich_table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(rich_table)


def _show_plain(table: Table) -> None:
    if table.title:
        say(table.title)
    rows = [row for row in (table.header, *table.rows) if any(row)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    for row in rows:
        cells = (
            cell.rjust(width) if column in table.right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join(cells).rstrip())


@contextmanager
def progress_shown(
    unit: str = "points", doing: str = "simulating", first_use: str = FIRST_USE
) -> Iterator[Progress]:
    """Show a sweep's progress and the time left: a bar on a terminal, now and then a line when piped."""
    if not sys.stdout.isatty():
        yield _PlainProgress(unit, first_use)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    left = (TextColumn("left"), TimeRemainingColumn())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        *left,
    )
    with RichProgress(*columns) as bar:
        task = bar.add_task(first_use, total=None)
        calls = count()

        def update(done: int, total: int, failed: int) -> None:
            description = f"{doing} ({failed} failed)" if failed else doing
            first = next(calls) == 0 and done < total
            bar.update(task, completed=done, total=total, description=first_use if first else description)

        yield update


class _PlainProgress:
    """Lines such as ``12/288 points, 40 s left``, at most one every few seconds."""

    def __init__(self, unit: str = "points", first_use: str = FIRST_USE) -> None:
        self._unit, self._first_use = unit, first_use
        self._last = time.monotonic()
        self._stored = -1  # points that were there at the start
        self._begun: tuple[float, int] | None = None  # when the first new point came: compiling is no measure

    def __call__(self, done: int, total: int, failed: int) -> None:
        now = time.monotonic()
        first = self._stored < 0
        if first:
            self._stored = done
        elif self._begun is None:
            self._begun = now, done
        if not first and done < total and now - self._last < PLAIN_EVERY_S:
            return
        if first and done == total:
            say(f"{total} {self._unit}, all in the store")
            return
        self._last = now
        notes = [f"{done}/{total} {self._unit}", *([self._first_use] if first else [])]
        notes += [f"{failed} failed"] if failed else []
        notes += self._left(done, total, now)
        say(", ".join(notes))
        sys.stdout.flush()

    def _left(self, done: int, total: int, now: float) -> list[str]:
        if self._begun is None or not self._begun[1] < done < total:
            return []
        since, before = self._begun
        return [f"{(now - since) / (done - before) * (total - done):.0f} s left"]
