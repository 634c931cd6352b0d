"""Measured rows through the simulator: each with its own tile, in as many processes as wanted, in the rows' order."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu_kernels.catalog import with_codes
from gpu_kernels.measuring.launches import archived, restore
from gpu_kernels.measuring.manifest import Recorded, recorded_files
from gpu_kernels.measuring.rows import FOLDER, SUFFIX, Row, load_rows
from sim.arch.spec import GpuSpec
from sim.chip import accounting
from sim.chip.run import ChipRun, run_launch
from sim.commands.parallel import in_order
from sim.commands.selection import described_launches, machine
from sim.errors import ConfigError, TcsimError, unknown
from sim.isa.launch import KernelLaunch
from sim.jsonl import read_records
from sim.validation.comparison import UNLABELLED, Case, Comparison, CounterPair, Skipped, TimePair
from sim.validation.prediction import Prediction, by_launch, launch_key
from workloads.codes import whole_codes
from workloads.schemes.base import get_scheme

COUNTERS = {  # as the simulator calls it -> as the row does
    "instructions": "instructions",
    "tensor_instructions": "tensor_instructions",
    "shared_load_wavefronts": "shared_wavefronts_load",
    "shared_store_wavefronts": "shared_wavefronts_store",
    "global_load_sectors": "global_load_sectors",
    "global_store_sectors": "global_store_sectors",
}
DRAM = ("dram_read_bytes", "dram_write_bytes")

Outcome = Comparison | Skipped
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Task:
    """One row with where it stands and what it is."""

    row: Row
    source: str
    kind: str
    arch: str  # the machine to simulate it on
    folder: Path  # of its file
    prediction: Prediction | None = None  # committed before the row was measured

    @property
    def case(self) -> Case:
        """Name the row's kernel and sizes."""
        row = self.row
        return Case(row.gpu, row.scheme, row.options, row.tile, row.m, row.n, row.k)


def tasks(data: Path | None, arch: str) -> list[Task]:
    """Read the rows of a file or folder, or of those recorded for ``arch``; every mistake is one line."""
    gpu = machine(arch)
    folder = data if data is not None else recorded(gpu.name)
    files = [folder] if folder.is_file() else sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise ConfigError(str(folder), f"no measurements (*{SUFFIX}) here")
    known = recorded_files(folder if folder.is_dir() else folder.parent)
    return [task for file in files for task in _tasks_of(file, known.get(file.name), arch)]


def _tasks_of(file: Path, recorded: Recorded | None, arch: str) -> Iterator[Task]:
    kind = recorded.kind if recorded else UNLABELLED
    foretold = _predictions(file.parent / recorded.predictions) if recorded and recorded.predictions else {}
    for number, row in enumerate(load_rows(file), 1):
        key = launch_key(row.program, row.options, row.grid, row.m, row.n, row.k)
        yield Task(row, f"{file}:{number}", kind, arch, file.parent, foretold.get(key))


def _predictions(path: Path) -> Mapping[Hashable, Prediction]:
    return by_launch(read_records(path, Prediction, "a prediction"))


def recorded(gpu: str) -> Path:
    """Return the folder of the rows that were recorded on a GPU."""
    known = sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and any(path.glob(f"*{SUFFIX}")))
    if gpu not in known:
        raise unknown("GPU with recorded measurements", gpu, known, "--arch")
    return FOLDER / gpu


def compare_all(
    work: Sequence[Task], workers: int, progress: Progress = lambda done, total, failed: None
) -> list[Outcome]:
    """Compare every row; the outcomes do not depend on the number of workers."""
    order = sorted(range(len(work)), key=lambda i: _program(work[i]))  # what is executed once stays together
    found: dict[int, Outcome] = {}
    failed = 0
    for index, outcome in zip(order, in_order(compare, [work[i] for i in order], workers), strict=True):
        found[index] = outcome
        failed += isinstance(outcome, Skipped) and not outcome.stale
        progress(len(found), len(work), failed)
    return [found[index] for index in range(len(work))]


def _program(task: Task) -> tuple[str, str, int, int, int]:
    row = task.row
    return row.scheme, row.tile, row.n, row.k, row.m


