"""The executor's hot loop: one warp runs until it waits, ends, or proposes to fold a loop (numba).

The named exception to the size rules: one dispatch over operation classes.
"""

from __future__ import annotations

import numpy as np

from sim.exec import access as mem
from sim.exec import lanes as ln
from sim.exec.asynchronous import asynchronous_operation, await_phase
from sim.exec.bulk import first_address
from sim.exec.compute import integer_operation
from sim.exec.floating import float_operation
from sim.exec.folding import at_header, remember_event
from sim.exec.lanes import LANES, NONE
from sim.exec.state import (
    ACTIVE,
    ARRIVALS,
    AT_BARRIER,
    AT_HEADER,
    AT_PHASE,
    BUFFER,
    EXITED,
    FIRST_WARPGROUP,
    GROUPS,
    LINES,
    MBARRIER,
    MISSES,
    PATTERN,
    PC,
    PHASE,
    PHASE_WAIT,
    SECTORS,
    TAKEN,
    TX,
    WARPS_SHIFT,
)
from sim.exec.tensor import hmma, imma, look_up, scaled_mma
from sim.exec.warpgroup import GROUP_WARPS
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.jit import entry, inner

STOPPED, GROW, FAULT = 0, 1, 2
BAD_DIVERGENCE, UNKNOWN_OPERATION, RUNAWAY, LEFT_THE_CODE = 10, 11, 12, 13
WARPSYNC_SLOT = 16

NOP, S2R, LDC = int(Op.NOP), int(Op.S2R), int(Op.LDC)
HMMA, IMMA, IMMA_SPARSE = int(Op.HMMA), int(Op.IMMA), int(Op.IMMA_SPARSE)
LDS, STS, LDSM, STSM = int(Op.LDS), int(Op.STS), int(Op.LDSM), int(Op.STSM)
LDG, STG, LDGSTS, RED, ATOMG = int(Op.LDG), int(Op.STG), int(Op.LDGSTS), int(Op.RED), int(Op.ATOMG)
COPY_COMMIT, COPY_WAIT, MEMBAR, MARKER = (
    int(Op.COPY_COMMIT),
    int(Op.COPY_WAIT),
    int(Op.MEMBAR),
    int(Op.MARKER),
)
BRA, EXIT, BSSY, BSYNC, BREAK, WARPSYNC, BAR = (
    int(op) for op in (Op.BRA, Op.EXIT, Op.BSSY, Op.BSYNC, Op.BREAK, Op.WARPSYNC, Op.BAR)
)
LDL, STL, ATOMS, CALL, RET, BMOV = (int(op) for op in (Op.LDL, Op.STL, Op.ATOMS, Op.CALL, Op.RET, Op.BMOV))
HGMMA, IGMMA, WGMMA_WAIT = int(Op.HGMMA), int(Op.IGMMA), int(Op.WGMMA_WAIT)
TENSOR_LOAD, TENSOR_STORE, BULK_LOAD, BULK_STORE = (
    int(op) for op in (Op.TENSOR_LOAD, Op.TENSOR_STORE, Op.BULK_LOAD, Op.BULK_STORE)
)
MBARRIER_INIT, MBARRIER_ARRIVE, MBARRIER_WAIT = (
    int(op) for op in (Op.MBARRIER_INIT, Op.MBARRIER_ARRIVE, Op.MBARRIER_WAIT)
)
ELECT, SET_REGISTERS = int(Op.ELECT), int(Op.SET_REGISTERS)
FIRST_MEMORY, LAST_MEMORY, FIRST_CONTROL = LDL, ATOMG, BRA
FIRST_FLOAT, LAST_FLOAT = int(Op.FADD), int(Op.FCHK)
SHFL, VOTE = int(Op.SHFL), int(Op.VOTE)
M88_F16 = 1


@inner
def activate(active, mask, guard, preds, upreds):
    """Fill ``active`` with the group's lanes that pass the guard; return how many."""
    number = guard & 7
    flip = np.uint8(1) if guard & 8 else np.uint8(0)
    count = 0
    for lane in range(LANES):
        bit = np.uint8((mask >> np.uint32(lane)) & np.uint32(1))
        if guard & 16:
            bit &= upreds[number] ^ flip
        else:
            bit &= preds[number, lane] ^ flip
        active[lane] = bit
        count += bit
    return count


