"""What instructions compute: FP32 and packed 16-bit floating point on 32 lanes (numba).

``x``, ``y``, ``z`` are uint32[32] scratch, ``xf``, ``yf``, ``zf`` the same memory as FP32. ``event`` and
``difference`` are those of ``sim.exec.compute``.
"""

from __future__ import annotations

import math

import numpy as np

from sim.exec import lanes as ln
from sim.exec import rounding as rnd
from sim.exec.compute import compare, join
from sim.exec.lanes import LANES
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.jit import inner

FADD, FMUL, FFMA, FMNMX, FSEL, FSETP, MUFU = (
    int(op) for op in (Op.FADD, Op.FMUL, Op.FFMA, Op.FMNMX, Op.FSEL, Op.FSETP, Op.MUFU)
)
I2F, F2I, F2FP, FRND, FCHK = (int(op) for op in (Op.I2F, Op.F2I, Op.F2FP, Op.FRND, Op.FCHK))
HADD2, HMUL2, HFMA2, HADD2_F32 = (int(op) for op in (Op.HADD2, Op.HMUL2, Op.HFMA2, Op.HADD2_F32))
HMNMX2, HSET2, HSETP2 = (int(op) for op in (Op.HMNMX2, Op.HSET2, Op.HSETP2))


@inner
def _read(out, slot, m, regs, uni, const):
    """Read an FP32 operand; .FTZ takes subnormals as zeros."""
    ln.floating(out, slot, regs, uni, const)
    if m & o.FTZ:
        rnd.flush(out)


@inner
def float_operation(
    op, s, m, active, regs, uni, const, preds, upreds, x, y, z, xf, yf, zf, p, q, event, difference
):
    """Run one floating-point operation; False where ``op`` is none."""
    if op == FADD or op == FMUL or op == FFMA:
        _arithmetic(op, s, m, regs, uni, const, x, y, z, xf, yf, zf)
    elif op == HADD2 or op == HMUL2 or op == HFMA2 or op == HMNMX2:
        _packed(op, s, m, regs, uni, const, preds, upreds, x, y, z, p)
    elif op == FSEL:
        ln.floating(x, s[1], regs, uni, const)
        ln.floating(y, s[2], regs, uni, const)
        ln.predicate(p, s[3], preds, upreds)
        for lane in range(LANES):
            x[lane] = x[lane] if p[lane] else y[lane]
    elif op == F2FP:
        ln.floating(x, s[1], regs, uni, const)
        ln.floating(y, s[2], regs, uni, const)
        for lane in range(LANES):
            x[lane] = (_to_16(np.float64(xf[lane]), m) << np.uint32(16)) | _to_16(np.float64(yf[lane]), m)
    elif op == HADD2_F32:
        ln.halves(x, s[1], regs, uni, const)
        ln.halves(y, s[2], regs, uni, const)
        for lane in range(LANES):
            xf[lane] = rnd.half_to_float(x[lane] & np.uint32(0xFFFF)) + rnd.half_to_float(
                y[lane] & np.uint32(0xFFFF)
            )
        rnd.finish(xf, x, 0)
    elif op == MUFU or op == I2F or op == F2I or op == FRND:
        _one_operand(op, s, m, regs, uni, const, x, xf)
    elif op == FMNMX:
        _read(x, s[1], m, regs, uni, const)
        _read(y, s[2], m, regs, uni, const)
        ln.predicate(p, s[3], preds, upreds)
        for lane in range(LANES):
            if _second_is_picked(xf[lane], yf[lane], p[lane] != 0):
                x[lane] = y[lane]
        rnd.finish(xf, x, m)
    else:
        return _float_predicate(
            op, s, m, active, regs, uni, const, preds, upreds, x, y, xf, yf, p, q, event, difference
        )
    ln.write(s[0], x, active, regs, uni)
    return True


@inner
def _second_is_picked(a, b, minimum):
    """Return whether the minimum (or maximum) of two numbers is b; a number beats NaN, -0 is below +0."""
    if b != b:
        return False
    if a != a:
        return True
    smaller = a < b or (a == b and math.copysign(1.0, a) < 0.0)
    return smaller != minimum