def compare(task: Task) -> Outcome:
    """Simulate one row with the kernel, tile and sizes it was measured with."""
    row, gpu = task.row, machine(task.arch)
    found = _launch(task, gpu)
    if isinstance(found, str):
        return Skipped(task.case, task.source, found, stale=True)
    launch, superseded = found
    try:
        run = run_launch(launch, gpu)
        time, missing = _time(row, launch, run, task)
    except TcsimError as error:
        return Skipped(task.case, task.source, f"cannot be simulated: {error}", stale=False)
    totals = accounting.counters(run, gpu)
    split = accounting.breakdown_us(run, accounting.usage(run, gpu, totals))
    if row.counters is not None and get_scheme(row.scheme).codes_matter(row.options):
        codes = whole_codes(get_scheme(row.scheme), row.n, row.k, row.options)
        totals |= accounting.counted_shared_wavefronts(with_codes(launch, codes), gpu)
    counters, uncounted = _counters(row, run, totals)
    return Comparison(
        case=task.case,
        source=task.source,
        kind=task.kind,
        splits=launch.grid[2],
        ctas=launch.ctas,
        resident=run.occupancy.ctas_per_sm,
        waves=run.device.waves,
        bound=max(split, key=lambda name: split[name]),
        time=time,
        counters=counters,
        missing=(*missing, *uncounted),
        cublas_us=row.timing.cublas_us if row.timing else None,
        superseded=superseded,
        foretold=_foretold(row, task.prediction),
    )


def _launch(task: Task, gpu: GpuSpec) -> tuple[KernelLaunch, bool] | str:
    """Return the row's launch and whether its kernel has changed since, or why there is none to simulate.

    One that has changed is simulated from its record and the archived program, unless codes decide its addresses.
    """
    row = task.row
    try:
        launch = described_launches(row.scheme, row.m, row.n, row.k, row.options, gpu, row.tile)[0]
        reason = _stale(row, launch)
    except TcsimError as error:
        launch, reason = None, f"today's kernel does not run it: {error}"
    if launch is not None and not reason:
        return launch, False
    if row.launch is None or get_scheme(row.scheme).codes_matter(row.options):
        return reason
    try:
        program = archived(task.folder, row.program)
        return (restore(row.launch, row.grid, program), True) if program is not None else reason
    except TcsimError as error:
        return f"{reason}; {error}"


def _stale(row: Row, launch: KernelLaunch) -> str:
    """Say in what today's kernel differs from the one that was measured."""
    if launch.program.identity != row.program:
        return "another program than was measured"
    if tuple(launch.grid) != row.grid:
        return f"another grid than was measured: {launch.grid}, measured {row.grid}"
    return ""


def _time(
    row: Row, launch: KernelLaunch, run: ChipRun, task: Task
) -> tuple[TimePair | None, tuple[str, ...]]:
    """Return the times side by side, and what is missing of them."""
    timing = row.timing
    if timing is None:
        return None, ()
    if timing.clock_mhz is None:
        return None, ("timing.clock_mhz",)
    at_clock = run_launch(launch, machine(task.arch), timing.clock_mhz)
    if not (math.isfinite(run.time_us) and math.isfinite(at_clock.time_us)):
        return None, ("simulated time",)
    return TimePair(
        measured_us=timing.median_us,
        spread_us=timing.spread_us,
        recorded_mhz=timing.clock_mhz,
        recorded_clock_us=at_clock.time_us,
        predicted_us=run.time_us,
        predicted_mhz=run.clock_mhz,
    ), ()


def _foretold(row: Row, prediction: Prediction | None) -> TimePair | None:
    """Return the measured time beside what had been predicted of it."""
    timing = row.timing
    if prediction is None or timing is None or timing.clock_mhz is None:
        return None
    return TimePair(
        measured_us=timing.median_us,
        spread_us=timing.spread_us,
        recorded_mhz=timing.clock_mhz,
        recorded_clock_us=prediction.time_at(timing.clock_mhz),
        predicted_us=prediction.time_us,
        predicted_mhz=prediction.clock_mhz,
    )


def _counters(
    row: Row, run: ChipRun, totals: dict[str, float]
) -> tuple[dict[str, CounterPair], tuple[str, ...]]:
    """Return the counters side by side, and what is missing of them."""
    if row.counters is None:
        return {}, ()
    counted = row.counters.model_dump()
    varying = row.counters.varying
    names = (*COUNTERS.values(), *DRAM)
    missing = tuple(f"counters.{name}" for name in names if counted[name] is None)
    pairs = {
        name: CounterPair(counted[key], totals[name], key in varying)
        for name, key in COUNTERS.items()
        if counted[key] is not None
    }
    if all(counted[key] is not None for key in DRAM):
        read, written = (counted[key] for key in DRAM)
        pairs["dram_read_bytes"] = CounterPair(read, run.dram.read_bytes, DRAM[0] in varying)
        pairs["dram_bytes"] = CounterPair(read + written, totals["dram_bytes"], True)
    return pairs, missing
