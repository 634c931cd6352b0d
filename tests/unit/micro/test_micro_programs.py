"""The compiled microbenchmarks contain what they say: the loop holds the instructions that are timed, and no others."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from gpu_kernels.compile import compiler
from gpu_kernels.micro import mma, scalar, shared
from gpu_kernels.micro.benchmark import TARGET, Benchmark, Point, loop_of, scheduled_cycles
from gpu_kernels.micro.build import stale
from gpu_kernels.micro.programs.store import listings, load_program
from gpu_kernels.micro.registry import benchmarks, get_benchmark
from sim.errors import TcsimError
from sim.isa.program import Program
from sim.isa.units import Unit

LOOP_OVERHEAD = {"UIADD3", "ISETP.LE.AND", "ISETP.GE.AND", "BRA", "VIADD", "IMAD.MOV.U32", "MOV", "UMOV"}
REGISTERS_PER_SM = 65536
POINTS = [(name, point) for name, benchmark in benchmarks().items() for point in benchmark.points]


def body(benchmark: str, kernel: str) -> Counter[str]:
    """Return how often each opcode stands in a kernel's loop, without the loop's own instructions."""
    rows = listings(benchmark, TARGET)[kernel].rows
    targets = [(i, int(row[2].split(",")[-1], 16) // 16) for i, row in enumerate(rows) if row[1] == "BRA"]
    end, begin = max((i, to) for i, to in targets if to < i)
    found = Counter(row[1] for row in rows[begin : end + 1])
    return Counter({opcode: count for opcode, count in found.items() if opcode not in LOOP_OVERHEAD})


def test_points_are_unique_and_fit_an_sm() -> None:
    for name, benchmark in benchmarks().items():
        names = [point.name for point in benchmark.points]
        assert len(set(names)) == len(names), name
        for point in benchmark.points:
            program = load_program(name, point.kernel, TARGET, decoded=False)
            assert program.registers * 32 * point.warps <= REGISTERS_PER_SM, point.name


@pytest.mark.parametrize(("name", "point"), POINTS, ids=lambda each: getattr(each, "name", each))
def test_kernels_take_the_points_arguments(name: str, point: Point) -> None:
    program = load_program(name, point.kernel, TARGET, decoded=point.simulated)
    assert len(program.params) == 4 + len(point.arguments)


def test_every_kernel_of_a_plain_benchmark_is_measured() -> None:
    for name, benchmark in benchmarks().items():
        if benchmark.measure is None:
            assert set(listings(name, TARGET)) == {point.kernel for point in benchmark.points}, name


@pytest.mark.parametrize("chains", mma.CHAINS)
@pytest.mark.parametrize("shape", mma.SHAPES, ids=lambda shape: shape.prefix)
def test_mma_loops_hold_the_operations_and_their_chains(shape: mma.Shape, chains: int) -> None:
    kernel = f"{shape.prefix}_{chains}"
    found = body("mma", kernel)
    (opcode,) = found
    assert opcode.split(".")[0] in ("HMMA", "IMMA", "BMMA")
    assert found[opcode] == mma.UNROLL
    rows = [row for row in listings("mma", TARGET)[kernel].rows if row[1] == opcode]
    first_and_last = [[part.removesuffix(".reuse") for part in row[2].split(",")] for row in rows]
    assert all(parts[0] == parts[3] for parts in first_and_last)  # accumulates in place
    assert len({parts[0] for parts in first_and_last}) == chains


@pytest.mark.parametrize("operation", scalar.OPERATIONS, ids=lambda operation: operation.name)
def test_scalar_loops_hold_one_operation(operation: scalar.Operation) -> None:
    for kernel, length in (
        (f"chain_{operation.name}", scalar.SHORT),
        (f"{operation.name}_{scalar.SHORT}", scalar.SHORT),
        (f"{operation.name}_{scalar.LONG}", scalar.LONG),
    ):
        found = body("scalar", kernel)
        assert sum(found.values()) == length
        half = operation.sass.startswith("H")  # the compiler spreads these over two opcodes
        assert half or set(found) == {operation.sass}


def test_pairs_alternate() -> None:
    for first, second in scalar.PAIRS:
        found = body("scalar", f"{first}_{second}_{scalar.LONG}")
        assert sum(found.values()) == scalar.LONG
        assert found[scalar.BY_NAME[first].sass] in (scalar.LONG // 2, 0) or first.startswith("h")


@pytest.mark.parametrize("kernel", sorted({point.kernel for point in shared.BENCHMARK.points}))
def test_shared_loops_hold_one_kind_of_access(kernel: str) -> None:
    found = body("shared", kernel)
    assert sum(found.values()) == shared.UNROLL
    assert len(found) == 1


@pytest.mark.parametrize("width", ["lds32", "lds64", "lds128", "ldsm1", "ldsm2", "ldsm4"])
def test_chases_depend_on_what_they_load(width: str) -> None:
    program = load_program("shared", f"chase_{width}", TARGET)
    loads = [pc for pc in loop_of(program) if program.unit[pc] == Unit.SHARED_LOAD]
    for before, after in pairwise(loads):
        counter = int(program.write_counter[before])
        assert program.wait_mask[after] >> counter & 1, program.text[after]


@pytest.mark.parametrize(
    ("kernel", "opcode", "count"),
    [
        ("l1_32", "LDG.E", 16),
        ("l1_32_full", "LDG.E", 16),
        ("l1_128", "LDG.E.128", 8),
        ("l2_32", "LDG.E.STRONG.GPU", 16),
        ("l2_128", "LDG.E.128.STRONG.GPU", 8),
        ("chase_l1", "LDG.E.64", 16),
        ("chase_l2", "LDG.E.64.STRONG.GPU", 16),
    ],
)
def test_global_loads_stay_in_the_loop(kernel: str, opcode: str, count: int) -> None:
    assert body("loads", kernel)[opcode] == count


@pytest.mark.parametrize(
    ("kernel", "copies", "matrices"),
    [
        ("copy", 16, 0),
        ("copy_few", 16, 0),
        ("copy_ldsm", 16, 16),
        ("copy_ldsm_grouped", 16, 16),
        ("ldsm", 0, 16),
    ],
)
def test_copies_stay_in_the_loop(kernel: str, copies: int, matrices: int) -> None:
    found = body("copies", kernel)
    assert found["LDGSTS.E.BYPASS.128"] == copies
    assert found["LDSM.16.M88.4"] == matrices


@pytest.mark.parametrize(
    ("owner", "kernel", "opcode"),
    [
        ("latency", "one_by_one", "LDG.E.NA"),
        ("latency", "follow_ring", "LDG.E.NA.64"),
        ("loaded", "loaded", "LDG.E.NA.64"),
        ("bandwidth", "mix_4_0", "LDG.E.NA.128"),
        ("bandwidth", "stream_12", "LDGSTS.E.BYPASS.128"),
        ("fixed_cost", "stream", "LDG.E.NA.128"),
    ],
)
def test_chip_kernels_load_inside_a_loop(owner: str, kernel: str, opcode: str) -> None:
    rows = listings(owner, TARGET)[kernel].rows
    backward = [
        (int(row[2].split(",")[-1], 16) // 16, i)
        for i, row in enumerate(rows)
        if row[1] == "BRA" and int(row[2].split(",")[-1], 16) // 16 < i
    ]
    innermost = [(begin, end) for begin, end in backward if not any(begin < b < end for b, _ in backward)]
    assert any(row[1] == opcode for begin, end in innermost for row in rows[begin : end + 1])


def test_the_clock_is_read_around_the_loop() -> None:
    for name in ("mma", "scalar", "shared", "copies", "loads"):
        for kernel, listing in listings(name, TARGET).items():
            clocks = [i for i, row in enumerate(listing.rows) if "SR_CLOCKLO" in row[2]]
            program: Program = load_program(
                name, kernel, TARGET, decoded=_decodable(get_benchmark(name), kernel)
            )
            if len(program):
                loop = loop_of(program)
                assert clocks[0] < loop[0] and loop[-1] < clocks[-1], kernel


def _decodable(benchmark: Benchmark, kernel: str) -> bool:
    return all(point.simulated for point in benchmark.points if point.kernel == kernel)


def test_stall_counts_of_a_chain_are_its_latency() -> None:
    # 64 dependent LOP3, 4 cycles apart, and the loop's own instructions
    assert 4 * scalar.SHORT <= scheduled_cycles("scalar", "chain_lop3") <= 4 * scalar.SHORT + 24


def test_unknown_names_are_named() -> None:
    with pytest.raises(TcsimError, match=r"unknown microbenchmark 'scaler'\. Did you mean 'scalar'"):
        get_benchmark("scaler")
    with pytest.raises(TcsimError, match="unknown kernel"):
        load_program("mma", "k16", TARGET)


@pytest.mark.compile
def test_binaries_are_of_this_source() -> None:
    assert stale(compiler().version()) == []