@inner
def _arithmetic(op, s, m, regs, uni, const, x, y, z, xf, yf, zf):
    """FADD, FMUL, FFMA."""
    _read(x, s[1], m, regs, uni, const)
    _read(y, s[2], m, regs, uni, const)
    if op == FADD:
        for lane in range(LANES):
            xf[lane] = rnd.add(xf[lane], yf[lane], m)
    elif op == FMUL:
        for lane in range(LANES):
            xf[lane] = rnd.multiply(xf[lane], yf[lane], m)
    else:
        _read(z, s[3], m, regs, uni, const)
        for lane in range(LANES):
            xf[lane] = rnd.fused(xf[lane], yf[lane], zf[lane], m)
    rnd.finish(xf, x, m)


@inner
def _one_operand(op, s, m, regs, uni, const, x, xf):
    """MUFU, I2F, F2I, FRND."""
    if op == I2F:
        ln.integer(x, s[1], regs, uni, const)
        for lane in range(LANES):
            word = np.int64(x[lane]) if m & o.UNSIGNED else np.int64(np.int32(x[lane]))
            if m & (o.BYTE | o.SHORT):
                width = np.int64(8) if m & o.BYTE else np.int64(16)
                word &= (np.int64(1) << width) - 1
                if not m & o.UNSIGNED and word >> (width - 1):
                    word -= np.int64(1) << width
            xf[lane] = rnd.to_float(np.float64(word), m)
        return
    _read(x, s[1], m, regs, uni, const)
    if op == MUFU:
        for lane in range(LANES):
            xf[lane] = np.float32(special_function(m & 15, _normal(np.float64(xf[lane]), m)))
            xf[lane] = _normal(xf[lane], m)
        rnd.finish(xf, x, m)
    elif op == FRND:
        for lane in range(LANES):
            xf[lane] = np.float32(_whole(np.float64(xf[lane]), m))
        rnd.finish(xf, x, m)
    else:
        for lane in range(LANES):
            x[lane] = float_to_integer(np.float64(xf[lane]), m)


@inner
def _normal(value, m):
    """Flush a subnormal number, which MUFU neither reads nor returns, but for TANH."""
    if m & 15 != o.MUFU_TANH and abs(value) < rnd.SMALLEST_NORMAL:
        return math.copysign(value * 0.0, value)
    return value


@inner
def special_function(code, value):
    """MUFU, in double precision and rounded once."""
    if code == o.MUFU_RCP:
        if value == 0.0:
            return math.copysign(np.inf, value)
        return 1.0 / value
    if code == o.MUFU_EX2:
        return np.inf if value > 1024.0 else 2.0**value
    if code == o.MUFU_RSQ:
        if value == 0.0:
            return math.copysign(np.inf, value)
        return 1.0 / math.sqrt(value) if value > 0.0 else np.nan
    if code == o.MUFU_SQRT:
        return math.sqrt(value) if value >= 0.0 else np.nan
    if code == o.MUFU_LG2:
        if value == 0.0:
            return -np.inf
        return math.log2(value) if value > 0.0 else np.nan
    return math.tanh(value)


@inner
def _whole(value, m):
    """Round to a whole number in the direction that the modifiers ask for, to nearest even without one."""
    if m & o.TRUNCATE:
        return np.trunc(value)
    if m & o.ROUND_DOWN:
        return np.floor(value)
    return np.ceil(value) if m & o.ROUND_UP else np.rint(value)


@inner
def float_to_integer(value, m):
    """F2I: round, saturate; NaN is zero."""
    if value != value:
        return np.uint32(0)
    rounded = _whole(value, m)
    if m & o.UNSIGNED:
        return np.uint32(min(max(rounded, 0.0), 4294967295.0))
    return np.uint32(np.int64(min(max(rounded, -2147483648.0), 2147483647.0)) & 0xFFFFFFFF)


@inner
def _from_16(bits, m):
    return rnd.bfloat_to_float(bits) if m & o.BF16 else rnd.half_to_float(bits)


@inner
def _to_16(value, m):
    return rnd.to_bfloat(value) if m & o.BF16 else rnd.to_half(value)


