"""Memory accesses of one warp instruction: addresses, data moved, what is asked of banks and lines (numba).

Global addresses are ``(GLOBAL_BASE_HIGH + buffer) << 32 | offset``: each buffer lies in its own 4 GiB, so address
arithmetic never carries into the upper word and a stray address names the buffer it left. Behind a buffer without data
lies a window that its addresses wrap around in.
"""

from __future__ import annotations

import numpy as np

from sim.exec.compute import combine
from sim.exec.lanes import LANES, REG, RZ, UREG, URZ, WIDE
from sim.isa import opcodes as o
from sim.jit import entry, inner

GLOBAL_BASE_HIGH = 0x7000
SHARED_MASK = 0xFFFFFF
LINE_SHIFT, SECTOR_SHIFT = 7, 5
QUARTER = 8  # lanes of a warp that one pass of 16-byte accesses serves
STACK_TOP = 0xFFFDC0  # initial stack pointer: local memory grows down from here
LOCAL_BYTES = 16384  # of the stack that a thread has here
SETS_LOG2, WAYS = 11, 4
L1_SECTORS = WAYS << SETS_LOG2  # what L1 remembers: 256 KiB of sectors

OK, OUT_OF_RANGE_GLOBAL, OUT_OF_RANGE_SHARED, MISALIGNED, OUT_OF_RANGE_LOCAL = range(5)
KIND_LOAD, KIND_STORE, KIND_MATRIX = 0, 1, 2


@inner
def addresses(out, slots, at, active, regs, uniform):
    """Compute the int64 address of every active lane from the three slots of an address operand."""
    base_kind, base, flags = slots[at, 0], slots[at, 1], slots[at, 2]
    uniform_kind, uniform_number, uniform_flags = slots[at + 1, 0], slots[at + 1, 1], slots[at + 1, 2]
    common = slots[at + 2, 1]
    if uniform_kind == UREG and uniform_number != URZ:
        common += np.int64(uniform[uniform_number]) << (uniform_flags >> 8)
        if uniform_flags & WIDE:
            common += np.int64(uniform[uniform_number + 1]) << 32
    for lane in range(LANES):
        address = common
        if active[lane] and base_kind == REG and base != RZ:
            address += np.int64(regs[base, lane]) << (flags >> 8)
            if flags & WIDE:
                address += np.int64(regs[base + 1, lane]) << 32
        out[lane] = address


@inner
def locate(address, size, starts, windows, sizes):
    """Return the index of a global address in the flat backing memory, or -1 where no buffer holds it."""
    buffer = (address >> 32) - GLOBAL_BASE_HIGH
    offset = address & 0xFFFFFFFF
    if buffer < 0 or buffer >= len(starts) or offset + size > sizes[buffer]:
        return -1
    return starts[buffer] + offset % windows[buffer]


@inner
def count_distinct(address, active, size, shift, scratch):
    """Count the distinct 2^shift-byte blocks that the active lanes touch; ``scratch`` receives their numbers."""
    count = 0
    for lane in range(LANES):
        if not active[lane]:
            continue
        first = address[lane] >> shift
        last = (address[lane] + size - 1) >> shift
        for block in range(first, last + 1):
            known = False
            for index in range(count - 1, -1, -1):
                if scratch[index] == block:
                    known = True
                    break
            if not known:
                scratch[count] = block
                count += 1
    return count


@inner
def count_by_quarters(address, active):
    """Count the sectors of a 16-byte load or copy: lanes are joined within each quarter of a warp, not beyond it."""
    count = 0
    for lane in range(LANES):
        known = not active[lane]
        for other in range(lane - lane % QUARTER, lane):
            if active[other] and address[other] >> SECTOR_SHIFT == address[lane] >> SECTOR_SHIFT:
                known = True
        count += not known
    return count


