"""``tcsim sweep`` and ``tcsim report``: results, table, figures, and what bounds each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from sim.commands.bounds import bounds_tables
from sim.commands.terminal import Table, complain, progress_shown, say, show
from sim.dse.expand import Job, expand
from sim.dse.files import make_directory, write_whole
from sim.dse.run import default_workers, run_jobs
from sim.dse.spec import load_sweep
from sim.dse.store import Outcome, ResultStore
from sim.dse.table import csv_text
from sim.errors import TcsimError

if TYPE_CHECKING:
    from reports.bounds import SpeedUp

STORE = "results.sqlite"
TABLE = "results.csv"
LISTED_FAILURES = 20
NOT_COMPUTED = "not computed yet; the same sweep command goes on"


class InterruptedSweepError(TcsimError):
    """Ctrl-C."""

    status = 130


def run(path: Path, out_dir: Path, workers: int | None, stored: bool) -> int:
    """Run a sweep and write everything into ``out_dir``; return the exit status."""
    from sim.commands.evaluator import check, evaluate, key_of, layers_of

    sweep = load_sweep(path)
    jobs = expand(sweep, layers_of, check)
    make_directory(out_dir)
    keys = [key_of(job.point) for job in jobs]
    with ResultStore(out_dir / STORE) if stored else nullcontext() as store:
        try:
            with progress_shown() as progress:
                outcomes = run_jobs(jobs, keys, evaluate, store, workers or default_workers(), progress)
        except KeyboardInterrupt:
            rest = "finished points are kept, the same command goes on" if stored else "nothing was stored"
            raise InterruptedSweepError(f"interrupted; {rest}") from None
    return finish(jobs, outcomes, out_dir, ())


def report(directory: Path, names: Sequence[str]) -> int:
    """Draw the reports of a sweep again from its store; return the exit status."""
    with ResultStore(directory / STORE, create=False) as store:
        jobs, keys = store.jobs()
        failures = store.failures(keys)
        known = {**failures, **store.load(keys)}
    missing = Outcome(None, NOT_COMPUTED)
    return finish(jobs, [known.get(key, missing) for key in keys], directory, names)


def finish(jobs: Sequence[Job], outcomes: Sequence[Outcome], out_dir: Path, names: Sequence[str]) -> int:
    """Write the table and the reports, say what bounds each layer, and name the points that failed."""
    from reports.bounds import speed_ups_told
    from reports.registry import render

    write_whole(out_dir / TABLE, csv_text(jobs, outcomes))
    results = [outcome.result() for outcome in outcomes]
    good = [result for result in results if result is not None]
    written = [out_dir / TABLE]
    if good:
        written += render(names, good, out_dir)
        for table in bounds_tables(jobs, results):
            say("")
            show(table)
        if told := speed_ups_told(good):
            say("")
            show(
                Table(
                    ("machine", "scheme", "speed-up"), tuple(_thinned(told)), f"Speed-up over {told[0].base}"
                )
            )
        say("")
    for path in written:
        say(f"wrote {path}")
    return _failures(jobs, outcomes)


def _thinned(told: Sequence[SpeedUp]) -> Iterator[tuple[str, str, str]]:
    """Yield the rows, naming the machine where it changes."""
    before = ""
    for each in told:
        yield each.machine if each.machine != before else "", each.scheme or "all", each.told
        before = each.machine


def _failures(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> int:
    failed = [(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True) if outcome.record is None]
    for job, outcome in failed[:LISTED_FAILURES]:
        complain(f"failed: {job.point.label}: {outcome.error}")
    if len(failed) > LISTED_FAILURES:
        complain(f"failed: {len(failed) - LISTED_FAILURES} more points; the column error of {TABLE} has all")
    return 1 if failed else 0
