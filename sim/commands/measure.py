"""``tcsim measure``: the kernels on this machine's GPU, as ``python -m gpu_kernels.measure`` does it."""

from __future__ import annotations

import time
from pathlib import Path

from gpu_kernels.measure import SOME_FAILED, measure, summary_lines
from sim.commands.selection import machine
from sim.commands.terminal import say


def run(suite: str, arch: str, out: Path, date: str, seed: int, counters: bool, seconds: float) -> int:
    """Run a session; return the exit status: 1 if a case failed."""
    machine(arch)  # a wrong name is said before CuPy is looked for
    started = time.monotonic()
    session = measure(suite, out, arch, date, seed, counters, seconds)
    for line in summary_lines(session, time.monotonic() - started):
        say(line)
    return SOME_FAILED if session.failures else 0
