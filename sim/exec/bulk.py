"""The copy engine: bulk and tensor copies between global and shared memory (numba).

Copies happen at issue and report to their mbarrier at once: the executor is no race checker. A tensor map is found by
the address of its argument. Of a buffer without data nothing is moved; its lines and sectors are counted all the same.
"""

from __future__ import annotations

import numpy as np

from sim.exec.access import (
    GLOBAL_BASE_HIGH,
    LINE_SHIFT,
    MISALIGNED,
    OUT_OF_RANGE_GLOBAL,
    OUT_OF_RANGE_SHARED,
    SECTOR_SHIFT,
    SHARED_MASK,
)
from sim.exec.lanes import REG, UREG
from sim.exec.mbarrier import COMPLETED, numbered, report
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.jit import inner

DIMENSIONS = 5
# Fields of a tensor map: where it stands among the parameters, the tensor's address, and its shape
AT, START, ELEMENT, RANK, SWIZZLE, DIMS = range(6)
STRIDES, BOX = DIMS + DIMENSIONS, DIMS + 2 * DIMENSIONS
MAP_FIELDS = BOX + DIMENSIONS
# A copy has these fields too, and what is its own
COORDINATES = MAP_FIELDS
TARGET, MBARRIER, PHASE, BYTES, ROWS, LINES_ASKED, SECTORS_ASKED, LAST = range(
    COORDINATES + DIMENSIONS, COORDINATES + DIMENSIONS + 8
)
COPY_FIELDS = LAST + 1
PARAMETERS_HIGH = 0x7E00  # upper word of the generic address of the kernel's parameters
NO_TENSOR_MAP = 24
BOX_ALIGNMENT, ROW_ALIGNMENT = 128, 16  # of shared memory
TENSOR_LOAD, TENSOR_STORE, BULK_STORE = int(Op.TENSOR_LOAD), int(Op.TENSOR_STORE), int(Op.BULK_STORE)


@inner
def bulk_operation(op, slots, modifiers, regs, uniform, memory, copy, fault):
    """UTMALDG, UTMASTG, UBLKCP: read the operands into ``copy``, move the bytes, report; return a fault code."""
    copy[:] = 0
    stores = op == TENSOR_STORE or op == BULK_STORE
    if op == TENSOR_LOAD or op == TENSOR_STORE:
        code = _tensor_operands(slots, modifiers & o.RANK_MASK, stores, uniform, memory, copy)
    else:
        code = _bulk_operands(slots, stores, regs, uniform, copy)
    fault[2], fault[3] = 0, copy[TARGET]
    if code == 0:
        code = _move_box(stores, memory, copy, fault)
    if code == 0 and not stores:
        number = numbered(copy[MBARRIER], memory)
        if number < 0:
            code, fault[3] = -number, copy[MBARRIER]
        else:
            copy[MBARRIER] = number
            copy[PHASE] = memory.mbarriers[number, COMPLETED] + 1
            code = report(number, 0, -copy[BYTES], memory)
    return code


@inner
def _tensor_operands(slots, rank, stores, uniform, memory, copy):
    first, at = slots[1, 1], np.int64(uniform[slots[4, 1]])
    copy[TARGET] = np.int64(uniform[first]) & SHARED_MASK
    copy[MBARRIER] = 0 if stores else np.int64(uniform[first + 1]) & SHARED_MASK
    for found in range(len(memory.maps)):
        if uniform[slots[4, 1] + 1] == PARAMETERS_HIGH and memory.maps[found, AT] == at:
            for field in range(MAP_FIELDS):
                copy[field] = memory.maps[found, field]
    if copy[RANK] != rank:
        return NO_TENSOR_MAP
    copy[ROWS] = 1
    for d in range(rank):
        copy[COORDINATES + d] = np.int64(np.int32(uniform[first + (1 if stores else 2) + d]))
        if d > 0:
            copy[ROWS] *= copy[BOX + d]
    copy[BYTES] = copy[ROWS] * copy[BOX] * copy[ELEMENT]
    return 0 if copy[TARGET] & (BOX_ALIGNMENT - 1) == 0 else MISALIGNED


