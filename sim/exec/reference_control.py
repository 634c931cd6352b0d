"""The twin's control flow: jumps split a warp into groups of lanes, convergence points join them again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.errors import TcsimError
from sim.exec.reference_state import LANE, LANES, Array, Group, Step, Warp
from sim.exec.state import FIRST_WARPGROUP
from sim.isa import opcodes as o
from sim.isa.opcodes import Kind, Op

ANYWHERE = -1  # the convergence point of WARPSYNC


def lanes_of(mask: Array) -> frozenset[int]:
    """Return the numbers of the lanes in a mask."""
    return frozenset(int(lane) for lane in np.flatnonzero(mask))


def converge(warp: Warp) -> None:
    """Merge the groups that wait at one point for the same lanes, once each of these has arrived or exited."""
    for point, needed in dict.fromkeys((group.waits_at, group.waits_for) for group in warp.groups):
        waiting = [group for group in warp.groups if (group.waits_at, group.waits_for) == (point, needed)]
        arrived = np.logical_or.reduce([group.mask for group in waiting])
        if point is None or needed - lanes_of(arrived | warp.exited):
            continue
        first, rest = waiting[0], waiting[1:]
        first.mask, first.waits_at, first.pc = arrived, None, first.pc + 1
        warp.groups = [group for group in warp.groups if not any(group is each for each in rest)]


def _call(step: Step, group: Group) -> bool:
    return _jump(step, group, step.active, step.slots[0].value // 16)


def _return(step: Step, group: Group) -> bool:
    targets = step.bits(0) // 16
    target = int(targets[np.argmax(step.active)])
    return _jump(step, group, step.active & (targets == target), target)


def _branch(step: Step, group: Group) -> bool:
    condition = step.slots[0]
    jump = step.active
    if condition.kind in (Kind.PRED, Kind.UPRED):
        jump = jump & step.truth(0)
    elif condition.kind == Kind.UREG:  # .DIV and .CONV ask whether the lanes of a mask run together
        alone = len(step.warp.groups) == 1
        jump = jump & (alone if step.modified(o.CONVERGED) else not alone)
    if step.modified(o.ANY_LANE) and jump.any():
        jump = group.mask
    return _jump(step, group, jump, step.slots[1].value // 16)


def _jump(step: Step, group: Group, jump: Array, target: int) -> bool:
    if not jump.any():
        group.pc += 1
    elif np.array_equal(jump, group.mask):
        group.pc = target
    else:
        group.mask, group.pc = group.mask & ~jump, group.pc + 1
        step.warp.groups.insert(0, Group(target, jump))
    return bool(jump.any())


def _exit(step: Step, group: Group) -> bool:
    step.warp.exited |= step.active
    group.mask, group.pc = group.mask & ~step.active, group.pc + 1
    if not group.mask.any():
        step.warp.groups = [each for each in step.warp.groups if each is not group]
    converge(step.warp)
    return False


def _move_convergence(step: Step, group: Group) -> bool:
    group.pc += 1
    if not step.active.any():
        return False
    points, (first, second) = step.warp.convergence, step.slots[:2]
    if first.kind == Kind.BARRIER:
        points[first.value] = (step.bits(1)[np.argmax(step.active)] >> LANE & 1).astype(bool)
        return False
    mask = points.get(second.value, np.zeros(LANES, bool))
    step.write(0, np.full(LANES, (mask.astype(np.uint64) << LANE.astype(np.uint64)).sum(), np.uint32))
    if step.modified(o.CLEAR):
        points[second.value] = np.zeros(LANES, bool)
    return False


def _set_convergence(step: Step, group: Group) -> bool:
    step.warp.convergence[step.slots[0].value] = step.active
    group.pc += 1
    return False


def _wait_convergence(step: Step, group: Group) -> bool:
    point = step.slots[0].value
    return _wait(step, group, point, step.warp.convergence.get(point, np.zeros(LANES, bool)))


def _wait(step: Step, group: Group, point: int, lanes: Array) -> bool:
    if len(step.warp.groups) == 1 or not step.active.any():
        group.pc += 1
    else:
        group.waits_at, group.waits_for = point, lanes_of(lanes)
        converge(step.warp)
    return False


def _break(step: Step, group: Group) -> bool:
    leaving = step.active & (step.truth(0) if step.slots[0].kind != Kind.NONE else True)
    point = step.slots[1].value
    before = step.warp.convergence.get(point, np.zeros(LANES, bool))
    step.warp.convergence[point] = before & ~leaving
    for other in step.warp.groups:
        if (other.waits_at, other.waits_for) == (point, lanes_of(before)):
            other.waits_for = lanes_of(before & ~leaving)
    group.pc += 1
    converge(step.warp)
    return False


def _synchronize_warp(step: Step, group: Group) -> bool:
    mask = 0xFFFFFFFF if step.slots[0].kind == Kind.NONE else int(step.integer(0)[np.argmax(step.active)])
    return _wait(step, group, ANYWHERE, (mask >> LANE & 1).astype(bool))


def _synchronize_cta(step: Step, group: Group) -> bool:
    group.pc += 1
    if step.active.any():
        if len(step.warp.groups) > 1:
            raise TcsimError("barrier in divergent code")
        step.warp.barrier = (step.slots[0].value, step.slots[1].value // 32)
    return False


def _wait_warpgroup(step: Step, group: Group) -> bool:
    group.pc += 1
    step.warp.barrier = (FIRST_WARPGROUP + step.warp.number // 4, 4)
    return False


CONTROL: dict[Op, Callable[[Step, Group], bool]] = {
    Op.BRA: _branch, Op.EXIT: _exit, Op.BSSY: _set_convergence, Op.BSYNC: _wait_convergence,
    Op.BREAK: _break, Op.WARPSYNC: _synchronize_warp, Op.BAR: _synchronize_cta,
    Op.WGMMA_WAIT: _wait_warpgroup, Op.CALL: _call, Op.RET: _return, Op.BMOV: _move_convergence,
}  # fmt: skip