@inner
def count_misses(scratch, count, tags):
    """Count the sectors that this CTA has not touched lately, and remember them (sets of WAYS tags, FIFO)."""
    misses = 0
    for index in range(count):
        sector = scratch[index]
        mixed = np.uint64(sector) * np.uint64(
            0x9E3779B97F4A7C15
        )  # buffers lie at equal offsets: mix all bits
        first = WAYS * np.int64(mixed >> np.uint64(64 - SETS_LOG2))
        known = False
        for way in range(first, first + WAYS):
            if tags[way] == sector:
                known = True
        if not known:
            misses += 1
            for way in range(first + WAYS - 1, first, -1):
                tags[way] = tags[way - 1]
            tags[first] = sector
    return misses


@entry
def find_pattern(row, patterns, table, count):
    """Return the index of a pattern row, adding it where it is new; ``count[0]`` is the number known."""
    key = np.uint64(1469598103934665603)
    for index in range(34):
        key = (key ^ np.uint64(np.uint32(row[index]))) * np.uint64(1099511628211)
    place = np.int64((key ^ (key >> np.uint64(29))) & np.uint64(len(table) - 1))
    while table[place] >= 0:
        known = table[place]
        same = True
        for index in range(34):
            if patterns[known, index] != row[index]:
                same = False
                break
        if same:
            return known
        place = (place + 1) & (len(table) - 1)
    number = count[0]
    for index in range(34):
        patterns[number, index] = row[index]
    table[place] = number
    count[0] = number + 1
    return number


@inner
def shared_pattern(address, active, size, kind, lanes, row, patterns, table, count):
    """Return the pattern index of a shared access: lane offsets relative to the lowest 128-byte row touched."""
    lowest = np.int64(1) << 40
    for lane in range(lanes):
        if active[lane] and address[lane] < lowest:
            lowest = address[lane]
    lowest &= ~np.int64(127)
    row[0] = size
    row[1] = kind
    for lane in range(LANES):
        row[2 + lane] = address[lane] - lowest if lane < lanes and active[lane] else -1
    return find_pattern(row, patterns, table, count)


@inner
def load_lanes(memory, words, index, active, slots, at, modifiers, regs):
    """Move data from flat memory (bytes, and the same as words) at per-lane indices into registers."""
    size = 1 << ((modifiers & o.SIZE_MASK) >> o.SIZE_SHIFT)
    number = slots[at, 1]
    if number == RZ:
        return
    for lane in range(LANES):
        if not active[lane]:
            continue
        start = index[lane]
        if size >= 4:
            for part in range(size >> 2):
                regs[number + part, lane] = words[(start >> 2) + part]
            continue
        value = np.uint32(memory[start])
        if size == 2:
            value |= np.uint32(memory[start + 1]) << np.uint32(8)
        if modifiers & o.SIGNED_LOAD and value >> np.uint32(8 * size - 1):
            value |= np.uint32(0xFFFFFFFF) << np.uint32(8 * size)
        regs[number, lane] = value


@inner
def store_lanes(memory, words, index, active, slots, at, modifiers, regs):
    """Move registers into flat memory at per-lane indices; lanes in ascending order, the last one wins."""
    size = 1 << ((modifiers & o.SIZE_MASK) >> o.SIZE_SHIFT)
    number = slots[at, 1]
    for lane in range(LANES):
        if not active[lane]:
            continue
        start = index[lane]
        for part in range(max(1, size >> 2)):
            value = np.uint32(0) if number == RZ else regs[number + part, lane]
            if size >= 4:
                words[(start >> 2) + part] = value
            else:
                memory[start] = np.uint8(value & np.uint32(0xFF))
                if size == 2:
                    memory[start + 1] = np.uint8((value >> np.uint32(8)) & np.uint32(0xFF))


@inner
def load_matrices(words, address, slots, modifiers, regs):
    """LDSM: each group of eight lanes gives the rows of one 8x8 matrix of 16-bit elements."""
    matrices = (modifiers & o.MATRICES_MASK) >> o.MATRICES_SHIFT
    number = slots[0, 1]
    if number == RZ:
        return
    for matrix in range(matrices):
        for lane in range(LANES):
            if modifiers & o.TRANSPOSE:
                value = np.uint32(0)
                for side in range(2):
                    row = 2 * (lane & 3) + side
                    column = lane >> 2
                    word = words[(address[8 * matrix + row] >> 2) + (column >> 1)]
                    half = (word >> np.uint32(16 * (column & 1))) & np.uint32(0xFFFF)
                    value |= half << np.uint32(16 * side)
            else:
                value = words[(address[8 * matrix + (lane >> 2)] >> 2) + (lane & 3)]
            regs[number + matrix, lane] = value


