"""What instructions compute: integers, predicates and register movement on 32 lanes (numba).

``x``, ``y``, ``z`` are uint32[32] scratch, ``w0`` is uint64[32],
``p``, ``q``, ``t`` uint8[32]. ``event`` receives (comparison code) and ``difference`` (int64[32]) of whatever decides a
predicate or picks a branch of a value: loop folding watches these.
"""

from __future__ import annotations

import numpy as np

from sim.exec import lanes as ln
from sim.exec.lanes import LANES, NONE
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.jit import inner

_M32 = np.uint64(0xFFFFFFFF)
MOV, IADD3, IADD, IMAD, LEA, LOP3, PLOP3, SHF = (
    int(op) for op in (Op.MOV, Op.IADD3, Op.IADD, Op.IMAD, Op.LEA, Op.LOP3, Op.PLOP3, Op.SHF)
)
PRMT, SEL, IMNMX, ISETP, IABS, SGXT, BREV, POPC = (
    int(op) for op in (Op.PRMT, Op.SEL, Op.IMNMX, Op.ISETP, Op.IABS, Op.SGXT, Op.BREV, Op.POPC)
)
FLO, P2R, R2P, VOTE, SHFL, R2UR = (int(op) for op in (Op.FLO, Op.P2R, Op.R2P, Op.VOTE, Op.SHFL, Op.R2UR))
VIADDMNMX, IDP, BMSK, REDUX, IADD64 = (int(op) for op in (Op.VIADDMNMX, Op.IDP, Op.BMSK, Op.REDUX, Op.IADD64))


@inner
def compare(code, difference, unordered):
    """Return whether a - b (its sign is all that counts) satisfies the comparison."""
    base = code & 7
    if unordered:
        return (code & o.UNORDERED) != 0
    if base == o.LT:
        return difference < 0
    if base == o.LE:
        return difference <= 0
    if base == o.GT:
        return difference > 0
    if base == o.GE:
        return difference >= 0
    if base == o.EQ:
        return difference == 0
    if base == o.NE:
        return difference != 0
    return True


@inner
def join(result, other, modifiers):
    """Join a comparison with its predicate operand."""
    how = modifiers & o.JOIN_MASK
    if how == o.OR:
        return result | other
    if how == o.XOR:
        return result ^ other
    return result & other


@inner
def lut3(a, b, c, table):
    """Apply LOP3's truth table bit by bit."""
    result = np.uint32(0)
    if table & 1:
        result |= ~a & ~b & ~c
    if table & 2:
        result |= ~a & ~b & c
    if table & 4:
        result |= ~a & b & ~c
    if table & 8:
        result |= ~a & b & c
    if table & 16:
        result |= a & ~b & ~c
    if table & 32:
        result |= a & ~b & c
    if table & 64:
        result |= a & b & ~c
    if table & 128:
        result |= a & b & c
    return result


@inner
def add3(s, m, active, regs, uni, const, preds, upreds, x, y, z, p, q):
    """IADD3: a negated source is its complement plus one carry; carries out go to up to two predicates."""
    extra = np.uint64(0)
    for index in range(3):
        out = x if index == 0 else (y if index == 1 else z)
        slot = s[3 + index]
        ln.raw(out, slot, regs, uni, const)
        if slot[2] & (ln.NEG | ln.INV):
            for lane in range(LANES):
                out[lane] = ~out[lane]
            if slot[2] & ln.NEG:
                extra += np.uint64(1)
    ln.predicate(p, s[6], preds, upreds)
    ln.predicate(q, s[7], preds, upreds)
    for lane in range(LANES):
        total = np.uint64(x[lane]) + np.uint64(y[lane]) + np.uint64(z[lane]) + extra
        if m & o.CARRY_IN:
            total += np.uint64(p[lane]) + np.uint64(q[lane])
        x[lane] = np.uint32(total & _M32)
        carry = total >> np.uint64(32)
        p[lane] = 1 if carry > np.uint64(0) else 0
        q[lane] = 1 if carry > np.uint64(1) else 0
    ln.write(s[0], x, active, regs, uni)
    ln.write_predicate(s[1], p, active, preds, upreds)
    ln.write_predicate(s[2], q, active, preds, upreds)


