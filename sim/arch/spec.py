"""What a GPU is: frozen specs whose field names carry their units. YAML turns into these in ``sim.arch.load`` alone.

Cycles are SM cycles unless the name says otherwise. *Interval* is the issue interval (reciprocal throughput) of one
warp instruction on one sub-core's pipe; *latency* runs from issue to the first cycle a dependent may issue.
Where each number comes from stands beside it in the YAML file (``GpuSpec.sources``).
"""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sim.config import Strict


class Pipe(Strict):
    """One execution pipe of a sub-core."""

    interval_cycles: PositiveFloat
    latency_cycles: PositiveInt  # used only by results that a dependence counter covers


class Pipes(Strict):
    """The pipes of a sub-core that are not the tensor core and not the memory unit."""

    alu: Pipe  # LOP3, SHF, PRMT, IADD3, ISETP, ...
    fma: Pipe  # FFMA, FMUL, FADD
    imad: Pipe  # IMAD and the moves and shifts the compiler turns into it (the heavy half of the FMA pipe)
    half: Pipe  # HFMA2, HMUL2, HADD2
    xu: Pipe  # MUFU, I2F, F2I, POPC, FLO
    uniform: Pipe  # the uniform datapath
    special: Pipe  # S2R, CS2R, R2UR, ...: answered through a dependence counter


class TensorOp(Strict):
    """``mma.sync`` of one shape and type, as one warp instruction on one sub-core."""

    interval_cycles: PositiveFloat
    latency_cycles: PositiveFloat  # accumulator to accumulator


class TensorCore(Strict):
    """The tensor core of a sub-core; keys of ``mma`` are PTX shapes and types, ``m16n8k16.f32.f16``."""

    mma: dict[str, TensorOp]
    peak_ops_per_cycle: dict[str, PositiveInt]  # per SM and input type (f16, s8, ...), by the fastest instruction there is


class RegisterFile(Strict):
    """Operand fetch of a sub-core (Huerta et al., MICRO'25)."""

    registers: PositiveInt  # 32-bit registers of the SM
    allocation_unit: PositiveInt  # registers are given to a warp in units of so many
    banks: PositiveInt
    read_window_cycles: PositiveInt


class SharedMemory(Strict):
    """Shared memory: banks, and the pipe that serves one wavefront per cycle."""

    banks: PositiveInt
    bank_bytes: PositiveInt
    capacity_bytes: PositiveInt  # of the SM
    cta_limit_bytes: PositiveInt
    cta_reserved_bytes: NonNegativeInt
    load_latency_cycles: PositiveFloat  # LDS.32, conflict-free
    extra_wavefront_latency_cycles: NonNegativeFloat  # one warp's latency grows so much per further wavefront


class LoadStoreUnit(Strict):
    """The in-order memory pipe (MIO, LSU) that the four sub-cores share."""

    queue_entries: PositiveInt  # per sub-core
    address_interval_cycles: PositiveInt  # per instruction and sub-core
    intake_interval_cycles: PositiveInt  # per instruction, all sub-cores
    global_line_cycles: NonNegativeFloat  # LDG/STG/RED: per 128-byte line of an instruction
    copy_instruction_cycles: NonNegativeFloat  # LDGSTS: pipe time at issue
    copy_extra_latency_cycles: NonNegativeFloat  # LDGSTS: over a load's, until its data is in shared memory
    source_release_cycles: PositiveInt  # until the source registers of a load, store or copy are read
    shuffle_interval_cycles: PositiveFloat  # SHFL on the same pipe, per SM
    constant_load_latency_cycles: PositiveInt  # LDC


class L1Cache(Strict):
    """The cache that shares the memory array with shared memory."""

    hit_latency_cycles: PositiveInt
    line_bytes: PositiveInt
    sector_bytes: PositiveInt


class Control(Strict):
    """Barriers and branches."""

    barrier_release_cycles: PositiveInt  # bar.sync: from the last arrival to the next issue
    taken_branch_cycles: NonNegativeInt
    membar_latency_cycles: PositiveInt
    cta_start_cycles: NonNegativeInt  # from a free slot to the first instruction of the next CTA


class Sm(Strict):
    """One streaming multiprocessor, and how many there are."""

    count: PositiveInt
    sub_cores: PositiveInt
    max_warps: PositiveInt
    max_ctas: PositiveInt
    max_clock_mhz: PositiveFloat
    sustained_clock_mhz: PositiveFloat  # under tensor load
    pipes: Pipes
    tensor: TensorCore
    register_file: RegisterFile
    shared_memory: SharedMemory
    load_store: LoadStoreUnit
    l1: L1Cache
    control: Control


class L2Cache(Strict):
    """The second-level cache, as seen from an SM (SM cycles at ``max_clock_mhz``)."""

    capacity_bytes: PositiveInt  # usable before a repeated read falls out
    near_latency_cycles: PositiveFloat
    far_latency_cycles: PositiveFloat
    far_fraction: float = Field(ge=0, le=1)
    bandwidth_bytes_per_cycle: PositiveFloat  # all SMs together
    sm_port_bytes_per_cycle: PositiveFloat  # one SM
    atomic_interval_ns: PositiveFloat  # operations on one address


class LoadedLatency(Strict):
    """One point of the curve of DRAM latency against utilization."""

    utilization: float = Field(ge=0, le=1)
    latency_ns: PositiveFloat


class Dram(Strict):
    """Device memory: what it reaches, and how its latency grows with load."""

    bandwidth_gb_per_s: PositiveFloat  # reached by a streaming read
    peak_gb_per_s: PositiveFloat  # on the datasheet
    capacity_bytes: PositiveInt
    loaded_latency: tuple[LoadedLatency, ...] = Field(min_length=2)  # what DRAM adds to an L2 miss; rising


class Launch(Strict):
    """Fixed costs of one kernel inside a CUDA graph."""

    graph_node_us: NonNegativeFloat  # an empty node
    ramp_us: NonNegativeFloat  # parameters, first instruction fetch, until the first CTAs run


class Energy(Strict):
    """Energy per action."""

    instruction_pj: NonNegativeFloat  # fetch, decode, operands of one warp instruction
    tensor_pj_per_op: NonNegativeFloat  # one multiply or add of an FP16 MMA
    shared_wavefront_pj: NonNegativeFloat
    l2_pj_per_bit: NonNegativeFloat
    dram_pj_per_bit: NonNegativeFloat
    idle_w: NonNegativeFloat


class GpuSpec(Strict):
    """One GPU, real or hypothetical."""

    name: str
    title: str
    compute_capability: str  # "9.0"
    program_target: str  # the binaries it runs: "sm_90a"
    status: str  # in words: measured, or from literature
    sm: Sm
    l2: L2Cache
    dram: Dram
    launch: Launch
    energy: Energy
    sources: dict[str, str] = Field(default_factory=dict)  # dotted path of each number -> where it comes from
