"""mma.sync on the fragments of one warp (numba).

Fragment layouts are PTX's: lane = 4 * group + thread. Products are exact; FP32 accumulation goes over k in order, one
rounding per addition, starting from the accumulator. The hardware's own summation differs in the last bits.
"""

from __future__ import annotations

import math

import numpy as np

from sim.exec.lanes import RZ
from sim.exec.rounding import half_to_float, to_half
from sim.isa import opcodes as o
from sim.jit import inner as compiled

INFINITE = np.uint32(0x7C00)
SCALED_BLOCK = 32  # elements along k that share a scale


@compiled
def expand(bits, values, count, bfloat):
    """Convert raw 16-bit numbers in ``bits`` to FP32 in place; ``values`` is the same memory."""
    if bfloat:
        for index in range(count):
            bits[index] <<= np.uint32(16)
        return
    for index in range(count):
        word = bits[index]
        scaled = np.uint32((word & np.uint32(0x7FFF)) << np.uint32(13)).view(np.float32) * np.float32(
            2.0**112
        )
        special = np.uint32(0x7F800000) if (word & INFINITE) == INFINITE else np.uint32(0)
        bits[index] = (
            np.float32(scaled).view(np.uint32) | ((word & np.uint32(0x8000)) << np.uint32(16)) | special
        )


@compiled
def _gather(bits, inner, width, column, regs, number):
    """Lay one fragment register (two raw halves per lane) at row inner + 2 * thread of k, column + group."""
    for group in range(8):
        for thread in range(4):
            word = regs[number, 4 * group + thread]
            place = (inner + 2 * thread) * width + column + group
            bits[place] = word & np.uint32(0xFFFF)
            bits[place + width] = word >> np.uint32(16)


@compiled
def multiply(a, b, acc, depth):
    """Add the products of a (depth x 16) and b (depth x 8) to a 16 x 8 accumulator, over k in order."""
    for inner in range(depth):
        for row in range(16):
            factor = a[16 * inner + row]
            for column in range(8):
                acc[8 * row + column] += factor * b[8 * inner + column]


@compiled
def hmma(slots, regs, regs_f, a_bits, a, b_bits, b, acc, steps, half_accumulator, bfloat):
    """Run m16n8k(8*steps) on 16-bit inputs. Flat scratch: ``a``, ``b``, ``acc`` FP32, ``*_bits`` the same as uint32."""
    base_a, base_b = slots[1, 1], slots[2, 1]
    for step in range(steps):
        _gather(a_bits, 8 * step, 16, 0, regs, base_a + 2 * step if base_a != RZ else RZ)
        _gather(a_bits, 8 * step, 16, 8, regs, base_a + 2 * step + 1 if base_a != RZ else RZ)
        _gather(b_bits, 8 * step, 8, 0, regs, base_b + step if base_b != RZ else RZ)
    expand(a_bits, a, 256, bfloat)
    expand(b_bits, b, 128, bfloat)
    if half_accumulator:
        load_half_accumulator(slots[3, 1], regs, acc)
    else:
        load_accumulator(slots[3, 1], regs_f, acc)
    multiply(a, b, acc, 8 * steps)
    if half_accumulator:
        store_half_accumulator(slots[0, 1], regs, acc)
    else:
        store_accumulator(slots[0, 1], regs_f, acc)


# The accumulator is 16 rows of 8, flat: lane 4 * group + thread holds (group, 2 * thread) at 2 * lane, its
# neighbour behind it, and the same of row group + 8 another 64 further on.


@compiled
def load_accumulator(number, regs, acc):
    """Read 16 x 8 words from four registers; RZ reads as zeros."""
    for lane in range(32):
        for part in range(2):
            place = 64 * part + 2 * lane
            acc[place] = regs[number + 2 * part, lane] if number != RZ else 0
            acc[place + 1] = regs[number + 2 * part + 1, lane] if number != RZ else 0


@compiled
def store_accumulator(number, regs, acc):
    """Write 16 x 8 words to four registers."""
    for lane in range(32):
        for part in range(2):
            regs[number + 2 * part, lane] = acc[64 * part + 2 * lane]
            regs[number + 2 * part + 1, lane] = acc[64 * part + 2 * lane + 1]