@inner
def add_pairs(s, active, regs, uni, const, x, y, w0):
    """UIADD3.64: add three 64-bit words; the sum so far is kept in two halves."""
    for lane in range(LANES):
        x[lane] = y[lane] = np.uint32(0)
    for index in range(1, 4):
        ln.wide(w0, s[index], regs, uni, const)
        for lane in range(LANES):
            w0[lane] += np.uint64(x[lane]) | (np.uint64(y[lane]) << np.uint64(32))
            x[lane] = np.uint32(w0[lane] & _M32)
            y[lane] = np.uint32(w0[lane] >> np.uint64(32))
    ln.write_wide(s[0], w0, active, regs, uni)


@inner
def multiply_add(s, m, active, regs, uni, const, preds, upreds, x, y, z, w0, p):
    """IMAD, with .WIDE (64-bit sum), .HI (its upper word) and .X (carry in)."""
    ln.integer(x, s[1], regs, uni, const)
    ln.integer(y, s[2], regs, uni, const)
    if m & (o.WIDE_RESULT | o.HIGH):
        ln.wide(w0, s[3], regs, uni, const)
        for lane in range(LANES):
            if m & o.UNSIGNED:
                product = np.uint64(x[lane]) * np.uint64(y[lane])
            else:
                product = np.uint64(np.int64(np.int32(x[lane])) * np.int64(np.int32(y[lane])))
            w0[lane] = w0[lane] + product
        if m & o.WIDE_RESULT:
            ln.write_wide(s[0], w0, active, regs, uni)
            return
        for lane in range(LANES):
            x[lane] = np.uint32(w0[lane] >> np.uint64(32))
        ln.write(s[0], x, active, regs, uni)
        return
    ln.integer(z, s[3], regs, uni, const)
    for lane in range(LANES):
        x[lane] = x[lane] * y[lane] + z[lane]
    if m & o.CARRY_IN:
        ln.predicate(p, s[4], preds, upreds)
        for lane in range(LANES):
            x[lane] += np.uint32(p[lane])
    ln.write(s[0], x, active, regs, uni)


@inner
def load_effective_address(s, m, active, regs, uni, const, preds, upreds, x, y, z, p):
    """LEA: (a << shift) + b; .HI adds the upper part of the 64-bit a (its high word is c, or a's sign) to b."""
    ln.integer(x, s[2], regs, uni, const)
    ln.integer(y, s[3], regs, uni, const)
    high = (m & o.HIGH) != 0
    extended = (m & o.SIGN_EXTEND) != 0
    if high and not extended:
        ln.integer(z, s[4], regs, uni, const)
    shift = np.uint64(s[5, 1] if high and not extended else s[4, 1])
    ln.predicate(p, s[5] if extended else s[6], preds, upreds)
    for lane in range(LANES):
        value = np.uint64(x[lane])
        if high:
            upper = np.uint64(z[lane])
            if extended:
                upper = _M32 if x[lane] >> np.uint32(31) else np.uint64(0)
            shifted = ((upper << shift) | (value >> (np.uint64(32) - shift))) & _M32
        else:
            shifted = (value << shift) & _M32
        total = shifted + np.uint64(y[lane])
        if m & o.CARRY_IN:
            total += np.uint64(p[lane])
        x[lane] = np.uint32(total & _M32)
        p[lane] = 1 if total >> np.uint64(32) else 0
    ln.write(s[0], x, active, regs, uni)
    ln.write_predicate(s[1], p, active, preds, upreds)


