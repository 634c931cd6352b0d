"""``tcsim study banks``: look-ups in shared memory, what conflicts cost, and hardware for them, on one page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import numpy as np

from reports.banks import render, to_json
from reports.banks_data import Design, Gain, Looked, Number, Study
from reports.banks_words import conclusion
from sim.commands.lookup_hardware import HARDWARE, gains, hardware_work
from sim.commands.lookup_kernels import bank_machines, looked, lookup_work
from sim.commands.parallel import in_order
from sim.commands.selection import machine
from sim.commands.terminal import progress_shown, say
from sim.dse.files import make_directory
from sim.dse.run import Progress, default_workers
from sim.errors import ConfigError
from sim.extensions import get_extension
from sim.sm.expectation import Table, expected_wavefronts
from workloads.weight_files import read_weight

SHAPE = (4096, 4096)  # N, K of the kernels that are compared on banks; with a user's weights theirs
CODES_PER_ENTRY = {4: (1, 2), 3: (1, 2), 2: (1, 2, 4)}  # at most 256 entries
COPIES = (1, 2, 4, 8, 16, 32)
HALF_BYTES = 2
Work = TypeVar("Work")
Result = TypeVar("Result")


def run(arch: str, out: Path | None, workers: int | None, as_json: bool, weights: Path | None) -> None:
    """Run the study; write its page if ``out`` is given, say its conclusion in any case."""
    if out is not None:
        make_directory(out)
    with nullcontext(lambda done, total, failed: None) if as_json else progress_shown() as progress:
        found = study(arch, weights, workers or default_workers(), progress)
    if as_json:
        say(json.dumps(to_json(found), allow_nan=False))
    for line in () if as_json else conclusion(found):
        say(line)
    for path in render(found, out) if out is not None else ():
        if not as_json:
            say(f"wrote {path}")


def study(arch: str, weights: Path | None, workers: int, progress: Progress) -> Study:
    """Simulate all that the study compares."""
    memory = machine(arch).sm.shared_memory
    n, k = SHAPE if weights is None else read_weight(weights).shape
    kernels, hardware = lookup_work(arch, n, k, weights), hardware_work(arch)
    total = len(kernels) + len(hardware)
    rows: list[Looked] = []
    for each in _counted(looked, kernels, workers, progress, 0, total):
        rows += each
    if not rows:
        raise ConfigError("--arch", f"no kernel with look-ups runs on {arch} with N x K = {n} x {k}")
    found: list[Gain] = []
    for gain in _counted(gains, hardware, workers, progress, len(kernels), total):
        found += gain
    return Study(
        arch=machine(arch).name,
        banks=memory.banks,
        bank_bytes=memory.bank_bytes,
        looked=tuple(rows),
        designs=tuple(designs(arch)),
        gains=tuple(sorted(found, key=lambda each: (each.hardware, each.weights), reverse=True)),
        numbers=tuple(numbers()),
    )


def _counted(
    function: Callable[[Work], Result],
    work: Sequence[Work],
    workers: int,
    progress: Progress,
    before: int,
    total: int,
) -> Iterator[Result]:
    for done, result in enumerate(in_order(function, work, workers), before + 1):
        progress(done, total, 0)
        yield result


def designs(arch: str) -> Iterator[Design]:
    """Return tables of codes, pairs and quadruples in closed form: more copies while one has conflicts."""
    own = machine(arch).sm.shared_memory
    for bits, groups in CODES_PER_ENTRY.items():
        for codes in groups:
            size, chances = HALF_BYTES * codes, np.full(2 ** (bits * codes), 2.0 ** (-bits * codes))
            conflicts = expected_wavefronts(chances, Table(size, size), own) > 1
            for copies in COPIES if conflicts else COPIES[:1]:
                table = Table(size, size * copies, copies)
                for overrides in bank_machines(arch):
                    memory = machine(arch, overrides).sm.shared_memory
                    expected = expected_wavefronts(chances, table, memory)
                    stored = len(chances) * table.stride_bytes
                    yield Design(bits, codes, size, copies, stored, memory.banks, memory.bank_bytes, expected)


def numbers() -> Iterator[Number]:
    """Return what the hypothetical hardware is made of."""
    for hardware in HARDWARE:
        for name, each in get_extension(hardware).quantities().items():
            yield Number(hardware, name, each.value, each.unit, each.rationale)
