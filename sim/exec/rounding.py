"""Number formats: exact conversions and correctly rounded arithmetic, mostly without branches (numba).

FP64 carries every product of two FP32 numbers exactly. A sum that it cannot carry is rounded to odd, so that the final
rounding to FP32 or to 16 bits is the only one that counts.
"""

from __future__ import annotations

import numpy as np

from sim.isa import opcodes as o
from sim.jit import inner

NAN = np.uint32(0x7FFFFFFF)
NAN16 = np.uint32(0x7FFF)
SMALLEST_NORMAL = np.float32(2.0**-126)
DIRECTED = o.ROUND_UP | o.ROUND_DOWN | o.ROUND_ZERO


@inner
def half_to_float(half):
    """Convert FP16 bits (in a uint32) to FP32, exactly."""
    shifted = (half & np.uint32(0x7FFF)) << np.uint32(13)
    value = np.uint32(shifted).view(np.float32) * np.float32(
        5.192296858534828e33
    )  # 2^112: subnormals come right by themselves
    bits = np.float32(value).view(np.uint32) | ((half & np.uint32(0x8000)) << np.uint32(16))
    if (half & np.uint32(0x7C00)) == np.uint32(0x7C00):
        bits |= np.uint32(0x7F800000)
    return np.uint32(bits).view(np.float32)


@inner
def bfloat_to_float(bits):
    """Convert BF16 bits (in a uint32) to FP32, exactly."""
    return np.uint32(bits << np.uint32(16)).view(np.float32)


@inner
def narrow(value, mantissa, bias):
    """Round FP64 to 16 bits with so many mantissa bits, ties to even; NaN is 0x7FFF."""
    word = np.float64(value).view(np.uint64)
    sign = np.uint32(word >> np.uint64(48)) & np.uint32(0x8000)
    magnitude = abs(value)
    infinity = np.uint32(2 * bias + 1) << np.uint32(mantissa)
    drop = np.uint64(52 - mantissa)
    word = np.float64(magnitude).view(np.uint64)
    if magnitude != magnitude:
        return NAN16
    if word < np.uint64(1024 - bias) << np.uint64(52):  # subnormal: the sum's lowest bit is the format's
        base = np.uint64(np.uint64(1024 - bias + 52 - mantissa) << np.uint64(52)).view(np.float64)
        return sign | np.uint32(np.float64(magnitude + base).view(np.uint64) & np.uint64(0xFFFF))
    word += ((word >> drop) & np.uint64(1)) + ((np.uint64(1) << (drop - np.uint64(1))) - np.uint64(1))
    result = (word >> drop) - (np.uint64(1023 - bias) << np.uint64(mantissa))
    return sign | (infinity if result > np.uint64(infinity) else np.uint32(result))


@inner
def to_half(value):
    """Round FP64 to FP16 bits."""
    return narrow(value, 10, 15)


@inner
def to_bfloat(value):
    """Round FP64 to BF16 bits."""
    return narrow(value, 7, 127)


@inner
def sum_to_odd(a, b):
    """Add FP64 numbers; an inexact sum gets an odd last bit, so that rounding it again is rounding once."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    word = np.float64(total).view(np.int64)
    if error != 0.0 and abs(total) < np.inf and not word & np.int64(1):
        word += np.int64(1) if (error > 0.0) == (total > 0.0) else np.int64(-1)
    return np.int64(word).view(np.float64)


@inner
def to_float(value, modifiers):
    """Round FP64 to FP32 in the direction that the modifiers ask for."""
    nearest = np.float32(value)
    if not modifiers & DIRECTED or value != value:
        return nearest
    back = np.float64(nearest)
    up, down = back < value, back > value
    if modifiers & o.ROUND_ZERO:
        up, down = up and value < 0.0, down and value > 0.0
    elif modifiers & o.ROUND_UP:
        down = False
    else:
        up = False
    if up:
        return np.nextafter(nearest, np.float32(np.inf))
    return np.nextafter(nearest, np.float32(-np.inf)) if down else nearest


@inner
def _same_sign(a, b):
    return (np.float64(a).view(np.int64) < 0) == (np.float64(b).view(np.int64) < 0)


@inner
def add(a, b, modifiers):
    """FP32 a + b."""
    if not modifiers & DIRECTED:
        return a + b
    x, y = np.float64(a), np.float64(b)
    if modifiers & o.ROUND_DOWN and x == -y and (x != 0.0 or not _same_sign(x, y)):
        return np.float32(-0.0)  # what cancels is -0 when rounding down
    return to_float(sum_to_odd(x, y), modifiers)


@inner
def multiply(a, b, modifiers):
    """FP32 a * b."""
    return to_float(np.float64(a) * np.float64(b), modifiers) if modifiers & DIRECTED else a * b


@inner
def fused(a, b, c, modifiers):
    """FP32 a * b + c, rounded once."""
    product, addend = np.float64(a) * np.float64(b), np.float64(c)
    total = sum_to_odd(product, addend)
    if (
        modifiers & o.ROUND_DOWN
        and product == -addend
        and (product != 0.0 or not _same_sign(product, addend))
    ):
        return np.float32(-0.0)
    return to_float(total, modifiers)


@inner
def finish(values, bits, modifiers):
    """Give FP32 results (and their bits, the same memory) what the suffixes ask: .SAT, .FTZ, the canonical NaN."""
    if modifiers & o.SATURATE:
        for lane in range(32):
            values[lane] = min(values[lane], np.float32(1.0)) if values[lane] > 0 else np.float32(0.0)
    if modifiers & o.FTZ:
        flush(bits)
    for lane in range(32):
        bits[lane] = NAN if values[lane] != values[lane] else bits[lane]


@inner
def flush(bits):
    """Replace subnormal FP32 numbers by zeros of the same sign."""
    for lane in range(32):
        word = bits[lane]
        bits[lane] = word if word & np.uint32(0x7F800000) else word & np.uint32(0x80000000)