@inner
def logic3(s, m, active, regs, uni, const, preds, upreds, x, y, z, p, event, difference):
    """LOP3 with its optional predicate result (value != 0, joined with a predicate)."""
    ln.integer(x, s[2], regs, uni, const)
    ln.integer(y, s[3], regs, uni, const)
    ln.integer(z, s[4], regs, uni, const)
    table = s[5, 1]
    for lane in range(LANES):
        x[lane] = lut3(x[lane], y[lane], z[lane], table)
    ln.write(s[1], x, active, regs, uni)
    if s[0, 0] == NONE:
        return
    ln.predicate(p, s[6], preds, upreds)
    event[0] = o.NE
    for lane in range(LANES):
        difference[lane] = np.int64(x[lane])
        nonzero = np.uint8(1) if x[lane] else np.uint8(0)
        p[lane] = nonzero & p[lane] if m & o.PRED_AND else nonzero | p[lane]
    ln.write_predicate(s[0], p, active, preds, upreds)


@inner
def predicate_logic3(s, active, preds, upreds, p, q, t):
    """PLOP3: two truth tables over the same three predicates."""
    ln.predicate(p, s[2], preds, upreds)
    ln.predicate(q, s[3], preds, upreds)
    ln.predicate(t, s[4], preds, upreds)
    for lane in range(LANES):
        index = (p[lane] << 2) | (q[lane] << 1) | t[lane]
        p[lane] = (s[5, 1] >> index) & 1
        q[lane] = (s[6, 1] >> index) & 1
    ln.write_predicate(s[0], p, active, preds, upreds)
    ln.write_predicate(s[1], q, active, preds, upreds)


@inner
def funnel_shift(s, m, active, regs, uni, const, x, y, z):
    """SHF: shift the 64-bit value (c : a) and keep its low or high word."""
    ln.integer(x, s[1], regs, uni, const)
    ln.integer(y, s[2], regs, uni, const)
    ln.integer(z, s[3], regs, uni, const)
    unsigned = (m & o.UNSIGNED) != 0
    for lane in range(LANES):
        width = np.uint64(64 if m & o.DOUBLE else 32)
        amount = np.uint64(y[lane])
        amount = amount & (width - np.uint64(1)) if m & o.WRAP else min(amount, width)
        value = np.uint64(x[lane]) | (np.uint64(z[lane]) << np.uint64(32))
        if m & o.LEFT:
            value = value << amount if amount < np.uint64(64) else np.uint64(0)
        elif unsigned:
            value = value >> amount if amount < np.uint64(64) else np.uint64(0)
        else:
            value = np.uint64(np.int64(value) >> min(np.int64(amount), np.int64(63)))
        x[lane] = np.uint32(value >> np.uint64(32)) if m & o.HIGH else np.uint32(value & _M32)
    ln.write(s[0], x, active, regs, uni)


@inner
def permute(s, active, regs, uni, const, x, y, z):
    """PRMT: pick four bytes of (c : a); selector bit 3 replicates the byte's sign."""
    ln.integer(x, s[1], regs, uni, const)
    ln.integer(y, s[2], regs, uni, const)
    ln.integer(z, s[3], regs, uni, const)
    for lane in range(LANES):
        value = np.uint64(x[lane]) | (np.uint64(z[lane]) << np.uint64(32))
        result = np.uint32(0)
        for index in range(4):
            selector = (y[lane] >> np.uint32(4 * index)) & np.uint32(15)
            byte = np.uint32((value >> np.uint64((selector & np.uint32(7)) * np.uint32(8))) & np.uint64(0xFF))
            if selector & np.uint32(8):
                byte = np.uint32(0xFF) if byte & np.uint32(0x80) else np.uint32(0)
            result |= byte << np.uint32(8 * index)
        x[lane] = result
    ln.write(s[0], x, active, regs, uni)