@compiled
def load_half_accumulator(number, regs, acc):
    """Read 16 x 8 halves from two registers."""
    for lane in range(32):
        for part in range(2):
            word = regs[number + part, lane] if number != RZ else np.uint32(0)
            acc[64 * part + 2 * lane] = half_to_float(word & np.uint32(0xFFFF))
            acc[64 * part + 2 * lane + 1] = half_to_float(word >> np.uint32(16))


@compiled
def store_half_accumulator(number, regs, acc):
    """Round 16 x 8 numbers to halves in two registers."""
    for lane in range(32):
        for part in range(2):
            low = to_half(np.float64(acc[64 * part + 2 * lane]))
            high = to_half(np.float64(acc[64 * part + 2 * lane + 1]))
            regs[number + part, lane] = low | (high << np.uint32(16))


@compiled
def integer(word, index, bits, signed):
    """Return the integer of ``bits`` bits at place ``index`` of a word."""
    value = np.int32((word >> np.uint32(bits * index)) & np.uint32((1 << bits) - 1))
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


@compiled
def twice_e2m1(word, index):
    """Return twice the FP4 number (E2M1) at place ``index`` of a word: 0, 1, 2, 3, 4, 6, 8 or 12, with its sign."""
    code = (word >> np.uint32(4 * index)) & np.uint32(15)
    magnitude = np.int32(code & np.uint32(7))
    if magnitude > 1:
        magnitude = (2 + (magnitude & 1)) << ((magnitude >> 1) - 1)
    return -magnitude if code & np.uint32(8) else magnitude


@compiled
def gather_integers(base_a, base_b, regs, a, b, steps, modifiers):
    """Lay the integers of A and B out along k, or twice the numbers if they are E2M1; return how many there are.

    A lane's word holds neighbours along k: four of 8 bits, eight of 4.
    """
    if modifiers & o.E2M1:
        for step in range(steps):
            first, second = (base_a + 2 * step, base_a + 2 * step + 1) if base_a != RZ else (RZ, RZ)
            third = base_b + step if base_b != RZ else RZ
            for lane in range(32):
                group, inner = lane >> 2, 8 * (4 * step + (lane & 3))
                for index in range(8):
                    a[16 * (inner + index) + group] = twice_e2m1(regs[first, lane], index)
                    a[16 * (inner + index) + group + 8] = twice_e2m1(regs[second, lane], index)
                    b[8 * (inner + index) + group] = twice_e2m1(regs[third, lane], index)
        return 32 * steps
    bits = 4 if modifiers & o.NIBBLES else 8
    signed_a, signed_b = (modifiers & o.FIRST_SIGNED) != 0, (modifiers & o.SECOND_SIGNED) != 0
    count = 32 // bits
    for step in range(steps):
        first, second = (base_a + 2 * step, base_a + 2 * step + 1) if base_a != RZ else (RZ, RZ)
        third = base_b + step if base_b != RZ else RZ
        for lane in range(32):
            group, inner = lane >> 2, count * (4 * step + (lane & 3))
            for index in range(count):
                a[16 * (inner + index) + group] = integer(regs[first, lane], index, bits, signed_a)
                a[16 * (inner + index) + group + 8] = integer(regs[second, lane], index, bits, signed_a)
                b[8 * (inner + index) + group] = integer(regs[third, lane], index, bits, signed_b)
    return 4 * count * steps


@compiled
def imma(slots, regs, regs_i, a, b, acc, modifiers):
    """Run m16n8 on integers of 8 or 4 bits; INT32 sums wrap, from the accumulator << shift. Scratch is int32."""
    depth = gather_integers(slots[1, 1], slots[2, 1], regs, a, b, 1 + ((modifiers >> 1) & 1), modifiers)
    load_accumulator(slots[3, 1], regs_i, acc)
    for index in range(128):
        acc[index] <<= (modifiers & o.ACCUMULATOR_SHIFT_MASK) >> o.ACCUMULATOR_SHIFT
    multiply(a, b, acc, depth)
    store_accumulator(slots[0, 1], regs_i, acc)