@inner
def mask_of(active):
    """Return the lanes of ``active`` as a bit mask."""
    mask = np.uint32(0)
    for lane in range(LANES):
        if active[lane]:
            mask |= np.uint32(1) << np.uint32(lane)
    return mask


@inner
def remove_group(w, g, group_pc, group_mask, group_wait, group_need, groups):
    """Close the gap that group ``g`` leaves."""
    for index in range(g, groups[w] - 1):
        group_pc[w, index] = group_pc[w, index + 1]
        group_mask[w, index] = group_mask[w, index + 1]
        group_wait[w, index] = group_wait[w, index + 1]
        group_need[w, index] = group_need[w, index + 1]
    groups[w] -= 1


@inner
def release_converged(w, group_pc, group_mask, group_wait, group_need, groups, exited):
    """Merge the groups blocked on a convergence barrier once every live lane it waits for has arrived.

    A barrier register is reused inside called functions, so groups belong together that wait for the same lanes.
    """
    first = 0
    while first < groups[w]:
        barrier, need = group_wait[w, first], group_need[w, first]
        arrived = np.uint32(0)
        for g in range(groups[w]):
            if group_wait[w, g] == barrier and group_need[w, g] == need:
                arrived |= group_mask[w, g]
        if barrier >= 0 and not need & ~exited[w] & ~arrived:
            group_mask[w, first] = arrived
            group_wait[w, first] = -1
            group_pc[w, first] += 1
            g = groups[w] - 1
            while g > first:
                if group_wait[w, g] == barrier and group_need[w, g] == need:
                    remove_group(w, g, group_pc, group_mask, group_wait, group_need, groups)
                g -= 1
        first += 1


@inner
def memory_operation(
    w,
    op,
    s,
    m,
    active,
    regs,
    uni,
    preds,
    upreds,
    memory,
    recorder,
    tags_row,
    address,
    index,
    second,
    p,
    fault,
):
    """Run one access to shared or global memory and fill its trace columns; return a fault code."""
    if op == LDL or op == STL:
        return _local_operation(w, op, s, m, active, regs, uni, memory, tags_row, address, index, fault)
    size = 1 << ((m & o.SIZE_MASK) >> o.SIZE_SHIFT)
    shared = op == LDS or op == STS or op == LDSM or op == STSM or op == LDGSTS or op == ATOMS
    at = 1 if op == LDS or op == LDSM or op == LDG or op == ATOMS else (2 if op == ATOMG else 0)
    if shared:
        mem.addresses(address, s, at, active, regs, uni)
        lanes = LANES
        if op == LDSM or op == STSM:
            lanes = 8 * ((m & o.MATRICES_MASK) >> o.MATRICES_SHIFT)
        for lane in range(lanes):
            if not active[lane]:
                continue
            address[lane] &= mem.SHARED_MASK
            if address[lane] + size > len(memory.shared):
                return _report(fault, mem.OUT_OF_RANGE_SHARED, lane, address[lane])
            if address[lane] & (size - 1):
                return _report(fault, mem.MISALIGNED, lane, address[lane])
        kind = (
            mem.KIND_LOAD if op == LDS else (mem.KIND_STORE if op != LDSM and op != STSM else mem.KIND_MATRIX)
        )
        tags_row[PATTERN] = mem.shared_pattern(
            address,
            active,
            size,
            kind,
            lanes,
            recorder.pattern_row,
            recorder.patterns,
            recorder.pattern_table,
            recorder.pattern_count,
        )
        if op == LDS:
            mem.load_lanes(memory.shared, memory.shared_words, address, active, s, 0, m, regs)
            return 0
        if op == STS:
            mem.store_lanes(memory.shared, memory.shared_words, address, active, s, 3, m, regs)
            return 0
        if op == LDSM:
            mem.load_matrices(memory.shared_words, address, s, m, regs)
            return 0
        if op == STSM:
            mem.store_matrices(memory.shared, memory.shared_words, address, s, m, regs)
            return 0
        if op == ATOMS:
            mem.atomic(memory.shared_words, address, active, s, 4, 0, m, regs)
            return 0
        for lane in range(LANES):
            second[lane] = address[lane]
        at = 3
        if s[6, 0] != NONE:
            ln.predicate(p, s[6], preds, upreds)
        else:
            for lane in range(LANES):
                p[lane] = 1
        for lane in range(LANES):
            p[lane] &= active[lane]
    else:
        for lane in range(LANES):
            p[lane] = active[lane]
    mem.addresses(address, s, at, p, regs, uni)
    for lane in range(LANES):
        if not p[lane]:
            continue
        index[lane] = mem.locate(address[lane], size, memory.starts, memory.windows, memory.sizes)
        if index[lane] < 0:
            return _report(fault, mem.OUT_OF_RANGE_GLOBAL, lane, address[lane])
        if address[lane] & (size - 1):
            return _report(fault, mem.MISALIGNED, lane, address[lane])
    tags_row[LINES] = mem.count_distinct(address, p, size, mem.LINE_SHIFT, recorder.blocks)
    sectors = mem.count_distinct(address, p, size, mem.SECTOR_SHIFT, recorder.blocks)
    tags_row[SECTORS] = mem.count_by_quarters(address, p) if size == 16 and op != STG else sectors
    tags_row[MISSES] = sectors
    for lane in range(LANES):
        if p[lane]:
            tags_row[BUFFER] = (address[lane] >> 32) - mem.GLOBAL_BASE_HIGH
            break
    if op == LDG:
        if not m & o.BYPASS:
            tags_row[MISSES] = mem.count_misses(recorder.blocks, sectors, memory.tags)
        mem.load_lanes(memory.flat, memory.flat_words, index, p, s, 0, m, regs)
    elif op == STG:
        mem.store_lanes(memory.flat, memory.flat_words, index, p, s, 3, m, regs)
    elif op == LDGSTS:
        _copy(memory, second, index, active, p, size)
    elif op == RED:
        mem.atomic(memory.flat_words, index, p, s, 3, -1, m, regs)
    else:
        mem.atomic(memory.flat_words, index, p, s, 5, 1, m, regs)
    return 0