@inner
def set_predicate(s, m, active, regs, uni, const, preds, upreds, x, y, p, q, event, difference):
    """ISETP: compare, join, write the result and its complement's join. .EX continues a 64-bit comparison."""
    ln.integer(x, s[2], regs, uni, const)
    ln.integer(y, s[3], regs, uni, const)
    ln.predicate(p, s[4], preds, upreds)
    code = m & o.COMPARE_MASK
    event[0] = code
    if m & o.EX:
        ln.predicate(q, s[5], preds, upreds)
    for lane in range(LANES):
        if m & o.UNSIGNED:
            delta = np.int64(x[lane]) - np.int64(y[lane])
        else:
            delta = np.int64(np.int32(x[lane])) - np.int64(np.int32(y[lane]))
        difference[lane] = delta
        result = np.uint8(1) if compare(code, delta, False) else np.uint8(0)
        if m & o.EX and delta == 0:
            result = q[lane]
        other = p[lane]
        p[lane] = join(result, other, m)
        q[lane] = join(np.uint8(1) - result, other, m)
    ln.write_predicate(s[0], p, active, preds, upreds)
    ln.write_predicate(s[1], q, active, preds, upreds)


@inner
def minimum_maximum(op, s, m, active, regs, uni, const, preds, upreds, x, y, p, event, difference):
    """IMNMX, VIMNMX: the minimum where the predicate holds, else the maximum; VIADDMNMX adds two words first."""
    ln.integer(x, s[1], regs, uni, const)
    ln.integer(y, s[2], regs, uni, const)
    at = 3
    if op == VIADDMNMX:
        for lane in range(LANES):
            x[lane] += y[lane]
        ln.integer(y, s[3], regs, uni, const)
        at = 4
    ln.predicate(p, s[at], preds, upreds)
    event[0] = o.LT
    for lane in range(LANES):
        if m & o.UNSIGNED:
            delta = np.int64(x[lane]) - np.int64(y[lane])
        else:
            delta = np.int64(np.int32(x[lane])) - np.int64(np.int32(y[lane]))
        difference[lane] = delta
        if (delta < 0) != (p[lane] != 0):
            x[lane] = y[lane]
    ln.write(s[0], x, active, regs, uni)


@inner
def bit_operation(op, s, m, active, regs, uni, const, x, y):
    """IABS, SGXT, BREV, POPC, BMSK, FLO."""
    ln.integer(x, s[1], regs, uni, const)
    ln.integer(y, s[2], regs, uni, const)
    for lane in range(LANES):
        value = x[lane]
        if op == IABS:
            x[lane] = np.uint32(0) - value if value >> np.uint32(31) else value
        elif op == SGXT:
            bits = y[lane] & np.uint32(31) if m & o.WRAP else min(y[lane], np.uint32(32))
            wide = np.int64(value) & ((np.int64(1) << np.int64(bits)) - 1)
            if not m & o.UNSIGNED and bits > 0 and (wide >> np.int64(bits - np.uint32(1))) & 1:
                wide -= np.int64(1) << np.int64(bits)
            x[lane] = np.uint32(wide & 0xFFFFFFFF)
        elif op == BREV:
            reverse = np.uint32(0)
            for bit in range(32):
                reverse |= ((value >> np.uint32(bit)) & np.uint32(1)) << np.uint32(31 - bit)
            x[lane] = reverse
        elif op == POPC:
            count = np.uint32(0)
            for bit in range(32):
                count += (value >> np.uint32(bit)) & np.uint32(1)
            x[lane] = count
        elif op == BMSK:
            start, width = np.int64(value), np.int64(y[lane])
            if m & o.WRAP:
                start, width = start & 31, width & 31
            ones = (np.int64(1) << min(width, np.int64(32))) - 1
            x[lane] = np.uint32((ones << start) & 0xFFFFFFFF) if start < 32 else np.uint32(0)
        else:
            if not m & o.UNSIGNED and value >> np.uint32(31):
                value = ~value  # signed: the highest bit that differs from the sign
            highest = np.uint32(0xFFFFFFFF)
            for bit in range(32):
                if (value >> np.uint32(bit)) & np.uint32(1):
                    highest = np.uint32(bit)
            if m & o.SHIFT_AMOUNT and highest != np.uint32(0xFFFFFFFF):
                highest = np.uint32(31) - highest
            x[lane] = highest
    ln.write(s[0], x, active, regs, uni)


