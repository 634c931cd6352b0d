"""The integer columns that the timing engine reads, and its names for stalls and results.

Engine, twin and ``columns`` share these; everything is an integer, times are SM cycles, or *ticks* where a
fraction of a cycle matters (issue intervals, measured latencies). The compiled engine freezes the constants.
"""

from __future__ import annotations

from typing import NamedTuple

TICKS = 256  # per SM cycle
FAR = 1 << 40  # later than any cycle
ALL = 1 << 31  # the share of requests that lie in the farther half of L2 is counted in parts of it

# columns of `static`, one row per instruction of the program
(
    S_STALL,  # cycles until the warp's next issue, at least 1
    S_WAIT,  # mask of dependence counters that must be zero
    S_WRITE,  # dependence counter that falls when the result is there, 7 = none
    S_READ,  # dependence counter that falls when the sources are read, 7 = none
    S_OWNER,  # the stall that a wait for these counters is counted as
    S_INTERVAL,  # ticks that the pipe is busy
    S_LATENCY,  # cycles until S_WRITE falls; of a shared load or shuffle: beyond the latency of LDS.32
    S_ACCUMULATE,  # ticks from accumulator to accumulator
    S_ACC_READ,  # base register of the accumulator read, -1 = none
    S_ACC_WRITE,
    S_FACTOR,  # base register of the mma's A operand, which another tensor instruction may have written; -1 = none
    S_ARGUMENT,
    S_REUSE,
    S_SLOT_A,  # general registers read through the ports of the register file, -1 = none
    S_SLOT_B,
    S_SLOT_C,
    S_OPERANDS,  # wgmma: ticks of the shared-memory pipe that its operands take
    S_CROWDING,  # wgmma: percent of their own time that other accesses take of that pipe meanwhile
    S_READS,  # mma, access to memory: cycles in which it holds the read ports of the register file
    S_SENT,  # memory: cycles in which its registers leave the sub-core
    S_RELEASE,  # memory: cycles from issue, of a copy from its turn to leave the sub-core, until S_READ falls
    STATIC_COLUMNS,
) = range(22)

# columns of `rows`, one row per executed warp instruction
(
    R_PC,
    R_UNIT,  # sim.isa.units.Unit; NONE where no lane was active
    R_WAVEFRONTS,
    R_COST,  # memory: ticks of the pipe; taken branch: cycles
    R_SECTORS,  # that go to L2
    R_HIT,  # 1 = all sectors are in L1
    R_BEGIN,  # loop that begins here, -1 = none
    R_END,  # loop whose last row this is, -1 = none
    R_MBARRIER,  # that the row waits for, arrives at or copies for, -1 = none
    R_PARITY,  # of the completions after which a wait goes on
    R_ARRIVALS,
    R_TX,  # bytes announced or delivered
    R_LINES,  # that a global access asks for
    ROW_COLUMNS,
) = range(14)

STALL_NAMES = (
    "issued",
    "wait",
    "long_scoreboard",
    "short_scoreboard",
    "math_pipe_throttle",
    "mio_throttle",
    "barrier",
    "membar",
    "dispatch_stall",
    "gmma",
    "not_selected",
)
(ISSUED, WAIT, LONG, SHORT, MATH, MIO, BARRIER_STALL, MEMBAR_STALL, DISPATCH, GMMA, NOT_SELECTED) = range(11)

FINISHED, DEADLOCK, TOO_LONG, HEAP_FULL = range(4)  # how a run ended

COMMIT_SLOTS = 64  # open cp.async groups of a warp: a dependence counter holds 63
BARRIERS = 16  # named barriers of a CTA
WARPGROUP = 4  # warps that issue a wgmma together


class Machine(NamedTuple):
    """The numbers of an SM that do not belong to one instruction."""

    sub_cores: int
    queue_entries: int
    intake_ticks: int
    window_cycles: int  # operand read window, which also lies before the memory queue
    register_banks: int
    load_ticks: int
    wavefront_ticks: int
    copy_ticks: int
    copy_data_ticks: int  # of the data pipe, per copy when it is issued
    copy_write_ticks: int  # of the data pipe, per wavefront of a copy's write
    copy_extra_cycles: int
    line_ticks: int
    missed_line_ticks: int  # per line of a load that misses L1
    handed_line_ticks: int  # more, where another SM wrote it a moment ago
    port_sector_ticks: int  # of the SM's port, per sector that is loaded from L2
    store_extra_cycles: int  # of a store's answer, over a load's
    atomic_extra_cycles: int  # likewise
    hit_cycles: int
    hit_line_ticks: int  # by which an L1 hit's latency grows per line, once that shows
    hit_hidden_ticks: int  # of which so much does not show
    arrival_cycles: int  # of the barrier unit, per warp that arrives
    barrier_cycles: int
    barrier_reset_cycles: int  # from a barrier's opening until it counts the next arrival
    membar_cycles: int
    membar_ticks: int  # between two fences of the SM
    cta_start_cycles: int
    gmma_entries: int  # wgmmas that a warp may issue ahead of the one at work
    gmma_slowdown: int  # percent: issue interval of arithmetic beside a wgmma, over its own
    sync_ticks: int  # of the mbarrier unit, per arrival
    sync_cycles: int  # from an arrival's turn there to its effect
    bulk_extra_cycles: int  # of a bulk copy, over a load's round trip, until its mbarrier hears of it


class Drive(NamedTuple):
    """What one run replays, and the memory it sees."""

    sms: int
    resident: int  # CTAs on one SM at a time
    ctas: int
    stagger_cycles: int  # between the starts of the first CTAs of one SM
    near_cycles: int  # round trip of a request to memory, nearer or
    far_cycles: int  # farther half of L2
    far_threshold: int  # of 2**31
    seed: int
    sector_ticks: int  # time of one sector in a server that all SMs share; 0 = no limit
    mark_warp: int  # whose loop iterations are stamped
    marks: int  # stamps per CTA
    max_cycles: int
    bulk_sectors: int = (
        FAR  # of a CTA: what it asks beyond so many is not bulk data, and its arrival is not noted
    )
