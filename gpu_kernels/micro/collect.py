"""Run microbenchmarks on a GPU: rows of readings, written as JSON lines."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.measuring.device import Device, addresses
from gpu_kernels.micro.benchmark import CYCLES, Benchmark, Point, Row, launches
from gpu_kernels.micro.registry import get_benchmark
from sim.errors import ConfigError
from sim.isa.launch import KernelLaunch

REPEATS = 9
FLUSH_BYTES = 256 * 2**20  # written between runs that must not find their data in L2
UNWRITTEN = -1  # what a warp that left early shows: poison
WARM_UP_TRIPS = 40_000
SUFFIX = ".jsonl"


def durations(clocks: np.ndarray[Any, Any], ctas: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the cycles of each CTA that ran, from its first warp's begin to its last warp's end."""
    pairs = clocks.view(np.int64).reshape(ctas, -1, 2)
    begin, end = pairs[..., 0], pairs[..., 1]
    ran = begin != UNWRITTEN
    first = np.where(ran, begin, np.iinfo(np.int64).max).min(axis=1)
    last = np.where(ran, end, np.iinfo(np.int64).min).max(axis=1)
    result: np.ndarray[Any, np.dtype[np.int64]] = (last - first)[ran.any(axis=1)]
    return result


class Runner:
    """Runs launches on one device; buffers that two launches share are placed once."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._placed: dict[int, tuple[object, Any]] = {}
        self._flush: Any = None

    def place(self, launch: KernelLaunch) -> dict[str, Any]:
        """Return the device arrays of a launch."""
        held = {b.name: self._placed[id(b)][1] for b in launch.buffers if id(b) in self._placed}
        arrays = self.device.place(launch, held)
        for buffer in launch.buffers:
            if buffer.data is not None or buffer.nbytes >= 2**20:
                self._placed[id(buffer)] = buffer, arrays[buffer.name]
        return arrays

    def flush(self) -> None:
        """Write more than L2 holds."""
        if self._flush is None:
            self._flush = self.device.empty(FLUSH_BYTES)
        self._flush.data.memset(0, FLUSH_BYTES)
        self.device.synchronize()

    def cycles(self, launch: KernelLaunch, repeats: int = REPEATS, cold: bool = False) -> list[float]:
        """Return the mean cycles of the CTAs for each of ``repeats`` runs, after one that warms up."""
        found = []
        for _ in range(repeats + 1):
            if cold:
                self.flush()
            arrays = self.run(launch)
            found.append(float(durations(arrays["clocks"].get(), launch.ctas).mean()))
        return found[1:]

    def least(self, launch: KernelLaunch, repeats: int = REPEATS, cold: bool = False) -> float:
        """Return the least of several runs' cycles."""
        return min(self.cycles(launch, repeats, cold))

    def run(self, launch: KernelLaunch) -> dict[str, Any]:
        """Run once on poisoned clocks; return the device arrays."""
        arrays = self.place(launch)
        self.device.poison(arrays["clocks"])
        self.device.run(launch, addresses(arrays))
        return arrays

    def time_us(self, launch: KernelLaunch, repeats: int = 5) -> float:
        """Return the least time of a launch between two events."""
        arrays = self.place(launch)
        self.device.kernel(launch)
        cuda, stream = self.device.cupy.cuda, self.device.stream
        found = []
        for _ in range(repeats + 1):
            before, after = cuda.Event(), cuda.Event()
            with stream:
                before.record(stream)
                self.device.enqueue(launch, addresses(arrays))
                after.record(stream)
            self.device.synchronize()
            found.append(1e3 * float(cuda.get_elapsed_time(before, after)))
        return min(found[1:])

    @cached_property
    def clock_mhz(self) -> float:
        """The SM clock after a warm-up."""
        return clock_mhz(self)


def measure(benchmark: Benchmark, runner: Runner) -> Iterator[Row]:
    """Yield a benchmark's readings."""
    for point in benchmark.points:
        yield _slope(benchmark, point, runner)
    if benchmark.measure is not None:
        yield from benchmark.measure(runner, benchmark)


def _slope(benchmark: Benchmark, point: Point, runner: Runner) -> Row:
    pair = launches(benchmark, point)
    few, many = (np.array(runner.cycles(launch, cold=point.cold)) for launch in pair)
    base = few.min()
    trips = (point.trips[1] - point.trips[0]) * point.count
    best, usual = (many.min() - base) / trips, (np.median(many) - np.median(few)) / trips
    return Row(
        benchmark=benchmark.name,
        point=point.name,
        params=dict(point.params),
        value=float(best),
        unit=CYCLES,
        spread=float(abs(usual - best) / best) if best else 0.0,
        repeats=REPEATS,
        program=pair[0].program.identity,
    )


# ------------------------------------------------------------------------------------- files


def write_rows(path: Path, rows: Iterable[Row], provenance: dict[str, Any]) -> None:
    """Write a header line with the provenance, then one line per row."""
    lines = [json.dumps({"provenance": provenance}, sort_keys=True)]
    lines += [json.dumps(dataclasses.asdict(row), sort_keys=True) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_rows(path: Path) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows of one file and their provenance."""
    try:
        header, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        return [Row(**line) for line in lines], dict(header["provenance"])
    except OSError as error:
        raise ConfigError(str(path), error.strerror or "cannot be read") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(str(path), "not a file of microbenchmark rows (JSON lines)") from None


def read_folder(folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Return all rows of a folder and the provenance of the first file."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise ConfigError(str(folder), f"no {SUFFIX} files with microbenchmark rows here")
    parts = [read_rows(path) for path in files]
    return [row for rows, _ in parts for row in rows], parts[0][1]


def provenance(device: Device) -> dict[str, Any]:
    """Say what was measured, by what, and when."""
    runtime = device.cupy.cuda.runtime
    name = device.properties["name"]
    return {
        "gpu": name.decode() if isinstance(name, bytes) else str(name),
        "driver": int(runtime.driverGetVersion()),
        "runtime": int(runtime.runtimeGetVersion()),
        "cupy": str(device.cupy.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def clock_mhz(runner: Runner) -> float:
    """Bring the GPU to its clock with a second's work and return it: cycles of a long loop over its time."""
    benchmark = get_benchmark("scalar")
    point = benchmark.point("ffma_128 warps=16")
    wide = dataclasses.replace(point, ctas=132, trips=(WARM_UP_TRIPS, 2 * WARM_UP_TRIPS))
    launch = launches(benchmark, wide)[0]
    device, arrays = runner.device, runner.place(launch)
    device.kernel(launch)
    cuda = device.cupy.cuda
    readings = []
    for _ in range(12):
        before, after = cuda.Event(), cuda.Event()
        with device.stream:
            before.record(device.stream)
            device.enqueue(launch, addresses(arrays))
            after.record(device.stream)
        device.synchronize()
        elapsed_us = 1e3 * float(cuda.get_elapsed_time(before, after))
        readings.append(float(durations(arrays["clocks"].get(), launch.ctas).mean()) / elapsed_us)
    return float(np.median(readings[-4:]))


def collect(names: Sequence[str], device: Device) -> tuple[list[Row], dict[str, Any]]:
    """Run benchmarks on a device; an error ends the run."""
    runner = Runner(device)
    about = {**provenance(device), "clock_mhz": round(runner.clock_mhz, 1)}
    rows = [row for name in names for row in measure(get_benchmark(name), runner)]
    return rows, about