@inner
def dot_product(s, m, active, regs, uni, const, x, y, z):
    """IDP.4A: four byte products added to a word."""
    ln.integer(x, s[1], regs, uni, const)
    ln.integer(y, s[2], regs, uni, const)
    ln.integer(z, s[3], regs, uni, const)
    for lane in range(LANES):
        total = np.int64(z[lane])
        for index in range(4):
            a = np.int64((x[lane] >> np.uint32(8 * index)) & np.uint32(0xFF))
            b = np.int64((y[lane] >> np.uint32(8 * index)) & np.uint32(0xFF))
            if m & o.FIRST_SIGNED and a > 127:
                a -= 256
            if m & o.SECOND_SIGNED and b > 127:
                b -= 256
            total += a * b
        x[lane] = np.uint32(total & 0xFFFFFFFF)
    ln.write(s[0], x, active, regs, uni)


@inner
def combine(code, a, b, unsigned):
    """Apply an atomic's operation to two words."""
    if code == o.ADD:
        return np.uint32(a + b)
    if code == o.AND_OP:
        return np.uint32(a & b)
    if code == o.OR_OP:
        return np.uint32(a | b)
    if code == o.XOR_OP:
        return np.uint32(a ^ b)
    smaller = a < b if unsigned else np.int32(a) < np.int32(b)
    return np.uint32(a) if smaller == (code == o.MIN) else np.uint32(b)


@inner
def reduce_lanes(s, m, active, regs, uni, const, x):
    """REDUX: combine the active lanes' words."""
    ln.integer(x, s[1], regs, uni, const)
    code = (m & o.ATOMIC_MASK) >> o.ATOMIC_SHIFT
    total = np.uint32(0)
    started = False
    for lane in range(LANES):
        if active[lane]:
            total = combine(code, total, x[lane], (m & o.UNSIGNED) != 0) if started else x[lane]
            started = True
    for lane in range(LANES):
        x[lane] = total
    ln.write(s[0], x, active, regs, uni)


@inner
def predicates_to_register(s, active, regs, uni, const, preds, x):
    """P2R: predicates under the mask into the low bits of a register."""
    ln.integer(x, s[2], regs, uni, const)
    mask = s[3, 1]
    for number in range(7):
        if (mask >> number) & 1:
            for lane in range(LANES):
                x[lane] = (x[lane] & ~(np.uint32(1) << np.uint32(number))) | (
                    np.uint32(preds[number, lane]) << np.uint32(number)
                )
    ln.write(s[1], x, active, regs, uni)


@inner
def register_to_predicates(s, active, regs, uni, const, preds, x):
    """R2P: the low bits of a register into the predicates under the mask."""
    ln.integer(x, s[1], regs, uni, const)
    mask = s[2, 1]
    for number in range(7):
        if (mask >> number) & 1:
            for lane in range(LANES):
                if active[lane]:
                    preds[number, lane] = (x[lane] >> np.uint32(number)) & np.uint32(1)


@inner
def vote(s, m, active, regs, uni, preds, upreds, x, p, event, difference):
    """VOTE: the mask of active lanes whose predicate holds, and whether any or all do."""
    ln.predicate(p, s[2], preds, upreds)
    ballot = np.uint32(0)
    everyone = np.uint32(0)
    for lane in range(LANES):
        if active[lane]:
            everyone |= np.uint32(1) << np.uint32(lane)
            if p[lane]:
                ballot |= np.uint32(1) << np.uint32(lane)
    result = ballot == everyone if (m & 15) == o.VOTE_ALL else ballot != np.uint32(0)
    event[0] = o.NE
    for lane in range(LANES):
        x[lane] = ballot
        difference[lane] = np.int64(ballot)
        p[lane] = np.uint8(1) if result else np.uint8(0)
    if s[0, 0] != NONE:
        ln.write(s[0], x, active, regs, uni)
    ln.write_predicate(s[1], p, active, preds, upreds)