@inner
def _local_operation(w, op, s, m, active, regs, uni, memory, tags_row, address, index, fault):
    """LDL, STL: each thread's stack; a word of all threads is one line, and L1 holds it."""
    size = 1 << ((m & o.SIZE_MASK) >> o.SIZE_SHIFT)
    at = 1 if op == LDL else 0
    mem.addresses(address, s, at, active, regs, uni)
    for lane in range(LANES):
        if not active[lane]:
            continue
        address[lane] &= mem.SHARED_MASK
        offset = address[lane] - (mem.STACK_TOP - mem.LOCAL_BYTES)
        if offset < 0 or offset + size > mem.LOCAL_BYTES:
            return _report(fault, mem.OUT_OF_RANGE_LOCAL, lane, address[lane])
        if address[lane] & (size - 1):
            return _report(fault, mem.MISALIGNED, lane, address[lane])
        index[lane] = (32 * w + lane) * mem.LOCAL_BYTES + offset
    if op == LDL:
        mem.load_lanes(memory.local, memory.local_words, index, active, s, 0, m, regs)
    else:
        mem.store_lanes(memory.local, memory.local_words, index, active, s, 3, m, regs)
    tags_row[LINES] = max(1, size >> 2)
    tags_row[SECTORS] = 4 * max(1, size >> 2)
    return 0


@inner
def _others_blocked(w, g, registers):
    """Return whether group ``g`` is the only one of its warp that may run."""
    ready = 0
    for index in range(registers.groups[w]):
        ready += registers.group_wait[w, index] < 0
    return ready == 1


@inner
def _report(fault, code, lane, address):
    fault[0] = code
    fault[2] = lane
    fault[3] = address
    return code


@inner
def _copy(memory, target, index, active, present, size):
    """LDGSTS: copy at once; lanes whose trailing predicate is false write zeros."""
    for lane in range(LANES):
        if not active[lane]:
            continue
        to = target[lane] >> 2
        for part in range(size >> 2):
            memory.shared_words[to + part] = (
                memory.flat_words[(index[lane] >> 2) + part] if present[lane] else np.uint32(0)
            )