# Of an HMMA that extension lut_unit has changed: A holds a lane's codes of 16 rows x 64 columns as FLUTE packs them, B
# the scales of rows g and g + 8 for the first and the last 32 columns, the first register of C the table.


@compiled
def pair_of_codes(regs, base, lane, step, pair, bits):
    """Return two codes of a k16 step, the second in the upper half-word."""
    if bits == 4:
        codes = regs[base + step, lane] >> np.uint32(8 * pair)
        return (codes & np.uint32(15)) | (codes << np.uint32(12) & np.uint32(15 << 16))
    low = regs[base + (step >> 1), lane] >> np.uint32(8 * pair + 4 * (step & 1))
    codes = (low & np.uint32(3)) | (low << np.uint32(14) & np.uint32(3 << 16))
    if bits == 3:
        top = regs[base + 2, lane] >> np.uint32(8 * pair + 2 * step)
        codes |= (top << np.uint32(2) & np.uint32(4)) | (top << np.uint32(17) & np.uint32(4 << 16))
    return codes


@compiled
def look_up(slots, regs, out, step, bits):
    """Write the A operand of a k16 step, table[code] * scale rounded to half, to four registers. Scratch is uint32."""
    base, scales, table = slots[1, 1], slots[2, 1] + (step >> 1), slots[3, 1]
    for lane in range(32):
        for pair in range(4):
            codes = pair_of_codes(regs, base, lane, step, pair, bits)
            scale = half_to_float(regs[scales, lane] >> np.uint32(16 * (pair & 1)) & np.uint32(0xFFFF))
            word = np.uint32(0)
            for half in range(2):
                code = codes >> np.uint32(16 * half) & np.uint32(15)
                entry = regs[table, code >> np.uint32(1)] >> np.uint32(16 * (code & np.uint32(1)))
                value = np.float64(half_to_float(entry & np.uint32(0xFFFF))) * np.float64(scale)
                word |= to_half(value) << np.uint32(16 * half)
            out[32 * pair + lane] = word
    for pair in range(4):
        for lane in range(32):
            regs[slots[0, 1] + pair, lane] = out[32 * pair + lane]


@compiled
def scaled_mma(slots, regs, regs_f, a, b, acc, modifiers):
    """Run a block-scaled mma; its definition is in ``sim.extensions.block_scaled_mma``. ``acc`` is FP32.

    A sum of FP64 rounded to FP32 is the sum rounded once: the terms have 24 and at most 20 bits.
    """
    base_b = slots[2, 1]
    if modifiers & o.UPPER_PAIR and base_b != RZ:
        base_b += 2
    depth = gather_integers(slots[1, 1], base_b, regs, a, b, 2, modifiers)
    load_accumulator(slots[3, 1], regs_f, acc)
    bias = (
        256 if modifiers & o.E2M1 else 254
    )  # the products of numbers twice as large are four times as large
    scales, first = slots[4, 1], (modifiers & o.SCALE_BYTE_MASK) >> o.SCALE_BYTE_SHIFT
    column_lane = 3 if modifiers & o.UPPER_PAIR else 2
    for block in range(depth // SCALED_BLOCK):
        place = np.uint32(8 * ((first + block) & 3))
        for row in range(16):
            scale_a = (regs[scales, 4 * (row & 7) + (row >> 3)] >> place) & np.uint32(0xFF)
            for column in range(8):
                scale_b = (regs[scales, 4 * column + column_lane] >> place) & np.uint32(0xFF)
                total = 0
                for inner in range(SCALED_BLOCK * block, SCALED_BLOCK * (block + 1)):
                    total += a[16 * inner + row] * b[8 * inner + column]
                value = math.ldexp(float(total), int(scale_a) + int(scale_b) - bias)
                if scale_a == 255 or scale_b == 255:
                    value = np.nan
                acc[8 * row + column] = np.float32(np.float64(acc[8 * row + column]) + value)
    store_accumulator(slots[0, 1], regs_f, acc)
