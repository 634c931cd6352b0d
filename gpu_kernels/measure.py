"""Measure the bundled kernels on this machine's GPU: ``python -m gpu_kernels.measure --out DIR``.

Writes ``rows.jsonl`` (what ``gpu_kernels/measurements`` keeps), ``failures.json``, and the raw outputs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from gpu_kernels.measuring.cases import SUITES, suite_cases
from gpu_kernels.measuring.device import import_cupy
from gpu_kernels.measuring.rows import Row, write_rows
from gpu_kernels.measuring.session import Session
from sim.arch.load import load_gpu
from sim.errors import TcsimError

USER_ERROR = 2
SOME_FAILED = 1
LISTED_FAILURES = 20


def measure(
    suite: str,
    out: Path,
    gpu_name: str = "h200",
    date: str = "",
    seed: int = 0,
    counters: bool = True,
    seconds: float = math.inf,
) -> Session:
    """Run a session and write its files; rows are written before the counters too, in case those hang."""
    import_cupy()  # before anything is written
    gpu = load_gpu(gpu_name)
    today = date or datetime.date.today().isoformat()
    session = Session(gpu, gpu_name, suite_cases(suite, gpu), out, today, seed, seconds)
    session.verify_and_time()
    _write(session)
    if counters:
        session.count()
        _write(session)
    return session


def _write(session: Session) -> None:
    write_rows(session.folder / "rows.jsonl", session.rows())
    failures = {str(index): _named(session, index) for index in sorted(session.failures)}
    (session.folder / "failures.json").write_text(json.dumps(failures, indent=1) + "\n", encoding="utf-8")


def _named(session: Session, index: int) -> str:
    case = session.cases[index]
    name = f"{case.scheme} {case.tile} {case.m}x{case.n}x{case.k} {dict(case.options)}"
    return f"{name}: {session.failures[index]}"


def table(rows: Sequence[Row]) -> list[str]:
    """Return the best tile of each shape with cuBLAS beside it, then what the counters say."""
    lines = [
        f"{'scheme':10}{'m':>5}{'n':>7}{'k':>7}  {'tile':9}{'us':>9}{'spread':>8}{'cuBLAS':>9}{'MHz':>6}"
    ]
    best: dict[tuple[str, int, int, int], Row] = {}
    for row in rows:
        key = row.scheme, row.m, row.n, row.k
        if row.timing and (key not in best or row.timing.median_us < _us(best[key])):
            best[key] = row
    lines += [_line(row) for row in best.values()]
    worst = max((row.relative_error for row in rows), default=0.0)
    return [*lines, *_counter_lines(rows), f"{len(rows)} rows verified, largest relative error {worst:.2e}"]


def _us(row: Row) -> float:
    return row.timing.median_us if row.timing else float("inf")


def _line(row: Row) -> str:
    timing = row.timing
    if timing is None:
        return ""
    cublas = f"{timing.cublas_us:9.2f}" if timing.cublas_us else f"{'-':>9}"
    clock = f"{timing.clock_mhz:6.0f}" if timing.clock_mhz else f"{'-':>6}"
    times = f"{timing.median_us:9.2f}{timing.spread_us:8.3f}"
    return f"{row.scheme:10}{row.m:5}{row.n:7}{row.k:7}  {row.tile:9}{times}{cublas}{clock}"


def _counter_lines(rows: Iterable[Row]) -> list[str]:
    counted = [row.counters for row in rows if row.counters]
    if not counted:
        return ["no counters"]
    missing = [
        name
        for name, value in counted[0].model_dump().items()
        if value is None and all(getattr(each, name) is None for each in counted)
    ]
    varying = sum("instructions" in each.varying for each in counted)
    waves = sum("shared_wavefronts" in each.varying for each in counted)
    return [
        f"{len(counted)} rows with counters; not available: {', '.join(missing) or 'none'}; "
        f"instructions vary in {varying}, shared wavefronts in {waves}"
    ]


def summary_lines(session: Session, seconds: float) -> list[str]:
    """Return the table, how long it took, and what failed."""
    failed = [_named(session, index) for index in sorted(session.failures)]
    lines = [*table(session.rows()), f"{seconds:.0f} s", f"{len(failed)} cases failed"]
    return [*lines, *failed[:LISTED_FAILURES]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m gpu_kernels.measure", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--suite", default="all", help=f"{', '.join(SUITES)}, drawn-SEED, or a suite of workloads"
    )
    parser.add_argument("--gpu", default="h200", help="the GPU's file in arch_configs/gpus")
    parser.add_argument("--date", default="", help="YYYY-MM-DD, today by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no case after so long")
    parser.add_argument("--no-ncu", action="store_true", help="no counters")
    args = parser.parse_args(argv)
    started = time.monotonic()
    try:
        session = measure(args.suite, args.out, args.gpu, args.date, args.seed, not args.no_ncu, args.seconds)
    except (TcsimError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return USER_ERROR
    sys.stdout.write("\n".join(summary_lines(session, time.monotonic() - started)) + "\n")
    return SOME_FAILED if session.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
