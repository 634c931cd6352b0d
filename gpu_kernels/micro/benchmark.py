"""What a microbenchmark is: CUDA source, points, and how its readings become numbers of the GPU's YAML file.

A point times one loop: the slope of SM cycles over two trip counts, divided by ``count``. Launch overhead, cold
instruction caches and the tail cancel. The same two launches run on the GPU and in the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_kernels.micro.programs.store import load_program
from sim.errors import unknown
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch, TensorMap
from sim.isa.opcodes import Op
from sim.isa.program import Program

if TYPE_CHECKING:
    from gpu_kernels.micro.collect import Runner

Scalar = np.int32 | np.uint32 | np.int64 | np.float32 | np.void
Parameter = int | float | str
TARGET = "sm_90a"
LANES = 32
CLOCK_BYTES = 16  # of a warp: begin and end
SINK_BYTES = 4 * 1024
INSTRUCTION_BYTES = 16
CYCLES = "cycles"


@dataclass(frozen=True, eq=False)
class Point:
    """One reading: a kernel of the benchmark, how wide it is launched, and what its cycles are divided by."""

    kernel: str
    count: float = 1.0
    warps: int = 1  # of a CTA
    subcores: int = 4  # warps of the others leave at once
    ctas: int = 1
    params: Mapping[str, Parameter] = field(default_factory=dict)
    arguments: tuple[Buffer | TensorMap | Scalar, ...] = ()
    shared_bytes: int = 0
    trips: tuple[int, int] = (32, 96)
    cold: bool = False  # L2 is emptied before each run
    simulated: bool = True  # the simulator knows all its instructions and models what it measures

    @property
    def name(self) -> str:
        """The point's name, unique in its benchmark."""
        return " ".join([self.kernel, *(f"{key}={value}" for key, value in self.params.items())])


@dataclass(frozen=True)
class Row:
    """One reading as it is stored."""

    benchmark: str
    point: str
    params: Mapping[str, Parameter]
    value: float
    unit: str
    spread: float  # relative: (median - minimum) / minimum over the repeats
    repeats: int
    program: str = ""  # SHA-256 of the cubin and the kernel's name


class Table:
    """Readings of a benchmark by kernel and parameters; ``every``: those of all benchmarks."""

    def __init__(self, rows: Iterable[Row], every: Iterable[Row] = ()) -> None:
        self.rows = tuple(rows)
        self._every = tuple(every)
        self._by_name = {row.point: row for row in self.rows}

    def of(self, benchmark: str) -> Table:
        """Return the readings of another benchmark."""
        found = [row for row in self._every if row.benchmark == benchmark]
        if not found:
            raise unknown("benchmark with readings", benchmark, {row.benchmark for row in self._every})
        return Table(found, self._every)

    def value(self, kernel: str, **params: Parameter) -> float:
        """Return one reading."""
        name = " ".join([kernel, *(f"{key}={value}" for key, value in params.items())])
        if name not in self._by_name:
            raise unknown("point", name, self._by_name)
        return self._by_name[name].value

    def values(self, kernel: str) -> list[Row]:
        """Return the rows of one kernel, in order."""
        return [row for row in self.rows if row.point.split(" ")[0] == kernel]


@dataclass(frozen=True)
class Feed:
    """How one number of the YAML file follows from a benchmark's readings."""

    path: str  # dotted path in arch_configs/gpus/*.yaml
    compute: Callable[[Table], Any]
    whole: bool = False  # the key takes whole numbers only
    digits: int = 3  # significant
    needs: tuple[str, ...] = ()  # other benchmarks, whose readings it takes too

    def value(self, table: Table) -> Any:
        """Return the number, rounded; a curve comes out as it is."""
        found = self.compute(table)
        if isinstance(found, list):
            return found
        return round(found) if self.whole else significant(found, self.digits)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One microbenchmark. ``measure`` stands for readings that are no slope over trips (GPU only)."""

    name: str
    about: str  # one line: what is measured and how it becomes a parameter
    source: str  # CUDA
    points: tuple[Point, ...] = ()
    feeds: tuple[Feed, ...] = ()
    measure: Callable[[Runner, Benchmark], Iterator[Row]] | None = None

    def point(self, name: str) -> Point:
        """Return a point by its name."""
        named = {point.name: point for point in self.points}
        if name not in named:
            raise unknown("point", name, named)
        return named[name]


def significant(value: float, digits: int) -> float:
    """Round to significant digits."""
    return float(f"{value:.{digits}g}")


def launches(benchmark: Benchmark, point: Point, target: str = TARGET) -> tuple[KernelLaunch, KernelLaunch]:
    """Return the launches of a point's two trip counts."""
    first, second = (launch(benchmark, point, trips, target) for trips in point.trips)
    return first, second


def launch(benchmark: Benchmark, point: Point, trips: int, target: str = TARGET) -> KernelLaunch:
    """Return the launch that runs a point's loop ``trips`` times.

    Kernels take: clocks, sink, trips, sub-cores, then the point's own arguments.
    """
    own = [each for each in point.arguments if isinstance(each, Buffer)]
    buffers = (
        Buffer("clocks", CLOCK_BYTES * point.warps * point.ctas, "output"),
        Buffer("sink", SINK_BYTES, "output"),
        *own,
    )
    extra = (BufferRef(each.name) if isinstance(each, Buffer) else each for each in point.arguments)
    return KernelLaunch(
        program=load_program(benchmark.name, point.kernel, target, decoded=point.simulated),
        grid=(point.ctas, 1, 1),
        block=(LANES * point.warps, 1, 1),
        dynamic_shared_bytes=point.shared_bytes,
        args=(BufferRef("clocks"), BufferRef("sink"), np.int32(trips), np.int32(point.subcores), *extra),
        buffers=buffers,
        classes=(CtaClass((0, 0, 0), point.ctas),),
        label=f"{benchmark.name} {point.name} trips={trips}",
    )


def loop_of(program: Program) -> range:
    """Return the instructions of the measured loop: from the target of the last back edge to that edge."""
    branches = [
        pc for pc in range(len(program)) if program.opcode[pc] == Op.BRA and _target(program, pc) < pc
    ]
    return range(_target(program, branches[-1]), branches[-1] + 1)


def _target(program: Program, pc: int) -> int:
    return int(program.operands[pc, 1, 1]) // INSTRUCTION_BYTES


def scheduled_cycles(benchmark: str, kernel: str) -> int:
    """Return the sum of the stall counts that the compiler wrote into one trip of a kernel's loop."""
    program = load_program(benchmark, kernel, TARGET)
    return int(program.stall[list(loop_of(program))].sum())


def words(name: str, values: Iterable[int]) -> Buffer:
    """Make a buffer of 32-bit words."""
    data = np.array(list(values), np.uint32)
    return Buffer(name, data.nbytes, "activations", data)
