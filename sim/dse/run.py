"""Run a sweep's points: read what the store has, compute what is missing, in as many processes as wanted."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing

from sim.dse.expand import Job, Point
from sim.dse.store import Outcome, ResultStore
from sim.dse.workers import Evaluate, Task, in_process, in_workers

Progress = Callable[[int, int, int], None]  # points done, points in all, points that failed
LONGEST_CHUNK = 64


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def run_jobs(
    jobs: Sequence[Job],
    keys: Sequence[str],
    evaluate: Evaluate,
    store: ResultStore | None = None,
    workers: int = 1,
    progress: Progress = lambda done, total, failed: None,
) -> list[Outcome]:
    """Return the outcome of every job, in the jobs' order.

    ``evaluate`` is a module's function (workers import it); ``keys`` are the jobs' keys in ``store``.
    """
    known = store.load(keys) if store else {}
    outcomes: dict[int, Outcome] = {i: known[key] for i, key in enumerate(keys) if key in known}
    missing = [(i, job.point) for i, job in enumerate(jobs) if i not in outcomes]
    chunks = chunked(missing, workers)
    if store:
        store.set_jobs(jobs, keys)
    progress(len(outcomes), len(jobs), 0)
    alone = workers == 1 or len(chunks) == 1
    failed = 0
    with closing(
        in_process(evaluate, chunks) if alone else in_workers(evaluate, chunks, workers)
    ) as arriving:
        for position, outcome in arriving:
            if store:
                store.put(keys[position], outcome)
            outcomes[position] = outcome
            failed += outcome.record is None
            progress(len(outcomes), len(jobs), failed)
    return [outcomes[i] for i in range(len(jobs))]


def chunked(tasks: Sequence[Task], workers: int) -> list[list[Task]]:
    """Group the points that run the same programs: one worker then executes these once for all machines.

    Chunks are short enough that every worker has several.
    """
    groups: dict[tuple[object, ...], list[Task]] = {}
    for task in tasks:
        groups.setdefault(_program(task[1]), []).append(task)
    size = max(1, min(LONGEST_CHUNK, math.ceil(len(tasks) / (4 * workers))))
    return [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]


def _program(point: Point) -> tuple[object, ...]:
    return point.scheme, point.options, point.tile, point.m, point.n, point.k