@inner
def _packed(op, s, m, regs, uni, const, preds, upreds, x, y, z, p):
    """HADD2, HMUL2, HFMA2 and HMNMX2 on both halves, rounded once."""
    ln.halves(x, s[1], regs, uni, const)
    ln.halves(y, s[2], regs, uni, const)
    if op == HFMA2:
        ln.halves(z, s[3], regs, uni, const)
    elif op == HMNMX2:
        ln.predicate(p, s[3], preds, upreds)
    for lane in range(LANES):
        word = np.uint32(0)
        for side in range(2):
            amount = np.uint32(16 * side)
            a = np.float64(_from_16((x[lane] >> amount) & np.uint32(0xFFFF), m))
            b = np.float64(_from_16((y[lane] >> amount) & np.uint32(0xFFFF), m))
            if op == HADD2:
                result = rnd.sum_to_odd(a, b)
            elif op == HMUL2:
                result = a * b
            elif op == HFMA2:
                result = rnd.sum_to_odd(
                    a * b, np.float64(_from_16((z[lane] >> amount) & np.uint32(0xFFFF), m))
                )
            else:
                result = b if _second_is_picked(a, b, p[lane] != 0) else a
            word |= _to_16(result, m) << amount
        x[lane] = word


@inner
def _float_compare(code, a, b):
    unordered = a != a or b != b
    sign = 0 if a == b else (-1 if a < b else 1)
    return np.uint8(1) if compare(code, sign, unordered) else np.uint8(0)


@inner
def _float_predicate(
    op, s, m, active, regs, uni, const, preds, upreds, x, y, xf, yf, p, q, event, difference
):
    """FSETP, HSETP2 and HSET2, and FCHK: does a division need its slow path (by the operands' exponents)."""
    if op == FCHK:
        ln.floating(x, s[1], regs, uni, const)
        ln.floating(y, s[2], regs, uni, const)
        for lane in range(LANES):
            a = np.int64((x[lane] >> np.uint32(23)) & np.uint32(0xFF))
            b = np.int64((y[lane] >> np.uint32(23)) & np.uint32(0xFF))
            easy = (
                25 <= a <= 254 and 2 <= b <= 251 and -124 <= a - b <= 126
            )  # measured for every pair of exponents
            p[lane] = 0 if easy else 1
            difference[lane] = p[lane]
        event[0] = o.NE
        ln.write_predicate(s[0], p, active, preds, upreds)
        return True
    if op == FSETP:
        _read(x, s[2], m, regs, uni, const)
        _read(y, s[3], m, regs, uni, const)
        ln.predicate(p, s[4], preds, upreds)
        for lane in range(LANES):
            result = _float_compare(m & o.COMPARE_MASK, np.float64(xf[lane]), np.float64(yf[lane]))
            difference[lane] = result
            other = p[lane]
            p[lane] = join(result, other, m)
            q[lane] = join(np.uint8(1) - result, other, m)
    elif op == HSETP2 or op == HSET2:
        _half_predicates(op, s, m, regs, uni, const, preds, upreds, x, y, p, q, difference)
    else:
        return False
    if op == HSET2:
        ln.write(s[0], x, active, regs, uni)
        return True
    event[0] = o.NE
    ln.write_predicate(s[0], p, active, preds, upreds)
    ln.write_predicate(s[1], q, active, preds, upreds)
    return True


@inner
def _half_predicates(op, s, m, regs, uni, const, preds, upreds, x, y, p, q, difference):
    """Compare both halves: into two predicates, or (HSET2) into two masks or, with .BF, two ones."""
    at = 2 if op == HSETP2 else 1
    ln.halves(x, s[at], regs, uni, const)
    ln.halves(y, s[at + 1], regs, uni, const)
    ln.predicate(p, s[at + 2], preds, upreds)
    bits = m & o.BF16 if op == HSETP2 else 0  # .BF of HSET2 is about its result
    yes = np.uint32(0x3C00) if m & o.BF16 else np.uint32(0xFFFF)
    for lane in range(LANES):
        other = p[lane]
        low = _float_compare(
            m & o.COMPARE_MASK,
            np.float64(_from_16(x[lane] & np.uint32(0xFFFF), bits)),
            np.float64(_from_16(y[lane] & np.uint32(0xFFFF), bits)),
        )
        high = _float_compare(
            m & o.COMPARE_MASK,
            np.float64(_from_16(x[lane] >> np.uint32(16), bits)),
            np.float64(_from_16(y[lane] >> np.uint32(16), bits)),
        )
        p[lane] = join(low, other, m)
        q[lane] = join(high, other, m)
        difference[lane] = low + 2 * high
        if op == HSET2:
            x[lane] = (yes if p[lane] else np.uint32(0)) | (
                (yes if q[lane] else np.uint32(0)) << np.uint32(16)
            )
