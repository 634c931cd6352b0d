"""What a GPU is: frozen specs whose field names carry their units; ``sim.arch.load`` makes them of YAML.

Cycles are SM cycles unless the name says otherwise. *Interval* is the issue interval (reciprocal throughput)
of one warp instruction on one sub-core's pipe; *latency* runs from issue to the first cycle a dependent may
issue. Where each number comes from stands beside it in the YAML file (``GpuSpec.sources``). The bounds of the
types below are no facts: they keep a typing error or a hostile file from making a simulation endless.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sim.config import Strict

Count = Annotated[int, Field(ge=1, le=65_536)]
Interval = Annotated[float, Field(ge=0.01, le=10_000)]  # cycles
Latency = Annotated[float, Field(ge=1, le=100_000)]  # cycles
WholeInterval = Annotated[int, Field(ge=1, le=10_000)]
WholeLatency = Annotated[int, Field(ge=1, le=100_000)]
ExtraCycles = Annotated[float, Field(ge=0, le=10_000)]  # may be nothing
WholeExtraCycles = Annotated[int, Field(ge=0, le=1_000_000)]
OnChipBytes = Annotated[int, Field(ge=1, le=2**36)]
DeviceBytes = Annotated[int, Field(ge=2**20, le=2**50)]
BytesPerCycle = Annotated[float, Field(ge=0.1, le=1e7)]
ClockMhz = Annotated[float, Field(ge=1, le=100_000)]
GigabytesPerSecond = Annotated[float, Field(ge=0.1, le=1e7)]
Nanoseconds = Annotated[float, Field(ge=0.001, le=1e6)]
Microseconds = Annotated[float, Field(ge=0, le=1e6)]
Picojoules = Annotated[float, Field(ge=0, le=1e7)]
Watts = Annotated[float, Field(ge=0, le=1e5)]
Fraction = Annotated[float, Field(ge=0, le=1)]
MmaKey = Annotated[str, Field(pattern=r"^m\d{1,3}n\d{1,3}k\d{1,3}\.[a-z]+\d+[a-z0-9]*\.[a-z]+\d+[a-z0-9]*$")]
WgmmaKey = Annotated[str, Field(pattern=r"^[a-z]+\d+[a-z0-9]*\.[a-z]+\d+[a-z0-9]*$")]
InputType = Annotated[str, Field(pattern=r"^[a-z]+\d+[a-z0-9]*$")]  # f16, bf16, s8, e4m3, b1
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
OpsPerCycle = Annotated[int, Field(ge=1, le=10**9)]


class Pipe(Strict):
    """One execution pipe of a sub-core."""

    interval_cycles: Interval
    latency_cycles: WholeLatency  # used only by results that a dependence counter covers


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

    interval_cycles: Interval
    latency_cycles: Latency  # accumulator to accumulator


class WarpgroupOp(Strict):
    """``wgmma`` of one accumulator and input type: 64 rows, 32 bytes of K, on the tensor cores of four sub-cores.

    From its begin until its accumulators may be read it takes N column intervals and the latency of its kind.
    """

    column_interval_cycles: Interval  # issue interval per column of N
    shared_latency_cycles: Latency  # A in shared memory
    register_latency_cycles: Latency  # A in registers


class TensorCore(Strict):
    """The tensor core of a sub-core; keys of ``mma`` are PTX shapes and types, ``m16n8k16.f32.f16``."""

    mma: dict[MmaKey, TensorOp]
    wgmma: dict[WgmmaKey, WarpgroupOp]  # by types, "f32.f16"
    wgmma_register_interval_cycles: Interval  # least, with A in registers: until they are read
    wgmma_queue_entries: Count  # that a warpgroup may issue ahead of the one at work
    wgmma_arithmetic_factor: Annotated[
        float, Field(ge=1, le=100)
    ]  # of other warps' issue intervals beside one
    peak_ops_per_cycle: dict[InputType, OpsPerCycle]  # per SM, by the fastest instruction there is


class RegisterFile(Strict):
    """Operand fetch of a sub-core (Huerta et al., MICRO'25)."""

    registers: Annotated[int, Field(ge=1, le=2**22)]  # 32-bit registers of the SM
    allocation_unit: Count  # registers are given to a warp in units of so many
    banks: Annotated[int, Field(ge=1, le=64)]
    read_window_cycles: Annotated[
        int, Field(ge=1, le=64)
    ]  # by which an instruction may issue ahead of its reads


class SharedMemory(Strict):
    """Shared memory: banks, and the pipe that serves one wavefront per cycle."""

    banks: Annotated[int, Field(ge=1, le=1024)]  # a power of two
    bank_bytes: Annotated[int, Field(ge=1, le=256)]  # a power of two
    capacity_bytes: OnChipBytes  # of the SM
    cta_limit_bytes: OnChipBytes
    cta_reserved_bytes: Annotated[int, Field(ge=0, le=2**30)]
    load_latency_cycles: Latency  # LDS.32, conflict-free
    extra_wavefront_latency_cycles: ExtraCycles  # one warp's latency grows so much per further wavefront
    further_register_latency_cycles: WholeExtraCycles  # LDS.64, LDS.128: and so much per further register


class LoadStoreUnit(Strict):
    """The in-order memory pipe (MIO, LSU) that the four sub-cores share."""

    queue_entries: Annotated[int, Field(ge=1, le=1024)]  # per sub-core
    address_interval_cycles: WholeInterval  # per instruction and sub-core, with one register that it sends
    register_interval_cycles: WholeExtraCycles  # per further register: of a 64-bit address, of a store's data
    intake_interval_cycles: WholeInterval  # per instruction, all sub-cores
    global_line_cycles: ExtraCycles  # LDG/STG/RED: per 128-byte line of an instruction
    missed_line_cycles: ExtraCycles  # LDG: per line, where some of its data is not in L1
    handed_line_cycles: ExtraCycles  # and so much more, where another SM wrote it a moment ago
    store_sector_cycles: ExtraCycles  # STG: least pipe time per sector that is written
    store_extra_latency_cycles: ExtraCycles  # STG: of the answer that a fence waits for, over a load's
    copy_instruction_cycles: (
        ExtraCycles  # LDGSTS: least pipe time at issue; each line takes global_line_cycles
    )
    copy_data_cycles: ExtraCycles  # LDGSTS: shared-memory pipe time when it is issued
    copy_write_wavefront_cycles: (
        ExtraCycles  # LDGSTS: shared-memory pipe time per wavefront that its data is written in
    )
    copy_extra_latency_cycles: ExtraCycles  # LDGSTS: over a load's, until its data is in shared memory
    atomic_extra_latency_cycles: ExtraCycles  # ATOMG: of the answer, over a load's
    source_release_cycles: (
        WholeLatency  # from the issue of a load or store until its source registers are read
    )
    copy_release_cycles: WholeLatency  # LDGSTS: the same, from its turn to leave the sub-core
    shuffle_interval_cycles: Interval  # SHFL on the same pipe, per SM
    shuffle_latency_cycles: Latency  # SHFL
    constant_load_latency_cycles: WholeLatency  # LDC


class L1Cache(Strict):
    """The cache that shares the memory array with shared memory."""

    hit_latency_cycles: WholeLatency
    line_latency_cycles: ExtraCycles  # of a hit, per line that it asks for
    hidden_line_cycles: ExtraCycles  # of that sum, what hides behind the latency of one line
    fill_bytes_per_cycle: BytesPerCycle  # that L2 sends one SM, as cp.async asks
    line_bytes: Count
    sector_bytes: Count


class BulkCopy(Strict):
    """The engine that copies boxes between global and shared memory (cp.async.bulk, TMA), one after the other."""

    bytes_per_cycle: BytesPerCycle  # of one SM, from L2
    piece_interval_cycles: (
        Interval  # of a load, per piece of a box's row: in one line; parts of sectors apart
    )
    issue_interval_cycles: Interval  # least, per box
    extra_latency_cycles: ExtraCycles  # over a load's round trip, until a warp that waits for it goes on


class Control(Strict):
    """Barriers and branches."""

    barrier_arrival_cycles: WholeExtraCycles  # bar.sync: arrivals are counted one after the other
    barrier_release_cycles: WholeLatency  # bar.sync: from the last arrival counted to the next issue
    barrier_reset_cycles: (
        WholeExtraCycles  # bar.sync: from the last arrival counted to the next barrier's first
    )
    taken_branch_cycles: WholeExtraCycles  # least, from a taken branch to its target
    next_line_cycles: WholeExtraCycles  # least, from a taken branch to code behind its target's 128-byte line
    membar_latency_cycles: WholeLatency
    membar_interval_cycles: ExtraCycles  # between two of one SM: it sends one at a time
    mbarrier_arrival_interval_cycles: ExtraCycles  # of the SM, per arrival
    mbarrier_arrival_latency_cycles: WholeLatency  # from its turn until the phase may be complete
    mbarrier_wait_latency_cycles: WholeLatency  # from a wait whose phase is complete to the next issue
    cta_start_cycles: WholeExtraCycles  # from a free slot to the first instruction of the next CTA


class Sm(Strict):
    """One streaming multiprocessor, and how many there are."""

    count: Count
    sub_cores: Annotated[int, Field(ge=1, le=64)]
    max_warps: Annotated[int, Field(ge=1, le=1024)]
    max_ctas: Annotated[int, Field(ge=1, le=1024)]
    max_clock_mhz: ClockMhz
    mma_clock_mhz: ClockMhz  # as soon as the tensor cores work at all
    sustained_clock_mhz: ClockMhz  # at their full rate, under the power limit
    pipes: Pipes
    tensor: TensorCore
    register_file: RegisterFile
    shared_memory: SharedMemory
    load_store: LoadStoreUnit
    bulk_copy: BulkCopy
    l1: L1Cache
    control: Control


class BusyShare(Strict):
    """One point of the curve of what L2 gives against how many SMs are at work."""

    busy: Fraction  # of the SMs
    share: Fraction  # of L2's bandwidth that they get together, if each gets what the slowest does


class L2Cache(Strict):
    """The second-level cache, as seen from an SM (SM cycles at ``max_clock_mhz``)."""

    capacity_bytes: DeviceBytes  # usable before a repeated read falls out
    near_latency_cycles: Latency
    far_latency_cycles: Latency
    far_fraction: Fraction
    bandwidth_bytes_per_cycle: BytesPerCycle  # all SMs together, reads
    # Few SMs get less than all: some share a way to it. From 0 to 1, never falling; measured of reads, used of writes.
    busy_share: tuple[BusyShare, ...] = Field(min_length=2, max_length=64)
    write_share: Annotated[float, Field(gt=0, le=1)]  # of that, what they write when all write
    cluster_sms: Annotated[float, Field(ge=1, le=1024)]  # SMs that get one answer to what they ask together
    late_share: Fraction  # of that, what they ask too late, beside data that others do not read
    sm_port_bytes_per_cycle: BytesPerCycle  # one SM
    clock_share: Fraction  # of the time to it and to DRAM, latency and rate: what follows the SM clock


class LoadedLatency(Strict):
    """One point of the curve of DRAM latency against utilization."""

    utilization: Fraction
    latency_ns: Nanoseconds


class StageExcess(Strict):
    """One point of the curve of what the slowest line of a stage takes beyond the mean line, against utilization."""

    utilization: Fraction
    factor: Annotated[float, Field(ge=0, le=1000)]  # of the unloaded miss


class Dram(Strict):
    """Device memory: what it reaches, and how its latency grows with load."""

    bandwidth_gb_per_s: GigabytesPerSecond  # reached by a streaming read
    peak_gb_per_s: GigabytesPerSecond  # on the datasheet
    capacity_bytes: DeviceBytes
    # What DRAM adds to an L2 miss; from utilization 0 to 1, rising.
    loaded_latency: tuple[LoadedLatency, ...] = Field(min_length=2, max_length=64)
    # Of the time that a byte takes, what one takes beside it that is found in L2: read again, or never evicted.
    hit_cost: Fraction
    # A CTA waits for the slowest line of a stage of 64; from utilization 0 to 1, rising.
    stage_excess: tuple[StageExcess, ...] = Field(min_length=2, max_length=64)


class Launch(Strict):
    """Fixed costs of one kernel inside a CUDA graph."""

    graph_node_us: Microseconds  # an empty node
    ramp_us: Microseconds  # parameters, first instruction fetch, until the first CTAs run
    argument_line_cycles: (
        WholeLatency  # for every 64 bytes of arguments beyond the first: read for the first time
    )


class Energy(Strict):
    """Energy per action."""

    instruction_pj: Picojoules  # fetch, decode, operands of one warp instruction
    tensor_pj_per_op: dict[InputType, Picojoules]  # one multiply or add of an MMA, by its operands
    shared_wavefront_pj: Picojoules
    l2_pj_per_bit: Picojoules
    dram_pj_per_bit: Picojoules
    idle_w: Watts


class GpuSpec(Strict):
    """One GPU, real or hypothetical."""

    name: Name
    title: Text
    compute_capability: str = Field(pattern=r"^\d{1,2}\.\d$")  # "9.0"
    program_target: str = Field(pattern=r"^sm_\d{2,3}[a-z]?$")  # the binaries it runs: "sm_90a"
    status: Text  # in words: measured, or from literature
    sm: Sm
    l2: L2Cache
    dram: Dram
    launch: Launch
    energy: Energy
    sources: dict[str, str] = Field(default_factory=dict)  # dotted path of each number -> where it comes from