@entry
def run_warp(
    w, opcode, modifiers, operands, guard, target_of, registers, memory, recorder, folder, scratch, fault
):
    """Run warp ``w`` until it stops; return STOPPED, GROW (trace full) or FAULT."""
    regs, regs_f, regs_i = registers.general[w], registers.general_f[w], registers.general_i[w]
    uni, preds, upreds = registers.uniform[w], registers.predicates[w], registers.uniform_predicates[w]
    group_pc, group_mask, group_wait, groups = (
        registers.group_pc,
        registers.group_mask,
        registers.group_wait,
        registers.groups,
    )
    group_need = registers.group_need
    convergence, exited, state = registers.convergence, registers.exited, registers.state
    active, p, q, t = scratch.active, scratch.p, scratch.q, scratch.t
    x, y, z, xf, yf, zf = scratch.x, scratch.y, scratch.z, scratch.xf, scratch.yf, scratch.zf
    event = scratch.event
    capacity = recorder.rows.shape[1]
    pattern_limit = len(recorder.patterns) - 1
    for g in range(groups[w]):
        if group_wait[w, g] == PHASE_WAIT:
            group_wait[w, g] = -1
    while True:
        g = 0
        while g < groups[w] and group_wait[w, g] != -1:
            g += 1
        if groups[w] == 0:
            state[w] = EXITED
            return STOPPED
        if g == groups[w]:
            for index in range(groups[w]):
                if group_wait[w, index] == PHASE_WAIT:
                    state[w] = AT_PHASE
                    return STOPPED
            fault[0] = BAD_DIVERGENCE
            fault[1] = group_pc[w, 0]
            return FAULT
        row = recorder.count[w]
        if row >= capacity or recorder.pattern_count[0] >= pattern_limit:
            return GROW
        pc = group_pc[w, g]
        if pc < 0 or pc >= len(opcode):
            fault[0] = LEFT_THE_CODE
            fault[1] = recorder.rows[w, row - 1, PC]
            return FAULT
        op, m, s = opcode[pc], modifiers[pc], operands[pc]
        count = activate(active, group_mask[w, g], guard[pc], preds, upreds)
        entry = recorder.rows[w, row]
        entry[PC] = pc
        entry[ACTIVE] = count
        entry[PATTERN] = -1
        entry[LINES] = entry[SECTORS] = entry[MISSES] = entry[TAKEN] = 0
        entry[BUFFER] = entry[MBARRIER] = -1
        entry[PHASE] = entry[ARRIVALS] = entry[TX] = 0
        recorder.address[w, row] = 0
        recorder.count[w] = row + 1
        if op < FIRST_CONTROL:
            group_pc[w, g] = pc + 1
            if count == 0:
                continue
            event[0] = 0
            if op == HMMA and m & o.LOOKUP_BITS_MASK:
                look_up(s, regs, scratch.a_bits, (m & o.LOOKUP_STEP_MASK) >> o.LOOKUP_STEP_SHIFT,
                        (m & o.LOOKUP_BITS_MASK) >> o.LOOKUP_BITS_SHIFT)  # fmt: skip
            elif op == HMMA:
                accumulate_half, steps = (m & 1) != 0, 1 + ((m >> 1) & 1)
                hmma(
                    s,
                    regs,
                    regs_f,
                    scratch.a_bits,
                    scratch.a,
                    scratch.b_bits,
                    scratch.b,
                    scratch.acc,
                    steps,
                    accumulate_half,
                    (m & o.BF16) != 0,
                )
            elif op == IMMA:
                imma(s, regs, regs_i, scratch.ai, scratch.bi, scratch.acci, m)
            elif op == IMMA_SPARSE and m & o.BLOCK_SCALED:
                scaled_mma(s, regs, regs_f, scratch.ai, scratch.bi, scratch.acc, m)
            elif HGMMA <= op <= BULK_STORE or SET_REGISTERS <= op <= BULK_LOAD:
                code = asynchronous_operation(
                    w, op, s, m, active, registers, memory, folder, scratch, entry, fault
                )
                if code:
                    fault[0], fault[1] = code, pc
                    return FAULT
                if op == HGMMA or op == IGMMA:  # which stage it works on
                    recorder.address[w, row] = np.int64(uni[s[2, 1]]) | np.int64(uni[s[2, 1] + 2]) << 16
                elif op != ELECT and op != SET_REGISTERS and op != MBARRIER_INIT and op != MBARRIER_ARRIVE:
                    recorder.address[w, row] = first_address(scratch.copy)
            elif FIRST_MEMORY <= op <= LAST_MEMORY:
                code = memory_operation(
                    w, op, s, m, active, regs, uni, preds, upreds, memory, recorder, entry,
                    scratch.address, scratch.index, scratch.second, p, fault,
                )  # fmt: skip
                if code:
                    fault[1] = pc
                    return FAULT
                lane = ln.first_active(active)
                recorder.address[w, row] = (
                    scratch.second[lane] if op == LDGSTS and not p[lane] else scratch.address[lane]
                )
            elif FIRST_FLOAT <= op <= LAST_FLOAT:
                if not float_operation(
                    op,
                    s,
                    m,
                    active,
                    regs,
                    uni,
                    memory.constants,
                    preds,
                    upreds,
                    x,
                    y,
                    z,
                    xf,
                    yf,
                    zf,
                    p,
                    q,
                    event,
                    scratch.difference,
                ):
                    fault[0] = UNKNOWN_OPERATION
                    fault[1] = pc
                    return FAULT
            elif op == LDC:
                mem.load_constant(s, m, active, regs, uni, memory.constants, scratch.address)
            elif op == S2R:
                for lane in range(LANES):
                    x[lane] = registers.special[w, s[1, 1], lane]
                    scratch.w0[lane] = x[lane]
                if m & o.DOUBLE:
                    ln.write_wide(s[0], scratch.w0, active, regs, uni)
                else:
                    ln.write(s[0], x, active, regs, uni)
            elif op == BMOV:
                if s[0, 0] == ln.REG:
                    for lane in range(LANES):
                        x[lane] = convergence[w, s[1, 1]]
                    ln.write(s[0], x, active, regs, uni)
                    if m & o.CLEAR:
                        convergence[w, s[1, 1]] = 0
                else:
                    convergence[w, s[0, 1]] = regs[s[1, 1], ln.first_active(active)]
            elif op == NOP or op == COPY_COMMIT or op == COPY_WAIT or op == MEMBAR or op == MARKER:
                pass
            elif not integer_operation(
                op,
                s,
                m,
                active,
                regs,
                uni,
                memory.constants,
                preds,
                upreds,
                x,
                y,
                z,
                scratch.w0,
                p,
                q,
                t,
                event,
                scratch.difference,
            ):
                fault[0] = UNKNOWN_OPERATION
                fault[1] = pc
                return FAULT
            if event[0] and folder.enabled[0]:
                remember_event(w, folder, event[0], scratch.difference, active)
            continue
        if op == BRA or op == CALL or op == RET:
            mask = np.uint32(0)
            goal = target_of[pc]
            if s[0, 0] == ln.PRED or s[0, 0] == ln.UPRED:
                ln.predicate(p, s[0], preds, upreds)
                for lane in range(LANES):
                    active[lane] &= p[lane]
                mask = mask_of(active)
            elif op == RET:
                goal = np.int64(regs[s[0, 1], ln.first_active(active)]) >> 4
                for lane in range(LANES):
                    active[lane] &= np.int64(regs[s[0, 1], lane]) >> 4 == goal
                mask = mask_of(active)
            elif s[0, 0] != ln.UREG or (m & o.CONVERGED != 0) == (groups[w] == 1):
                mask = mask_of(active)  # .DIV and .CONV ask whether the warp runs together
            if mask != np.uint32(0) and m & o.ANY_LANE:
                mask = group_mask[w, g]
            if mask == np.uint32(0):
                group_pc[w, g] = pc + 1
            elif mask == group_mask[w, g]:
                entry[TAKEN] = 1
                group_pc[w, g] = goal
                if (
                    goal <= pc
                    and op == BRA
                    and _others_blocked(w, g, registers)
                    and folder.enabled[0]
                    and at_header(w, goal, registers, recorder, folder)
                ):
                    state[w] = AT_HEADER
                    return STOPPED
            else:
                entry[TAKEN] = 1
                if groups[w] >= GROUPS - 1:
                    fault[0] = BAD_DIVERGENCE
                    fault[1] = pc
                    return FAULT
                group_mask[w, g] &= ~mask
                group_pc[w, g] = pc + 1
                for index in range(groups[w], 0, -1):
                    group_pc[w, index] = group_pc[w, index - 1]
                    group_mask[w, index] = group_mask[w, index - 1]
                    group_wait[w, index] = group_wait[w, index - 1]
                    group_need[w, index] = group_need[w, index - 1]
                group_pc[w, 0] = goal
                group_mask[w, 0] = mask
                group_wait[w, 0] = -1
                groups[w] += 1
        elif op == EXIT:
            mask = mask_of(active)
            exited[w] |= mask
            group_mask[w, g] &= ~mask
            group_pc[w, g] = pc + 1
            if group_mask[w, g] == np.uint32(0):
                remove_group(w, g, group_pc, group_mask, group_wait, group_need, groups)
            release_converged(w, group_pc, group_mask, group_wait, group_need, groups, exited)
        elif op == BSSY:
            convergence[w, s[0, 1]] = mask_of(active)
            group_pc[w, g] = pc + 1
        elif op == BSYNC:
            if count == 0 or groups[w] == 1:
                group_pc[w, g] = pc + 1
            else:
                group_wait[w, g] = s[0, 1]
                group_need[w, g] = convergence[w, s[0, 1]]
                release_converged(w, group_pc, group_mask, group_wait, group_need, groups, exited)
        elif op == BREAK:
            ln.predicate(p, s[0], preds, upreds)
            for lane in range(LANES):
                if s[0, 0] != NONE:
                    active[lane] &= p[lane]
            leaving = mask_of(active)
            for index in range(groups[w]):
                if group_wait[w, index] == s[1, 1] and group_need[w, index] == convergence[w, s[1, 1]]:
                    group_need[w, index] &= ~leaving
            convergence[w, s[1, 1]] &= ~leaving
            group_pc[w, g] = pc + 1
            release_converged(w, group_pc, group_mask, group_wait, group_need, groups, exited)
        elif op == WARPSYNC:
            if groups[w] == 1:
                group_pc[w, g] = pc + 1
            else:
                ln.integer(x, s[0], regs, uni, memory.constants)
                group_need[w, g] = x[ln.first_active(active)] if s[0, 0] != NONE else np.uint32(0xFFFFFFFF)
                group_wait[w, g] = WARPSYNC_SLOT
                release_converged(w, group_pc, group_mask, group_wait, group_need, groups, exited)
        elif op == BAR:
            group_pc[w, g] = pc + 1
            if count == 0:
                continue
            if groups[w] > 1:
                fault[0] = BAD_DIVERGENCE
                fault[1] = pc
                return FAULT
            registers.barrier[w] = s[0, 1] + (s[1, 1] >> 5 << WARPS_SHIFT)
            state[w] = AT_BARRIER
            return STOPPED
        elif op == WGMMA_WAIT:
            group_pc[w, g] = pc + 1
            registers.barrier[w] = FIRST_WARPGROUP + w // GROUP_WARPS + (GROUP_WARPS << WARPS_SHIFT)
            state[w] = AT_BARRIER
            return STOPPED
        elif op == MBARRIER_WAIT:
            if count == 0:
                group_pc[w, g] = pc + 1
                continue
            code = await_phase(w, g, s, active, registers, memory, scratch, entry, fault)
            if code:
                fault[0], fault[1] = code, pc
                return FAULT
            if group_wait[w, g] == PHASE_WAIT:
                recorder.count[w] = row  # a wait is one row, written when it is over
        else:
            fault[0] = UNKNOWN_OPERATION
            fault[1] = pc
            return FAULT
