"""The instructions of asynchronous kernels: mbarriers, the copy engine, wgmma, and what goes with them (numba)."""

from __future__ import annotations

import numpy as np

from sim.exec import access as mem
from sim.exec import bulk, mbarrier
from sim.exec import lanes as ln
from sim.exec.folding import remember_event
from sim.exec.lanes import LANES, NONE
from sim.exec.state import ARRIVALS, BUFFER, LINES, MBARRIER, MISSES, PHASE, PHASE_WAIT, SECTORS, TX
from sim.exec.warpgroup import warpgroup_operation
from sim.isa import opcodes as o
from sim.isa.opcodes import Op
from sim.jit import inner

HGMMA, IGMMA, ELECT, SET_REGISTERS = int(Op.HGMMA), int(Op.IGMMA), int(Op.ELECT), int(Op.SET_REGISTERS)
MBARRIER_INIT, MBARRIER_ARRIVE = int(Op.MBARRIER_INIT), int(Op.MBARRIER_ARRIVE)
TENSOR_LOAD, BULK_LOAD = int(Op.TENSOR_LOAD), int(Op.BULK_LOAD)
STATE_IS_READ = 26


@inner
def asynchronous_operation(w, op, s, m, active, registers, memory, folder, scratch, entry_row, fault):
    """Run one of the instructions of asynchronous kernels; return a fault code."""
    regs, uni, preds, upreds = (
        registers.general[w],
        registers.uniform[w],
        registers.predicates[w],
        registers.uniform_predicates[w],
    )
    if op == HGMMA or op == IGMMA:
        ln.predicate(scratch.p, s[4], preds, upreds)
        accumulate = s[4, 0] == NONE or scratch.p[ln.first_active(active)] != 0
        return warpgroup_operation(
            w,
            op == IGMMA,
            s,
            m,
            accumulate,
            regs,
            registers.general_f[w],
            registers.general_i[w],
            uni,
            memory,
            scratch,
        )
    if op == ELECT:
        elect(s, active, regs, uni, preds, upreds, scratch)
        return 0
    if op == SET_REGISTERS:
        for lane in range(LANES):
            scratch.p[lane] = 1
        if s[0, 0] == ln.PRED or s[0, 0] == ln.UPRED:
            ln.write_predicate(s[0], scratch.p, active, preds, upreds)
        return 0
    if op == MBARRIER_INIT or op == MBARRIER_ARRIVE:
        return _signal(op, s, m, active, regs, uni, memory, scratch, entry_row, fault)
    copy = scratch.copy
    code = bulk.bulk_operation(op, s, m, regs, uni, memory, copy, fault)
    if code:
        return code
    entry_row[LINES] = copy[bulk.LINES_ASKED]
    entry_row[SECTORS] = entry_row[MISSES] = copy[bulk.SECTORS_ASKED]
    entry_row[BUFFER] = (copy[bulk.START] >> 32) - mem.GLOBAL_BASE_HIGH
    entry_row[TX] = copy[bulk.BYTES]
    if op == TENSOR_LOAD or op == BULK_LOAD:
        entry_row[MBARRIER], entry_row[PHASE] = copy[bulk.MBARRIER], copy[bulk.PHASE]
    if folder.enabled[0]:
        _remember_box(w, copy, folder, scratch)
    return 0


@inner
def elect(s, active, regs, uni, preds, upreds, scratch):
    """ELECT: the lowest active lane that the predicate lets stand."""
    ln.predicate(scratch.q, s[2], preds, upreds)
    leader = -1
    for lane in range(LANES):
        scratch.p[lane] = 0
        if leader < 0 and active[lane] and scratch.q[lane]:
            leader = lane
            scratch.p[lane] = 1
    for lane in range(LANES):
        scratch.x[lane] = np.uint32(max(0, leader))
    ln.write(s[1], scratch.x, active, regs, uni)
    ln.write_predicate(s[0], scratch.p, active, preds, upreds)


@inner
def _signal(op, s, m, active, regs, uni, memory, scratch, entry_row, fault):
    """SYNCS.EXCH and SYNCS.ARRIVE: the state that they return is not modelled, so RZ must take it."""
    if not (s[0, 1] == ln.RZ if s[0, 0] == ln.REG else s[0, 1] == ln.URZ):
        return STATE_IS_READ
    mem.addresses(scratch.address, s, 1, active, regs, uni)
    for lane in range(LANES):
        scratch.address[lane] &= mem.SHARED_MASK
    lane = ln.first_active(active)
    fault[2], fault[3] = lane, scratch.address[lane]
    ln.raw(scratch.x, s[4], regs, uni, memory.constants)
    if op == MBARRIER_INIT:
        number = mbarrier.begin(scratch.address[lane], scratch.x[lane], memory)
    else:
        number = mbarrier.named(scratch.address, active, memory)
    if number < 0:
        return -number
    entry_row[MBARRIER] = number
    if op == MBARRIER_INIT:
        return 0
    entry_row[PHASE] = memory.mbarriers[number, mbarrier.COMPLETED] + 1
    entry_row[ARRIVALS] = mbarrier.lane_arrivals(m, scratch.x, active)
    entry_row[TX] = mbarrier.lane_bytes(m, scratch.x, active)
    return mbarrier.report(number, entry_row[ARRIVALS], entry_row[TX], memory)


@inner
def _remember_box(w, copy, folder, scratch):
    """Where a box crosses the edge of its tensor is a decision: what lies inside must stay the same."""
    for d in range(copy[bulk.RANK]):
        for side in range(2):
            room = copy[bulk.COORDINATES + d]
            if side:
                room = copy[bulk.DIMS + d] - copy[bulk.BOX + d] - room
            for lane in range(LANES):
                scratch.difference[lane] = room
            code = np.int64(o.GE) + 16 * bulk.inside(copy, d)
            remember_event(w, folder, code, scratch.difference, scratch.active)


@inner
def await_phase(w, g, s, active, registers, memory, scratch, entry_row, fault):
    """SYNCS.PHASECHK.TRYWAIT, which here either succeeds or holds the group; return a fault code."""
    regs, uni = registers.general[w], registers.uniform[w]
    mem.addresses(scratch.address, s, 1, active, regs, uni)
    for lane in range(LANES):
        scratch.address[lane] &= mem.SHARED_MASK
    lane = ln.first_active(active)
    fault[2], fault[3] = lane, scratch.address[lane]
    number = mbarrier.named(scratch.address, active, memory)
    if number < 0:
        return -number
    ln.raw(scratch.x, s[4], regs, uni, memory.constants)
    if not mbarrier.phase_over(number, np.int64(scratch.x[lane] >> np.uint32(31)), memory):
        registers.group_wait[w, g] = PHASE_WAIT
        registers.barrier[w] = number
        registers.completions[w] = memory.completions[0]
        return 0
    entry_row[MBARRIER], entry_row[PHASE] = number, memory.mbarriers[number, mbarrier.COMPLETED]
    for lane in range(LANES):
        scratch.p[lane] = 1
    ln.write_predicate(s[0], scratch.p, active, registers.predicates[w], registers.uniform_predicates[w])
    registers.group_pc[w, g] += 1
    return 0
