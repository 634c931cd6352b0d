"""The process that has the GPU: ``time`` verifies and times a plan, ``count`` launches it under a profiler.

A kernel that faults takes its CUDA context with it. So each case is announced before it starts, each result
is written as it comes, and the session starts a new worker for the cases that are left.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from gpu_kernels.measuring.cases import Case, read_plan
from gpu_kernels.measuring.cublas import Cublas, CublasWeights
from gpu_kernels.measuring.device import Device, addresses
from gpu_kernels.measuring.soft import attempt, describe, tell
from gpu_kernels.measuring.timing import RotatingCopies, copies_needed, rotating_bytes, time_launch
from gpu_kernels.measuring.verify import Half, read_output, require_same, verify
from sim.arch.load import load_gpu
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError, TcsimError
from workloads.codes import SEED as CODES_SEED
from workloads.operands import Operands, random_operands
from workloads.schemes.base import get_scheme

USER_ERROR = 2
CONTEXT_LOST = 75  # exit status: start another worker
PREPARED_TOGETHER = 16  # sets of weights, by threads, before any of them is measured
PREPARED_ELEMENTS = 2**29.5  # of weights in them together: some 30 bytes each

Indexed = tuple[int, Case]


@dataclass(frozen=True)
class Prepared:
    """Cases that share their weights, with operands for the largest M among them."""

    cases: tuple[Indexed, ...]
    operands: Operands
    reference: npt.NDArray[np.float64]  # [largest M, n]
    half_weights: Half | None  # for cuBLAS, if anything is compared with it


def groups(cases: Sequence[Indexed]) -> list[tuple[Indexed, ...]]:
    """Put cases with the same weights together, in the order in which they first appear."""
    found: dict[tuple[object, ...], list[Indexed]] = {}
    for index, case in cases:
        found.setdefault(case.weights, []).append((index, case))
    return [tuple(each) for each in found.values()]


def draw(cases: tuple[Indexed, ...], seed: int) -> Operands:
    """Draw the operands of cases that share their weights, for the largest M among them.

    Codes on which counters depend are always the same ones, so that the simulator can draw them too.
    """
    index, first = cases[0]
    m, scheme = max(case.m for _, case in cases), get_scheme(first.scheme)
    chosen = CODES_SEED if scheme.code_buffers else seed + index
    return random_operands(scheme, m, first.n, first.k, first.options, chosen)


def prepare(cases: tuple[Indexed, ...], seed: int) -> Prepared:
    """Draw operands and compute the float64 result."""
    operands = draw(cases, seed)
    weights = operands.scheme.dequantize(operands.quantized)
    reference = operands.x.astype(np.float64) @ weights.T
    compared = any(case.timed and case.compared for _, case in cases)
    return Prepared(cases, operands, reference, weights.astype(np.float16) if compared else None)


def prepared_groups(cases: Sequence[Indexed], seed: int) -> Iterator[Prepared]:
    """Prepare some groups at a time; nothing is prepared while another is measured."""
    for chunk in batches(groups(cases)):
        with ThreadPoolExecutor() as pool:
            yield from list(pool.map(lambda each: prepare(each, seed), chunk))


def batches(every: Sequence[tuple[Indexed, ...]]) -> Iterator[list[tuple[Indexed, ...]]]:
    """Cut groups into those that are prepared together: so many, and as much as memory holds."""
    chunk: list[tuple[Indexed, ...]] = []
    elements = 0
    for group in every:
        size = group[0][1].n * group[0][1].k
        if chunk and (len(chunk) == PREPARED_TOGETHER or elements + size > PREPARED_ELEMENTS):
            yield chunk
            chunk, elements = [], 0
        chunk, elements = [*chunk, group], elements + size
    if chunk:
        yield chunk


class Worker:
    """Measures case by case."""

    def __init__(self, gpu: GpuSpec, device: Device, output: TextIO) -> None:
        self._gpu, self._device, self._output = gpu, device, output
        self._cublas = attempt("cuBLAS", lambda: Cublas(device))
        self._cublas_us: dict[tuple[int, int, int], float | None] = {}

    def provenance(self) -> dict[str, Any]:
        """Describe the machine."""
        runtime, properties = self._device.cupy.cuda.runtime, self._device.properties
        name = properties["name"]
        return {
            "device": name.decode() if isinstance(name, bytes) else str(name),
            "sms": int(properties["multiProcessorCount"]),
            "l2_bytes": self._device.l2_bytes,
            "cuda_driver": int(runtime.driverGetVersion()),
            "cuda_runtime": int(runtime.runtimeGetVersion()),
            "cupy": str(self._device.cupy.__version__),
            "cublas": self._cublas.version if self._cublas else None,
        }

    def measure(self, prepared: Prepared) -> bool:
        """Measure the cases of one group; return False if the CUDA context is lost."""
        try:
            rotation = self._rotation(prepared)
        except Exception as error:  # whatever it is, the other groups are still to be measured
            for index, _ in prepared.cases:
                self._fail(index, error)
            return self._device.is_alive()
        for index, case in prepared.cases:
            self.write({"begun": index})
            try:
                self.write({"case": index, "measured": self._case(case, prepared, rotation)})
            except Exception as error:  # as above
                self._fail(index, error)
                if not self._device.is_alive():
                    return False
        return True

    def _rotation(self, prepared: Prepared) -> RotatingCopies:
        """Upload the weights, as many copies as timing needs."""
        sample = prepared.cases[0][1].launch(self._gpu, prepared.operands)
        if not any(case.timed for _, case in prepared.cases):
            return RotatingCopies(self._device, sample, 1)
        if prepared.half_weights is not None:
            self._time_cublas(prepared, prepared.half_weights)
        return RotatingCopies(
            self._device, sample, copies_needed(rotating_bytes(sample), self._device.l2_bytes)
        )

    def _fail(self, index: int, error: Exception) -> None:
        self.write({"begun": index})
        self.write({"case": index, "failure": describe(error)})

    def _case(self, case: Case, prepared: Prepared, rotation: RotatingCopies) -> dict[str, Any]:
        launch = case.launch(self._gpu, prepared.operands)
        arrays = self._device.place(launch, rotation.first)
        found, result = verify(self._device, launch, arrays, prepared.reference[: case.m])
        record: dict[str, Any] = {**asdict(found), "timing": None}
        if case.timed:
            times = time_launch(self._device, launch, addresses(arrays), rotation)
            require_same(result, read_output(arrays, result.shape), "the replays")
            record["timing"] = {
                **asdict(times),
                "copies": rotation.copies,
                "rotation_bytes": rotation.total_bytes,
                "cublas_us": self._cublas_us.get((case.m, case.n, case.k)),
            }
        return record

    def _time_cublas(self, prepared: Prepared, half: Half) -> None:
        """Time cuBLAS on the same shapes, once for all schemes."""
        n, k = half.shape
        wanted = {case.m for _, case in prepared.cases if case.timed and case.compared}
        missing = sorted(m for m in wanted if (m, n, k) not in self._cublas_us)
        if self._cublas is None or not missing:
            return
        weights = CublasWeights(self._device, self._cublas, half)
        for m in missing:
            x, reference = prepared.operands.x[:m].astype(np.float16), prepared.reference[:m]
            self._cublas_us[m, n, k] = attempt(
                f"cuBLAS's time of {m}x{n}x{k}", partial(weights.time_us, x, reference)
            )

    def write(self, record: dict[str, Any]) -> None:
        """Write a record at once: it must outlive this process."""
        self._output.write(json.dumps(record) + "\n")
        self._output.flush()


def time_plan(plan: Path, output: Path, chosen: Sequence[int], seconds: float = math.inf) -> int:
    """Verify and time the chosen cases of a plan; begin none after ``seconds``."""
    until = time.monotonic() + seconds
    gpu_name, seed, cases = read_plan(plan)
    gpu, device = load_gpu(gpu_name), Device()
    check_device(gpu, device)
    with output.open("a", encoding="utf-8") as stream:
        worker = Worker(gpu, device, stream)
        worker.write({"provenance": worker.provenance()})
        for prepared in prepared_groups([(index, cases[index]) for index in chosen], seed):
            if time.monotonic() > until:
                return 0
            if not worker.measure(prepared):
                return CONTEXT_LOST
            device.free_unused()
    return 0


def count_plan(plan: Path, launches: int, chosen: Sequence[int]) -> int:
    """Launch the chosen cases so many times each, in the given order, equal weights together."""
    gpu_name, seed, cases = read_plan(plan)
    gpu, device = load_gpu(gpu_name), Device()
    for together in groups([(index, cases[index]) for index in chosen]):
        operands = draw(together, seed)
        for _, case in together:
            launch = case.launch(gpu, operands)
            arrays = device.place(launch)
            for _ in range(launches):
                device.run(launch, addresses(arrays))
    return 0


def check_device(gpu: GpuSpec, device: Device) -> None:
    """Refuse to measure another GPU than the one whose launches are planned."""
    found = int(device.properties["multiProcessorCount"])
    if found != gpu.sm.count:
        raise ConfigError("--gpu", f"{gpu.name} has {gpu.sm.count} SMs, this GPU has {found}")


def main() -> int:
    """Read the command line that the session wrote."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("time", "count"))
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", type=Path, required=True, help="JSON list of case numbers")
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no case after so long")
    args = parser.parse_args()
    chosen = json.loads(args.only.read_text(encoding="utf-8"))
    try:
        if args.mode == "time":
            return time_plan(args.plan, args.output, chosen, args.seconds)
        return count_plan(args.plan, args.launches, chosen)
    except TcsimError as error:
        tell(str(error))
        return USER_ERROR


if __name__ == "__main__":
    raise SystemExit(main())