@inner
def shuffle(s, m, active, regs, uni, const, preds, upreds, x, y, z, p):
    """SHFL: read another lane's register inside segments of the warp."""
    ln.integer(x, s[2], regs, uni, const)
    ln.integer(y, s[3], regs, uni, const)
    ln.integer(z, s[4], regs, uni, const)
    mode = m & 15
    for lane in range(LANES):
        step = np.int64(y[lane]) & 31
        clamp = np.int64(z[lane]) & 31
        segment = (np.int64(z[lane]) >> 8) & 31
        last = (lane & segment) | (clamp & ~segment & 31)
        first = lane & segment
        if mode == o.SHFL_IDX:
            source = first | (step & ~segment & 31)
        elif mode == o.SHFL_BFLY:
            source = lane ^ step
        elif mode == o.SHFL_DOWN:
            source = lane + step
        else:
            source = lane - step
        inside = source >= last if mode == o.SHFL_UP else source <= last
        p[lane] = 1 if inside else 0
        y[lane] = np.uint32(source if inside else lane)
    for lane in range(LANES):
        z[lane] = x[np.int64(y[lane])]
    ln.write(s[1], z, active, regs, uni)
    ln.write_predicate(s[0], p, active, preds, upreds)


@inner
def integer_operation(
    op, s, m, active, regs, uni, const, preds, upreds, x, y, z, w0, p, q, t, event, difference
):
    """Run one integer, predicate or register-movement operation; False where ``op`` is none."""
    if op == IMAD:
        multiply_add(s, m, active, regs, uni, const, preds, upreds, x, y, z, w0, p)
    elif op == IADD3:
        add3(s, m, active, regs, uni, const, preds, upreds, x, y, z, p, q)
    elif op == LOP3:
        logic3(s, m, active, regs, uni, const, preds, upreds, x, y, z, p, event, difference)
    elif op == IADD:
        ln.integer(x, s[1], regs, uni, const)
        ln.integer(y, s[2], regs, uni, const)
        for lane in range(LANES):
            x[lane] += y[lane]
        ln.write(s[0], x, active, regs, uni)
    elif op == IADD64:
        add_pairs(s, active, regs, uni, const, x, y, w0)
    elif op == ISETP:
        set_predicate(s, m, active, regs, uni, const, preds, upreds, x, y, p, q, event, difference)
    elif op == MOV:
        ln.integer(x, s[1], regs, uni, const)
        ln.write(s[0], x, active, regs, uni)
    elif op == LEA:
        load_effective_address(s, m, active, regs, uni, const, preds, upreds, x, y, z, p)
    elif op == SHF:
        funnel_shift(s, m, active, regs, uni, const, x, y, z)
    elif op == PRMT:
        permute(s, active, regs, uni, const, x, y, z)
    elif op == SEL:
        ln.integer(x, s[1], regs, uni, const)
        ln.integer(y, s[2], regs, uni, const)
        ln.predicate(p, s[3], preds, upreds)
        for lane in range(LANES):
            if not p[lane]:
                x[lane] = y[lane]
        ln.write(s[0], x, active, regs, uni)
    elif op == IMNMX or op == VIADDMNMX:
        minimum_maximum(op, s, m, active, regs, uni, const, preds, upreds, x, y, p, event, difference)
    elif op == PLOP3:
        predicate_logic3(s, active, preds, upreds, p, q, t)
    elif op == IABS or op == SGXT or op == BREV or op == POPC or op == FLO or op == BMSK:
        bit_operation(op, s, m, active, regs, uni, const, x, y)
    elif op == IDP:
        dot_product(s, m, active, regs, uni, const, x, y, z)
    elif op == REDUX:
        reduce_lanes(s, m, active, regs, uni, const, x)
    elif op == P2R:
        predicates_to_register(s, active, regs, uni, const, preds, x)
    elif op == R2P:
        register_to_predicates(s, active, regs, uni, const, preds, x)
    elif op == R2UR:
        ln.raw(x, s[1], regs, uni, const)
        ln.write(s[0], x, active, regs, uni)
    elif op == VOTE:
        vote(s, m, active, regs, uni, preds, upreds, x, p, event, difference)
    elif op == SHFL:
        shuffle(s, m, active, regs, uni, const, preds, upreds, x, y, z, p)
    else:
        return False
    return True
