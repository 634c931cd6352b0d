"""wgmma: one warp's 16 rows of D += A B, B and mostly A taken from shared memory through descriptors (numba).

A warp's part of an m64nNk16 is n / 8 times the work of one mma.sync, with the same fragments; the summation over k is
that of ``sim.exec.tensor``. Operands are K-major: each row of 32 bytes of a step is two pieces of 16 bytes.
"""

from __future__ import annotations

import numpy as np

from sim.exec import tensor
from sim.exec.access import OUT_OF_RANGE_SHARED
from sim.exec.lanes import REG
from sim.isa import opcodes as o
from sim.jit import inner

BAD_DESCRIPTOR = 25
GROUP_WARPS, WARP_ROWS = 4, 16


@inner
def piece_address(low, high, row, piece):
    """Return where 16 bytes of an operand lie: PTX's matrix descriptor, K-major, swizzle 128, 64, 32 bytes or none.

    Fields in units of 16 bytes: start in bits 0-13, leading offset 16-29, stride between 8 rows 32-45, swizzle 62-63.
    """
    start, leading = np.int64(low & 0x3FFF) << 4, np.int64((low >> 16) & 0x3FFF) << 4
    stride, mode = np.int64(high & 0x3FFF) << 4, np.int64(high >> 30)
    address = start + (row >> 3) * stride
    if mode == 0:
        return address + piece * leading + (row & 7) * 16
    span = 256 >> mode
    address += (row & 7) * span + piece * 16
    return address ^ (((address >> 7) & ((span >> 4) - 1)) << 4)


@inner
def _word(low, high, row, index, memory):
    """Return 32-bit word 0-7 of a row's 32 bytes."""
    return memory.shared_words[(piece_address(low, high, row, index >> 2) >> 2) + (index & 3)]


@inner
def _check(low, high, rows, memory):
    """Return a fault code for an operand that cannot be read."""
    if (high >> 17) & 7:
        return BAD_DESCRIPTOR
    for row in range(rows):
        for piece in range(2):
            if piece_address(low, high, row, piece) + 16 > len(memory.shared):
                return OUT_OF_RANGE_SHARED
    return 0


@inner
def warpgroup_operation(
    w, integers, slots, modifiers, accumulate, regs, regs_f, regs_i, uniform, memory, scratch
):
    """HGMMA, IGMMA of one warp; return a fault code."""
    columns = 8 * ((modifiers & o.COLUMNS_MASK) >> o.COLUMNS_SHIFT)
    shift = (modifiers & o.ACCUMULATOR_SHIFT_MASK) >> o.ACCUMULATOR_SHIFT
    first = slots[2, 1]
    a_low, a_high, b_low, b_high = uniform[first], uniform[first + 1], uniform[first + 2], uniform[first + 3]
    rows = WARP_ROWS * (w % GROUP_WARPS)
    from_registers = slots[1, 0] == REG
    code = _check(b_low, b_high, columns, memory)
    if code == 0 and not from_registers:
        code = _check(a_low, a_high, rows + WARP_ROWS, memory)
    if code:
        return code
    for row in range(WARP_ROWS):
        for word in range(8):
            if from_registers:
                value = regs[slots[1, 1] + (row >> 3) + 2 * (word >> 2), 4 * (row & 7) + (word & 3)]
            else:
                value = _word(a_low, a_high, rows + row, word, memory)
            _spread(integers, value, scratch.ai, scratch.a_bits, 16, row, word)
    if not integers:
        tensor.expand(scratch.a_bits, scratch.a, 256, (modifiers & o.BF16) != 0)
    for block in range(columns >> 3):
        for row in range(8):
            for word in range(8):
                value = _word(b_low, b_high, 8 * block + row, word, memory)
                _spread(integers, value, scratch.bi, scratch.b_bits, 8, row, word)
        if integers:
            _integer_block(slots, block, accumulate, shift, regs_i, scratch)
        else:
            _float_block(slots, block, modifiers, accumulate, regs, regs_f, scratch)
    return 0


@inner
def _spread(integers, value, bytes_out, halves_out, width, row, word):
    """Lay the 4 bytes or 2 halves of a word of a row at their places along k."""
    if integers:
        for index in range(4):
            bytes_out[width * (4 * word + index) + row] = tensor.integer(value, index, 8, True)
    else:
        halves_out[width * 2 * word + row] = value & np.uint32(0xFFFF)
        halves_out[width * (2 * word + 1) + row] = value >> np.uint32(16)


@inner
def _float_block(slots, block, modifiers, accumulate, regs, regs_f, scratch):
    tensor.expand(scratch.b_bits, scratch.b, 128, (modifiers & o.BF16) != 0)
    half = modifiers & 1
    count = 2 if half else 4
    source = slots[3, 1] + count * block if accumulate and slots[3, 1] != o.RZ else o.RZ
    if half:
        tensor.load_half_accumulator(source, regs, scratch.acc)
    else:
        tensor.load_accumulator(source, regs_f, scratch.acc)
    tensor.multiply(scratch.a, scratch.b, scratch.acc, 16)
    if half:
        tensor.store_half_accumulator(slots[0, 1] + count * block, regs, scratch.acc)
    else:
        tensor.store_accumulator(slots[0, 1] + count * block, regs_f, scratch.acc)


@inner
def _integer_block(slots, block, accumulate, shift, regs_i, scratch):
    source = slots[3, 1] + 4 * block if accumulate and slots[3, 1] != o.RZ else o.RZ
    tensor.load_accumulator(source, regs_i, scratch.acci)
    for index in range(128):
        scratch.acci[index] <<= shift
    tensor.multiply(scratch.ai, scratch.bi, scratch.acci, 32)
    tensor.store_accumulator(slots[0, 1] + 4 * block, regs_i, scratch.acci)