@inner
def store_matrices(memory, words, address, slots, modifiers, regs):
    """STSM: the inverse of LDSM."""
    matrices = (modifiers & o.MATRICES_MASK) >> o.MATRICES_SHIFT
    number = slots[3, 1]
    for matrix in range(matrices):
        for lane in range(LANES):
            value = regs[number + matrix, lane] if number != RZ else np.uint32(0)
            if modifiers & o.TRANSPOSE:
                for side in range(2):
                    start = address[8 * matrix + 2 * (lane & 3) + side] + 2 * (lane >> 2)
                    half = (value >> np.uint32(16 * side)) & np.uint32(0xFFFF)
                    memory[start] = np.uint8(half & np.uint32(0xFF))
                    memory[start + 1] = np.uint8(half >> np.uint32(8))
            else:
                words[(address[8 * matrix + (lane >> 2)] >> 2) + (lane & 3)] = value


@inner
def load_constant(slots, modifiers, active, regs, uniform, constants, out):
    """LDC: per-lane offset into the flattened constant banks; 32 or 64 bits."""
    kind, number = slots[0, 0], slots[0, 1]
    parts = 2 if modifiers & o.DOUBLE else 1
    for lane in range(LANES):
        offset = slots[3, 1]
        if slots[1, 0] == REG and slots[1, 1] != RZ:
            offset += np.int64(np.int32(regs[slots[1, 1], lane]))
        if slots[2, 0] == UREG and slots[2, 1] != URZ:
            offset += np.int64(np.int32(uniform[slots[2, 1]]))
        out[lane] = offset if offset >= 0 and (offset >> 2) + parts <= len(constants) else 0
    for part in range(parts):
        for lane in range(LANES):
            if kind == REG and number != RZ and active[lane]:
                regs[number + part, lane] = constants[(out[lane] >> 2) + part]
        if kind == UREG and number != URZ:
            uniform[number + part] = constants[(out[0] >> 2) + part]


@inner
def atomic(words, index, active, slots, data_at, result_at, modifiers, regs):
    """RED, ATOMG and ATOMS on 32-bit words, lane by lane in ascending order. ``result_at`` < 0: nothing is returned."""
    code = (modifiers & o.ATOMIC_MASK) >> o.ATOMIC_SHIFT
    number = slots[data_at, 1]
    for lane in range(LANES):
        if not active[lane]:
            continue
        place = index[lane] >> 2
        old = words[place]
        value = np.uint32(0) if number == RZ else regs[number, lane]
        result = old
        if code == o.CAS or code == o.TEST_AND_SET:
            swap = slots[data_at + 1, 1]
            new = (np.uint32(0) if swap == RZ else regs[swap, lane]) if old == value else old
            if code == o.TEST_AND_SET:
                result = np.uint32(1) if old == value else np.uint32(0)
        else:
            new = _update(code, old, value, modifiers)
        words[place] = new
        if result_at >= 0 and slots[result_at, 1] != RZ:
            regs[slots[result_at, 1], lane] = result


@inner
def _update(code, old, value, modifiers):
    if code == o.ADD and modifiers & o.FLOAT:
        return np.float32(_flushed(old) + _flushed(value)).view(np.uint32)
    if code == o.INC:
        if modifiers & o.DOUBLE:  # .POPC.INC counts without a limit
            return np.uint32(old + np.uint32(1))
        return np.uint32(0) if old >= value else np.uint32(old + np.uint32(1))
    if code == o.EXCH:
        return np.uint32(value)
    return combine(code, old, value, (modifiers & o.UNSIGNED) != 0)


@inner
def _flushed(word):
    kept = word if word & np.uint32(0x7F800000) else word & np.uint32(0x80000000)
    return np.uint32(kept).view(np.float32)
