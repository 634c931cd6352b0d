"""A stand-in for the simulator: results that depend on the point alone, at any speed wanted."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from sim.dse.expand import AxisError, Job, Layer, Point, expand
from sim.dse.run import run_jobs
from sim.dse.spec import load_sweep
from sim.dse.store import ResultStore, point_key
from sim.dse.table import csv_text
from sim.errors import TcsimError
from sim.results import RunResult

LAYERS = {
    "tiny": (Layer("tiny", "qkv", 96, 64), Layer("tiny", "out", 64, 64), Layer("tiny", "up", 64, 64)),
    "other": (Layer("other", "qkv", 128, 64),),
    "mixed": (Layer("", "a", 64, 64, 5), Layer("", "b", 64, 64, 6)),
}

SWEEP = """
grid:
  arch: [big, small]
  scheme:
    - fp16
    - {name: w4a16, options: {group_size: [64, 128]}}
  model: [tiny, other]
  m: [1, 2, 4, 8]
"""


def layers_of(kind: str, name: str) -> tuple[Layer, ...]:
    """Know two models and a suite."""
    if name not in LAYERS:
        raise TcsimError(f"unknown {kind} {name!r}")
    return LAYERS[name]


def check(point: Point) -> Point:
    """Refuse one arch, one tile and odd N."""
    if point.arch == "bad":
        raise AxisError("arch", "unknown arch 'bad'")
    if point.tile == "bad":
        raise AxisError("tile", "unknown tile 'bad'")
    if point.n % 2:
        raise AxisError("work", f"N must be even; got {point.n}")
    return point


def evaluate(point: Point) -> RunResult:
    """Return numbers awkward to print, after SLOW_S seconds; M = 13 fails, M = 666 kills the process."""
    time.sleep(float(os.environ.get("SLOW_S", "0")))
    if point.m == 13:
        raise TcsimError("no tile fits")
    if point.m == 666:
        os._exit(9)
    time_us = point.m * point.n / 7 + len(point.machine) / 3
    return RunResult(
        arch=point.arch,
        scheme=point.scheme,
        m=point.m,
        n=point.n,
        k=point.k,
        options=dict(point.options),
        extensions=point.extensions,
        time_us=time_us,
        cycles=time_us * 1755.0,
        clock_mhz=1755.0,
        bound_by="dram" if point.m < 4 else "tensor",
        bound_text="DRAM bandwidth, at 93 %",
        breakdown_us={"dram": time_us},
        stalls={"issued": 1 / 3},
        counters={"instructions": 10.0},
        energy_uj=0.1,
        flops=2 * point.m * point.n * point.k,
        compulsory_bytes=2 * point.n * point.k,
        config_hash="0" * 8,
        version="1",
    )


def jobs_of(path: Path) -> tuple[Job, ...]:
    """Expand a sweep file with the stand-ins."""
    return expand(load_sweep(path), layers_of, check)


def main(sweep: Path, store_path: Path) -> None:
    """Run a sweep with a store and print its table: the subprocess that the tests kill."""
    jobs = jobs_of(sweep)
    keys = [point_key(job.point, "code") for job in jobs]
    with ResultStore(store_path) as store:
        try:
            outcomes = run_jobs(jobs, keys, evaluate, store, workers=2)
        except KeyboardInterrupt:
            sys.exit("interrupted")
    sys.stdout.write(csv_text(jobs, outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
