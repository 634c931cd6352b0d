"""Measure on this machine's GPU: ``python -m gpu_kernels.micro --out DIR [--only NAMES]``.

Each benchmark runs in a process of its own, since an error on the device ends its process's use of the GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_kernels.measuring.device import Device
from gpu_kernels.micro.benchmark import Feed, Table
from gpu_kernels.micro.collect import SUFFIX, collect, read_rows, write_rows
from gpu_kernels.micro.registry import benchmarks, get_benchmark
from sim.errors import TcsimError

SECONDS_EACH = 90


def main(arguments: Sequence[str]) -> int:
    """Run one benchmark here, or all of them in processes of their own."""
    parser = argparse.ArgumentParser(prog="python -m gpu_kernels.micro")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows")
    parser.add_argument("--only", nargs="+", help="names of benchmarks")
    parser.add_argument("--here", action="store_true", help="in this process: an error ends the run")
    options = parser.parse_args(arguments)
    names = options.only or list(benchmarks())
    try:
        for name in names:
            get_benchmark(name)
        options.out.mkdir(parents=True, exist_ok=True)
        return _here(names, options.out) if options.here else _all(names, options.out)
    except TcsimError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _here(names: Sequence[str], out: Path) -> int:
    for name in names:
        rows, about = collect([name], Device())
        write_rows(out / f"{name}{SUFFIX}", rows, about)
    return 0


def _all(names: Sequence[str], out: Path) -> int:
    failed = [name for name in names if not _apart(name, out)]
    sys.stdout.write("".join(_summary(name, out) for name in names if name not in failed))
    if failed:
        sys.stdout.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def _apart(name: str, out: Path) -> bool:
    """Run one benchmark in its own process; say how it went on stderr."""
    start = time.monotonic()
    command = [sys.executable, "-m", "gpu_kernels.micro", "--here", "--only", name, "--out", str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_EACH, check=False)
        problem = (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"not done after {SECONDS_EACH} s"
    sys.stderr.write(f"{name}: {problem or 'done'} ({time.monotonic() - start:.1f} s)\n")
    return not problem


def _summary(name: str, out: Path) -> str:
    """Return what the readings say about the machine: one line per parameter."""
    rows, about = read_rows(out / f"{name}{SUFFIX}")
    lines = [f"{name}: {len(rows)} rows, {about['clock_mhz']} MHz\n"]
    for feed in get_benchmark(name).feeds:
        lines.append(f"  {feed.path} = {_value(feed, Table(rows))}\n")
    return "".join(lines)


def _value(feed: Feed, table: Table) -> Any:
    try:
        return feed.value(table)
    except TcsimError as error:  # it needs another benchmark's readings too
        return f"not from these readings alone: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
