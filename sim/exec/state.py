"""All that one CTA's execution holds: registers, memories, trace columns, and what loop folding remembers.

What the memories hold at first is ``sim.exec.image``'s.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.exec import bulk
from sim.exec.access import find_pattern
from sim.isa import opcodes as o
from sim.isa.launch import Dim3, KernelLaunch

Array = npt.NDArray[Any]
GROUPS = 34  # divergent groups of a warp
TRACE_COLUMNS = 12  # those of a WarpTrace
PC, ACTIVE, PATTERN, LINES, SECTORS, MISSES, TAKEN, BUFFER, MBARRIER, PHASE, ARRIVALS, TX = range(
    TRACE_COLUMNS
)
HEADERS = 4  # loops of a warp that are watched at a time
RING = 64  # iterations remembered per loop: more than three windows of the longest period
MAX_PERIOD = 16
RUNNING, AT_BARRIER, EXITED, AT_HEADER, AT_PHASE = range(5)
PHASE_WAIT = -2  # in Registers.group_wait: a group that an mbarrier holds
WARPS_SHIFT = 8  # of Registers.barrier: number of the barrier below, warps that meet there above, 0 = all
FIRST_WARPGROUP = 16  # the numbers of the barriers at which the warps of a warpgroup wait for its wgmma


class Registers(NamedTuple):
    """Per-warp state. Shapes start with the number of warps."""

    general: Array  # uint32 [W, 256, 32]
    general_f: Array  # the same memory as float32
    general_i: Array  # the same memory as int32
    uniform: Array  # uint32 [W, 64]
    predicates: Array  # uint8 [W, 8, 32]
    uniform_predicates: Array  # uint8 [W, 8]
    convergence: Array  # uint32 [W, 17] lanes each barrier waits for
    group_pc: Array  # int64 [W, GROUPS]
    group_mask: Array  # uint32 [W, GROUPS]
    group_wait: Array  # int64 [W, GROUPS] convergence barrier a group is blocked on, -1 = none
    group_need: Array  # uint32 [W, GROUPS] the lanes that barrier waits for
    groups: Array  # int64 [W]
    exited: Array  # uint32 [W]
    state: Array  # int64 [W]
    barrier: Array  # int64 [W] the barrier (see WARPS_SHIFT) or the mbarrier that the warp waits at
    completions: (
        Array  # int64 [W] phases that all mbarriers had completed when the warp began to wait for one
    )
    special: Array  # uint32 [W, 16, 32] special registers


class Memory(NamedTuple):
    """Shared, global and constant memory; every flat array also as 32-bit words."""

    shared: Array
    shared_words: Array
    flat: Array
    flat_words: Array
    starts: Array  # int64 per buffer: where it lies in ``flat``
    windows: Array  # int64: addresses wrap around after so many bytes
    sizes: Array  # int64: bytes it has
    constants: Array  # uint32
    tags: Array  # int64: sectors that L1 has seen
    local: Array  # uint8: LOCAL_BYTES per thread, the top of the stack
    local_words: Array
    mbarriers: Array  # int64 [MBARRIERS, MBARRIER_FIELDS] in the order of their initialisation
    mbarrier_count: Array  # int64 [1]
    completions: Array  # int64 [1] phases completed so far, of all mbarriers
    maps: Array  # int64 [tensor maps, MAP_FIELDS]


class Recorder(NamedTuple):
    """Trace columns per warp, and the table of shared-access patterns."""

    rows: Array  # int32 [W, capacity, TRACE_COLUMNS]
    address: Array  # int64 [W, capacity] of the first active lane
    count: Array  # type: ignore[assignment] # int64 [W]; hides tuple's own method
    patterns: Array  # int32 [capacity, 34]
    pattern_table: Array  # int64 hash table
    pattern_count: Array  # int64 [1]
    pattern_row: Array  # int32 [34] scratch
    blocks: Array  # int64 scratch: distinct lines or sectors of one access


class Folder(NamedTuple):
    """What loop folding watches, per warp and loop header."""

    header: Array  # int64 [W, HEADERS] pc of the loop's first instruction, -1 = free
    iterations: Array  # int64 [W, HEADERS]
    row: Array  # int64 [W, HEADERS, RING] trace row at which an iteration began
    event: Array  # int64 [W, HEADERS, RING] decision at which it began
    snapshot: Array  # uint32 [W, HEADERS, RING, 256, 32] general registers then (small rings only)
    snapshot_uniform: Array  # uint32 [W, HEADERS, RING, 64]
    events: Array  # int64 [W] decisions recorded
    event_code: Array  # int32 [W, capacity]
    event_difference: Array  # int64 [W, capacity, 32]
    proposal: Array  # int64 [W, 3] header slot, period, periods that may be skipped
    retry_at: Array  # int64 [W, HEADERS] no proposal before so many iterations
    enabled: Array  # int64 [1]
    folds: Array  # int64 [capacity, 6] warp, begin row, end row, extra windows, header, period
    fold_count: Array  # int64 [1]
    window: Array  # int64 [2, 4] scratch: first rows and decisions of the last windows
    unsafe: Array  # int32 per static instruction
    least_period: Array  # int32 per static instruction, as a loop header


def build_registers(launch: KernelLaunch, cta: Dim3) -> Registers:
    """Return the state of a CTA before its first instruction."""
    warps = launch.warps
    general = np.zeros((warps, 256, 32), np.uint32)
    predicates = np.zeros((warps, 8, 32), np.uint8)
    predicates[:, o.PT] = 1
    uniform_predicates = np.zeros((warps, 8), np.uint8)
    uniform_predicates[:, o.PT] = 1
    lanes = np.arange(warps * 32).reshape(warps, 32) < launch.threads
    masks = (lanes.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(axis=1).astype(np.uint32)
    group_mask = np.zeros((warps, GROUPS), np.uint32)
    group_mask[:, 0] = masks
    return Registers(
        general,
        general.view(np.float32),
        general.view(np.int32),
        np.zeros((warps, 64), np.uint32),
        predicates,
        uniform_predicates,
        np.zeros((warps, 17), np.uint32),
        np.zeros((warps, GROUPS), np.int64),
        group_mask,
        np.full((warps, GROUPS), -1, np.int64),
        np.zeros((warps, GROUPS), np.uint32),
        np.ones(warps, np.int64),
        ~masks,
        np.zeros(warps, np.int64),
        np.zeros(warps, np.int64),
        np.zeros(warps, np.int64),
        _special_registers(launch, cta),
    )


def _special_registers(launch: KernelLaunch, cta: Dim3) -> Array:
    """Lay out the values of ``sim.isa.opcodes.SPECIAL_REGISTERS`` for every thread."""
    thread = np.arange(launch.warps * 32, dtype=np.int64)
    x, y, _ = launch.block
    lane = thread % 32
    values = np.zeros((16, len(thread)), np.int64)
    values[0], values[1], values[2] = thread % x, thread // x % y, thread // (x * y)
    values[3:6] = np.array(cta)[:, None]
    values[6] = lane
    values[8], values[9] = 1 << lane, (1 << lane) - 1
    values[10] = values[8] | values[9]
    values[11] = 0xFFFFFFFF & ~values[10]
    values[12] = 0xFFFFFFFF & ~values[9]
    values[13] = x
    return np.ascontiguousarray(values.astype(np.uint32).reshape(16, launch.warps, 32).transpose(1, 0, 2))


def build_recorder(warps: int, capacity: int, patterns: int) -> Recorder:
    """Return empty trace columns."""
    return Recorder(
        np.zeros((warps, capacity, TRACE_COLUMNS), np.int32),
        np.zeros((warps, capacity), np.int64),
        np.zeros(warps, np.int64),
        np.zeros((patterns, 34), np.int32),
        np.full(4 * patterns, -1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(34, np.int32),
        np.zeros(128, np.int64),
    )


def grown(recorder: Recorder) -> Recorder:
    """Return the same recording with twice the room."""
    warps, capacity, _ = recorder.rows.shape
    bigger = build_recorder(warps, 2 * capacity, 2 * len(recorder.patterns))
    bigger.rows[:, :capacity] = recorder.rows
    bigger.address[:, :capacity] = recorder.address
    bigger.count[:] = recorder.count
    for row in recorder.patterns[: int(recorder.pattern_count[0])]:
        find_pattern(row, bigger.patterns, bigger.pattern_table, bigger.pattern_count)
    return bigger


class Scratch(NamedTuple):
    """Working arrays of one warp instruction; names ending in f, bits and i alias their neighbours' memory."""

    active: Array
    p: Array
    q: Array
    t: Array
    x: Array
    y: Array
    z: Array
    xf: Array
    yf: Array
    zf: Array
    w0: Array
    address: Array
    index: Array  # type: ignore[assignment] # hides tuple's own method
    second: Array
    event: Array
    difference: Array
    a: Array
    a_bits: Array
    b: Array
    b_bits: Array
    acc: Array
    ai: Array
    bi: Array
    acci: Array
    copy: Array