@inner
def _bulk_operands(slots, stores, regs, uniform, copy):
    """UBLKCP: a tensor of one row of bytes; its size comes in units of 16."""
    shared, start = slots[4 if stores else 1, 1], slots[1 if stores else 4, 1]
    copy[TARGET] = np.int64(uniform[shared]) & SHARED_MASK
    copy[MBARRIER] = 0 if stores else np.int64(uniform[shared + 1]) & SHARED_MASK
    copy[START] = np.int64(uniform[start]) | (np.int64(uniform[start + 1]) << 32)
    size = slots[6, 1]
    if slots[6, 0] == UREG:
        size = np.int64(uniform[slots[6, 1]])
    elif slots[6, 0] == REG:
        size = np.int64(regs[slots[6, 1], 0])
    copy[BYTES] = copy[DIMS] = copy[BOX] = (size & 0xFFFF) << 4
    copy[RANK] = copy[ELEMENT] = copy[ROWS] = 1
    return 0 if (copy[TARGET] | copy[START]) & (ROW_ALIGNMENT - 1) == 0 else MISALIGNED


@inner
def first_address(copy):
    """Return the address of a box's first element, wherever it lies."""
    address = copy[START] + copy[COORDINATES] * copy[ELEMENT]
    for d in range(1, copy[RANK]):
        address += copy[COORDINATES + d] * copy[STRIDES + d]
    return address


@inner
def inside(copy, d):
    """Return how many elements of a box lie inside its tensor in dimension ``d``."""
    low, high = max(0, -copy[COORDINATES + d]), min(copy[BOX + d], copy[DIMS + d] - copy[COORDINATES + d])
    return max(0, high - low)


@inner
def _move_box(stores, memory, copy, fault):
    """Move row by row of the innermost dimension; rows lie densely in shared memory."""
    buffer = (copy[START] >> 32) - GLOBAL_BASE_HIGH
    fault[3] = copy[START]
    if buffer < 0 or buffer >= len(memory.sizes):
        return OUT_OF_RANGE_GLOBAL
    if copy[TARGET] + copy[BYTES] > len(memory.shared):
        fault[3] = copy[TARGET] + copy[BYTES]
        return OUT_OF_RANGE_SHARED
    real = memory.windows[buffer] >= memory.sizes[buffer]
    width, low = inside(copy, 0) * copy[ELEMENT], max(0, -copy[COORDINATES]) * copy[ELEMENT]
    pitch, start = copy[BOX] * copy[ELEMENT], first_address(copy)
    copy[LAST] = -1
    for row in range(copy[ROWS]):
        address, rest, present = start, row, width > 0
        for d in range(1, copy[RANK]):
            place = copy[COORDINATES + d] + rest % copy[BOX + d]
            present = present and 0 <= place < copy[DIMS + d]
            address += rest % copy[BOX + d] * copy[STRIDES + d]
            rest //= copy[BOX + d]
        if present:
            offset = (address + low) & 0xFFFFFFFF
            if (address + low) >> 32 != copy[START] >> 32 or offset + width > memory.sizes[buffer]:
                fault[3] = address + low
                return OUT_OF_RANGE_GLOBAL
            _ask(address + low, width, copy)
        if real:
            source = memory.starts[buffer] + ((address + low) & 0xFFFFFFFF) - low
            _move_row(
                stores,
                copy[TARGET] + row * pitch,
                source,
                low,
                low + width if present else low,
                pitch,
                memory,
                copy,
            )
    return 0


@inner
def _ask(address, width, copy):
    """Count lines and sectors; a row may begin in the sector in which the one before it ended."""
    last = address + width - 1
    copy[LINES_ASKED] += (last >> LINE_SHIFT) - (address >> LINE_SHIFT) + 1
    copy[SECTORS_ASKED] += (last >> SECTOR_SHIFT) - (address >> SECTOR_SHIFT) + 1
    if copy[LAST] >= 0:
        copy[LINES_ASKED] -= copy[LAST] >> LINE_SHIFT == address >> LINE_SHIFT
        copy[SECTORS_ASKED] -= copy[LAST] >> SECTOR_SHIFT == address >> SECTOR_SHIFT
    copy[LAST] = last


@inner
def _move_row(stores, target, source, begin, end, pitch, memory, copy):
    """Move bytes begin:end of a row; a load fills the others with zeros."""
    mask = max(0, (copy[SWIZZLE] >> 4) - 1)
    for index in range(pitch):
        place = target + index
        place ^= ((place >> 7) & mask) << 4
        if not stores:
            memory.shared[place] = memory.flat[source + index] if begin <= index < end else np.uint8(0)
        elif begin <= index < end:
            memory.flat[source + index] = memory.shared[place]
