"""How a matmul is cut: tiles of tokens and outputs, slices of K, the kinds of CTAs that result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sim.arch.spec import GpuSpec
from sim.isa.launch import CtaClass
from sim.isa.program import Program

BLOCK_K = 64  # columns of K in one block of a stage
FLOAT_BYTES = 4
WORD_BYTES = 4
MAX_GROUP_SHIFT = 3
PRODUCER_THREADS = 32  # of a kernel with the copy engine
WARPGROUP, OUTPUTS_OF_WARPGROUP = 4, 64  # warps of a warpgroup, rows of its wgmma

# What a cut of K costs, tuned with the kernels, not with a machine. Everything is in bytes of the pipeline, as many
# as an SM receives in that time when all of them stream.
SM_RATE = 1.6  # how much faster one SM receives when others are idle
MACS_PER_BYTE = 28  # multiply-adds of an SM while it receives a byte
IN_FLIGHT_BYTES = 24 * 1024  # an SM must keep so many in flight to run at full speed
FILL_BYTES = 60_000  # a CTA's beginning and end, when no other covers them
REDUCTION_BYTES = 32_000  # arriving at the counter, and the second pass
WRITTEN_WEIGHT, READ_WEIGHT = 2.0, 0.6  # of a byte of partial sums
MAX_SPLITS = 16


@dataclass(frozen=True)
class Tile:
    """One compiled configuration of a matmul kernel, in tokens (M), outputs (N) and 64-column blocks of K."""

    tokens: int
    outputs: int
    warps_m: int  # along the tokens
    warps_n: int  # along the outputs
    stages: int
    blocks: int  # of 64 columns, in one stage
    stage_bytes: int
    ctas_per_sm: int  # the compiler keeps registers low enough for so many
    warps_k: int = 1  # along K, within a stage
    extra: Mapping[str, int] = field(default_factory=dict)  # further macros
    options: Mapping[str, int | str | bool] = field(
        default_factory=dict
    )  # of the scheme, as it was compiled for
    label: str = ""  # what else tells it apart
    conflict_free: bool = True  # no access to shared memory meets another in a bank, whatever the data
    splits_k: bool = True  # the kernel can share a tile's K among CTAs
    table_bytes: int = 0  # dynamic shared memory before the pipeline
    register_bytes: int = 0  # of a stage that go to registers, past shared memory
    # Stages that a CTA's beginning and end take as long as, of a kernel whose stages take their time however few CTAs
    # there are; 0: it only receives, and the bytes decide.
    overhead_stages: float = 0.0
    source: str = "kernel.cu"  # in the scheme's folder
    targets: tuple[str, ...] = ()  # that it is compiled for; none: those of its scheme

    @property
    def name(self) -> str:
        """Tokens x outputs and the label, the name a user gives."""
        return f"{self.tokens}x{self.outputs}" + (f"-{self.label}" if self.label else "")

    @property
    def threads(self) -> int:
        """Threads of a CTA."""
        return 32 * self.warps_m * self.warps_n * self.warps_k

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory: the pipeline, reused by the sums of warps along K and by the padded output tile."""
        sums = self.warps_k * self.partial_bytes if self.warps_k > 1 else 0
        pipeline = self.table_bytes + self.stages * self.stage_bytes
        return max(pipeline, sums, self.tokens * (2 * self.outputs + 16))

    @property
    def received_bytes(self) -> int:
        """What a CTA receives per stage."""
        return self.stage_bytes + self.register_bytes

    @property
    def partial_bytes(self) -> int:
        """One K slice's share of a tile, in FP32."""
        return self.tokens * self.outputs * FLOAT_BYTES

    def defines(self) -> dict[str, int]:
        """Return the macros that configure the source."""
        return {
            "BM": self.tokens,
            "BN": self.outputs,
            "WARPS_M": self.warps_m,
            "WARPS_N": self.warps_n,
            "WARPS_K": self.warps_k,
            "STAGES": self.stages,
            "BLOCKS": self.blocks,
            "CTAS_PER_SM": self.ctas_per_sm,
            **self.extra,
        }

    def resident(self, gpu: GpuSpec, program: Program) -> int:
        """Return how many CTAs one SM holds."""
        sm = gpu.sm
        unit = sm.register_file.allocation_unit
        registers_of_warp = -(-program.registers * 32 // unit) * unit
        warps = self.threads // 32
        shared = self.shared_bytes + program.static_shared_bytes + sm.shared_memory.cta_reserved_bytes
        return min(
            sm.max_ctas,
            sm.max_warps // warps,
            sm.register_file.registers // registers_of_warp // warps,
            sm.shared_memory.capacity_bytes // shared,
        )


@dataclass(frozen=True)
class WgmmaTile(Tile):
    """A tile whose warps are warpgroups' and only multiply; one warp more copies."""

    splits_k: bool = False

    @property
    def threads(self) -> int:
        """Threads of a CTA, with the producer's."""
        return super().threads + PRODUCER_THREADS


@dataclass(frozen=True)
class Problem:
    """One matmul cut into tiles and K slices."""

    m: int
    n: int
    k: int
    tile: Tile
    splits: int

    @property
    def token_tiles(self) -> int:
        """Tiles along M."""
        return -(-self.m // self.tile.tokens)

    @property
    def output_tiles(self) -> int:
        """Tiles along N."""
        return -(-self.n // self.tile.outputs)

    @property
    def tiles(self) -> int:
        """Tiles of the output."""
        return self.token_tiles * self.output_tiles

    @property
    def stages(self) -> int:
        """Pipeline stages along all of K."""
        return -(-self.k // (BLOCK_K * self.tile.blocks))

    @property
    def slice(self) -> int:
        """Stages of the shorter K slices."""
        return self.stages // self.splits

    @property
    def longer_slices(self) -> int:
        """K slices, the first ones, that have one stage more."""
        return self.stages % self.splits

    @property
    def group_shift(self) -> int:
        """log2 of the output tiles that consecutive CTAs share; see Place in common.cuh."""
        if self.token_tiles == 1:
            return 0
        return max(shift for shift in range(MAX_GROUP_SHIFT + 1) if self.output_tiles % (1 << shift) == 0)

    @property
    def grid(self) -> tuple[int, int, int]:
        """CTAs in x, y and z."""
        return self.token_tiles << self.group_shift, self.output_tiles >> self.group_shift, self.splits


def choose_splits(m: int, n: int, k: int, tile: Tile, gpu: GpuSpec, resident: int) -> int:
    """Cut K so that the launch takes least, by the estimate below."""
    stages = Problem(m, n, k, tile, 1).stages
    return min(
        range(1, min(stages, MAX_SPLITS) + 1), key=lambda s: _cost(Problem(m, n, k, tile, s), gpu, resident)
    )


def _cost(problem: Problem, gpu: GpuSpec, resident: int) -> float:
    """Estimate the time: what all SMs stream together or the busiest one does, filling and reducing."""
    tile, splits = problem.tile, problem.splits
    if tile.overhead_stages:
        rounds = -(-problem.tiles * splits // (gpu.sm.count * resident))
        return rounds * (-(-problem.stages // splits) + tile.overhead_stages)
    busiest = -(-problem.tiles * splits // gpu.sm.count)
    work = -(-problem.stages // splits) * _stage_cost(problem, min(busiest, resident))
    if splits > 1:
        work += tile.partial_bytes * WRITTEN_WEIGHT
    together = problem.tiles * problem.stages * tile.received_bytes / gpu.sm.count
    cost = max(together, busiest * work) + -(-busiest // resident) * FILL_BYTES
    return cost if splits == 1 else cost + REDUCTION_BYTES + splits * tile.partial_bytes * READ_WEIGHT


def _stage_cost(problem: Problem, ctas: int) -> float:
    """Estimate one stage of one of ``ctas`` on an SM: receiving, slower if little is in flight, or multiplying."""
    tile = problem.tile
    in_flight = ctas * max(1, min(tile.stages - 1, problem.slice)) * tile.received_bytes
    received = tile.received_bytes / SM_RATE * max(1.0, IN_FLIGHT_BYTES / in_flight)
    return max(received, tile.tokens * tile.outputs * BLOCK_K * tile.blocks / MACS_PER_BYTE)


def cta_classes(problem: Problem) -> tuple[CtaClass, ...]:
    """Return the kinds of CTAs: interior or edge tile, longer or shorter K slice, last arriver or not."""
    return tuple(
        _cta_class(problem, token, output, z, count * tokens * outputs, last)
        for token, tokens in _edges(problem.m, problem.tile.tokens)
        for output, outputs in _edges(problem.n, problem.tile.outputs)
        for z, count, last in _slices(problem)
    )


def _edges(size: int, tile: int) -> list[tuple[int, int]]:
    """First tile and number of: the whole tiles, the partial one."""
    whole, partial = divmod(size, tile)
    return [(0, whole)] * (whole > 0) + [(whole, 1)] * (partial > 0)


def _slices(problem: Problem) -> list[tuple[int, int, bool]]:
    """First z, number, whether it arrives last: CTAs start in the order of z, so the last z is taken to."""
    splits, longer = problem.splits, problem.longer_slices
    if splits == 1:
        return [(0, 1, False)]
    kinds = [(0, longer, False), (longer, splits - 1 - longer, False), (splits - 1, 1, True)]
    return [kind for kind in kinds if kind[1] > 0]


def _cta_class(problem: Problem, token: int, output: int, z: int, count: int, last: bool) -> CtaClass:
    shift = problem.group_shift
    x, y = (token << shift) | (output & ((1 << shift) - 1)), output >> shift
    partial = [
        axis
        for axis, size, tile, index in (
            ("M edge", problem.m, problem.tile.tokens, token),
            ("N edge", problem.n, problem.tile.outputs, output),
        )
        if (index + 1) * tile > size
    ]
    label = ", ".join(partial) or "interior"
    if problem.splits == 1:
        return CtaClass((x, y, z), count, label)
    if last:
        counter = WORD_BYTES * (y * problem.grid[0] + x)
        return CtaClass((x, y, z), count, f"{label}, last slice", {("counters", counter): problem.splits - 1})
    return CtaClass((x, y, z), count, f"{label}, slice of {problem.slice + (z < problem.longer_slices)}")