def build_scratch() -> Scratch:
    """Return working arrays."""
    lanes = [np.zeros(32, np.uint32) for _ in range(3)]
    a, b = np.zeros(256, np.float32), np.zeros(128, np.float32)
    return Scratch(  # type: ignore[call-arg] # mypy does not count starred arguments
        *(np.zeros(32, np.uint8) for _ in range(4)),
        *lanes,
        *(lane.view(np.float32) for lane in lanes),
        np.zeros(32, np.uint64),
        *(np.zeros(32, np.int64) for _ in range(3)),
        np.zeros(1, np.int64),
        np.zeros(32, np.int64),
        a, a.view(np.uint32), b, b.view(np.uint32), np.zeros(128, np.float32),
        np.zeros(1024, np.int32), np.zeros(512, np.int32), np.zeros(128, np.int32),
        np.zeros(bulk.COPY_FIELDS, np.int64),
    )  # fmt: skip


def build_folder(
    warps: int, enabled: bool, unsafe: Array | None = None, least_period: Array | None = None
) -> Folder:
    """Return an empty memory of loops; a loop with an instruction that ``unsafe`` marks is never folded."""
    events = 1 << 12
    return Folder(
        np.full((warps, HEADERS), -1, np.int64),
        np.zeros((warps, HEADERS), np.int64),
        np.zeros((warps, HEADERS, RING), np.int64),
        np.zeros((warps, HEADERS, RING), np.int64),
        np.zeros((warps, HEADERS, RING, 256, 32) if enabled else (1, 1, 1, 1, 1), np.uint32),
        np.zeros((warps, HEADERS, RING, 64), np.uint32),
        np.zeros(warps, np.int64),
        np.zeros((warps, events), np.int32),
        np.zeros((warps, events, 32), np.int64),
        np.full((warps, 3), -1, np.int64),
        np.zeros((warps, HEADERS), np.int64),
        np.array([1 if enabled else 0], np.int64),
        np.zeros((256, 6), np.int64),
        np.zeros(1, np.int64),
        np.zeros((2, 4), np.int64),
        np.zeros(1, np.int32) if unsafe is None else unsafe,
        np.zeros(1, np.int32) if least_period is None else least_period,
    )
