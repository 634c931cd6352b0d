"""One measuring session: worker processes for time and for counters, merged into rows."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import gpu_kernels
from gpu_kernels.measuring import counters
from gpu_kernels.measuring.cases import Case, write_plan
from gpu_kernels.measuring.launches import record
from gpu_kernels.measuring.rows import SCHEMA_VERSION, Row
from gpu_kernels.measuring.soft import describe, tell
from sim.arch.spec import GpuSpec
from sim.config import dotted, validate_data
from sim.errors import TcsimError
from sim.isa.launch import KernelLaunch

WORKER_SECONDS = 1800
MAX_WORKERS = 6
NCU_SECONDS = 150  # for one chunk of cases
NCU_TOTAL_SECONDS = 260
NCU_CASES = 50  # in one chunk: it prints only when it ends
QUERY_SECONDS = 60
BLAS_THREADS = "2"  # of each of the threads that prepare operands: more of them only wait for each other
COUNTER_LAUNCHES = 3
SOURCE_LAUNCHES = 1


@dataclass
class Session:
    """The cases, and what is known of each by its number."""

    gpu: GpuSpec
    gpu_name: str
    cases: Sequence[Case]
    folder: Path  # plan, logs and raw outputs
    date: str
    seed: int = 0
    seconds: float = math.inf  # after which no case is begun
    measured: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    counted: dict[int, dict[str, Any]] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    ncu_version: str | None = None

    def __post_init__(self) -> None:
        """Write the plan."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_plan(self.plan, self.gpu_name, self.seed, self.cases)

    @cached_property
    def driver(self) -> str:
        """The driver's version, empty if nvidia-smi does not say."""
        said = output_of(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], QUERY_SECONDS)
        return next(iter(said.splitlines()), "").strip()

    @property
    def plan(self) -> Path:
        """Where the workers read the cases."""
        return self.folder / "plan.json"

    def launch(self, index: int) -> KernelLaunch:
        """Describe case ``index`` without data."""
        return self.cases[index].launch(self.gpu)

    def verify_and_time(self) -> None:
        """Run workers until every case was begun; a case that kills its worker is a failure of that case.

        With little time the cases are begun in an order of chance, so that those left out are of all kinds.
        """
        until = time.monotonic() + self.seconds
        output = self.folder / "measured.jsonl"
        output.write_text("", encoding="utf-8")
        begun: set[int] = set()
        starts = 0
        while left := [index for index in range(len(self.cases)) if index not in begun]:
            starts += 1
            remaining = until - time.monotonic()
            if remaining < 0:
                tell(f"not measured: {len(left)} cases, no time left")
                return
            status = self._run(
                ["time", "--seconds", str(remaining), "--output", str(output)], self._in_order(left)
            )
            before = len(begun)
            begun = self._read_records(output)
            if not status and time.monotonic() > until:
                continue
            if not begun:
                raise TcsimError(f"nothing can be measured: {status or 'the worker did nothing'}")
            hopeless = len(begun) == before or starts == MAX_WORKERS
            stuck = set(left) - begun if hopeless else set()
            for index in (begun | stuck) - set(self.measured) - set(self.failures):
                self.failures[index] = f"the worker ended: {status}"
            begun.update(stuck)

    def _in_order(self, left: list[int]) -> list[int]:
        if math.isinf(self.seconds):
            return left
        return [left[at] for at in np.random.default_rng(self.seed).permutation(len(left))]

    def _read_records(self, output: Path) -> set[int]:
        """Take over what workers wrote; return the cases that were begun."""
        begun = set()
        for line in output.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "provenance" in record:
                self.machine = record["provenance"]
            elif "begun" in record:
                begun.add(record["begun"])
            elif "measured" in record:
                self.measured[record["case"]] = record["measured"]
            else:
                self.failures[record["case"]] = record["failure"]
        return begun

    def count(self) -> None:
        """Collect counters for the cases that ask for them, or say why there are none."""
        wanted = [i for i, case in enumerate(self.cases) if case.counted and i in self.measured]
        ncu = find_ncu()
        if ncu is None and wanted:
            tell("without counters: Nsight Compute (ncu) is not installed")
        if ncu is None or not wanted:
            return
        self.ncu_version = ncu_version(ncu)
        chosen = counters.choose_metrics(output_of([ncu, "--query-metrics"], QUERY_SECONDS))
        until = time.monotonic() + NCU_TOTAL_SECONDS
        self._count_chunks(ncu, wanted, chosen, COUNTER_LAUNCHES, "counters", until)
        self._count_chunks(ncu, wanted, counters.SOURCE, SOURCE_LAUNCHES, "source_counters", until)

    def _count_chunks(
        self, ncu: str, wanted: list[int], chosen: dict[str, str], launches: int, name: str, until: float
    ) -> None:
        """Count chunk by chunk, cases with the same weights together, until the time is over."""
        wanted = sorted(wanted, key=lambda index: (repr(self.cases[index].weights), index))
        for first in range(0, len(wanted), NCU_CASES):
            if time.monotonic() > until:
                tell(f"without {name} of {len(wanted) - first} cases: no time left")
                return
            chunk = wanted[first : first + NCU_CASES]
            self._count_some(ncu, chunk, chosen, launches, f"{name}_{first // NCU_CASES}")

    def _count_some(
        self, ncu: str, wanted: list[int], chosen: dict[str, str], launches: int, name: str
    ) -> None:
        try:
            launched = self._profile(ncu, wanted, chosen, launches, name)
        except (TcsimError, OSError, ValueError) as error:
            tell(f"without {name}: {describe(error)}")
            return
        for position, index in enumerate(wanted):
            mine = launched[position * launches : (position + 1) * launches]
            if any(each.metrics for each in mine):
                self.counted[index] = counters.summarize(mine, chosen) | self.counted.get(index, {})

    def _profile(
        self, ncu: str, wanted: list[int], chosen: dict[str, str], launches: int, name: str
    ) -> list[counters.Launched]:
        """Run the worker under Nsight Compute and match its launches with the plan."""
        plan = [expected(self.launch(index)) for index in wanted for _ in range(launches)]
        log = self.folder / f"{name}.csv"
        kernels = {each.kernel for each in plan}
        worker = self._worker(["count", "--launches", str(launches)], wanted)
        line = counters.command(ncu, chosen.values(), kernels, str(log), worker)
        said = output_of(line, NCU_SECONDS)
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        launched = counters.parse_csv(text) or counters.parse_csv(said)
        if not launched:
            raise TcsimError(f"Nsight Compute gave no rows: {complaint(text + said)}")
        counters.match(launched, plan)
        if len(launched) < len(plan):
            tell(f"{name}: {len(launched)} of {len(plan)} launches: {complaint(text + said)}")
        return launched

    def rows(self) -> tuple[Row, ...]:
        """Return a row for every case that was verified."""
        return tuple(self._row(index) for index in sorted(self.measured))

    def _row(self, index: int) -> Row:
        case, launch, measured = self.cases[index], self.launch(index), self.measured[index]
        return validate_data(
            Row,
            {
                "schema_version": SCHEMA_VERSION,
                "gpu": self.gpu.name,
                "scheme": case.scheme,
                "options": dict(case.options),
                "tile": case.tile,
                **{"m": case.m, "n": case.n, "k": case.k, "grid": launch.grid},
                "program": launch.program.identity,
                "toolkit": launch.program.toolkit,
                **measured,
                "counters": self.counted.get(index),
                "provenance": {
                    **self.machine,
                    "date": self.date,
                    "driver": self.driver,
                    "ncu": self.ncu_version,
                },
                "launch": record(launch).model_dump(mode="json"),
            },
            lambda key: f"case {index}: {dotted(key)}",
        )

    def _worker(self, arguments: list[str], only: list[int]) -> list[str]:
        chosen = self.folder / "only.json"
        chosen.write_text(json.dumps(only), encoding="utf-8")
        module = [sys.executable, "-m", "gpu_kernels.measuring.worker", *arguments]
        return [*module, "--plan", str(self.plan), "--only", str(chosen)]

    def _run(self, arguments: list[str], only: list[int]) -> str:
        """Run a worker with this process's stderr; return how it ended, empty if well."""
        try:
            done = subprocess.run(
                self._worker(arguments, only), env=_environment(), timeout=WORKER_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"it took more than {WORKER_SECONDS} s"
        return f"exit status {done.returncode}" if done.returncode else ""


def expected(launch: KernelLaunch) -> counters.Expected:
    """Return what Nsight Compute shows of a launch."""
    return counters.Expected(launch.program.name, launch.grid, launch.block)


def find_ncu() -> str | None:
    """Return the path of Nsight Compute's command line."""
    installed = sorted(Path("/opt/nvidia/nsight-compute").glob("*/ncu"))
    usual = [Path("/usr/local/cuda/bin/ncu"), *reversed(installed)]
    return shutil.which("ncu") or next((str(path) for path in usual if path.exists()), None)


def ncu_version(ncu: str) -> str | None:
    """Return the version that ``ncu --version`` prints."""
    found = re.search(r"[Vv]ersion\s+(\S+)", output_of([ncu, "--version"], QUERY_SECONDS))
    return found[1] if found else None


def complaint(text: str) -> str:
    """Return the first line of a tool's output that sounds like an error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if "ERROR" in line or "Error" in line]
    return next(iter(wrong or lines[-1:]), "no output")[:300]


def _environment() -> dict[str, str]:
    """Return an environment in which the workers find this package."""
    root = str(Path(gpu_kernels.__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"OPENBLAS_NUM_THREADS": BLAS_THREADS, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def output_of(line: list[str], seconds: int) -> str:
    """Run a command; return what it printed on both streams, empty if it cannot run.

    It gets a process group of its own, so that what it started ends with it when the time is over.
    """
    try:
        process = subprocess.Popen(
            line,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError:
        return ""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0] + f"\nERROR: stopped after {seconds} s\n"
