"""The readable twin of the executor: NumPy over 32 lanes, no folding, no speed. The tests hold the two together.

Written from what the instructions mean (PTX and NVIDIA's def/use sets), on Python's integers and fractions. It shares
with the executor only the decoded columns, the layout of the memory image, and conventions where the hardware is free:
a divergent branch runs its taken side first; warps run in turn from barrier to barrier; lanes store in ascending order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sim.errors import DeadlockError
from sim.exec import reference_float, reference_tensor, reference_warp  # they register meanings
from sim.exec.execute import Execution
from sim.exec.image import build_memory
from sim.exec.reference_asynchronous import parameter_address, wait_phase
from sim.exec.reference_control import CONTROL
from sim.exec.reference_integer import MEANINGS
from sim.exec.reference_memory import ACCESSES, Access, Seen
from sim.exec.reference_state import LANE, Array, Group, Slot, Step, Warp
from sim.exec.state import Memory
from sim.isa import opcodes as o
from sim.isa.launch import CtaClass, Dim3, KernelLaunch, TensorMap
from sim.isa.opcodes import Kind, Op
from sim.isa.program import Program
from sim.isa.trace import WarpTrace

__all__ = ["Reference", "execute_reference"]
assert reference_float and reference_tensor and reference_warp


@dataclass(frozen=True)
class Row:
    """One executed warp instruction."""

    pc: int
    lanes: int
    taken: bool
    access: Access


@dataclass
class Reference:
    """One CTA being executed."""

    launch: KernelLaunch
    memory: Memory
    warps: list[Warp]
    rows: list[list[Row]]
    seen: Seen = field(default_factory=Seen)

    @property
    def program(self) -> Program:
        """The kernel."""
        return self.launch.program

    def run(self) -> None:
        """Run every warp to its end, from barrier to barrier."""
        while any(warp.groups for warp in self.warps):
            completed = self.completed
            for warp in self.warps:
                while warp.groups and warp.barrier is None and not warp.held:
                    self.step(warp)
            if not self.release_barriers() and not self.release_held(completed):
                raise DeadlockError(
                    f"warps wait at {[warp.barrier or 'an mbarrier' for warp in self.warps if warp.groups]}"
                )

    @property
    def completed(self) -> int:
        """Phases that all mbarriers have completed."""
        return sum(mbarrier.completed for mbarrier in self.seen.mbarriers)

    def release_barriers(self) -> bool:
        """Let the warps of every full barrier go."""
        live = [warp for warp in self.warps if warp.groups]
        full = False
        for barrier in {warp.barrier for warp in live if warp.barrier}:
            here = [warp for warp in live if warp.barrier == barrier]
            if len(here) == (barrier[1] or len(live)):
                full = True
                for warp in here:
                    warp.barrier = None
        return full or not live

    def release_held(self, before: int) -> bool:
        """Let all that mbarriers hold look again, if a phase has ended in the last turn."""
        held = [warp for warp in self.warps if warp.held]
        for warp in held:
            warp.held = False
            for group in warp.groups:
                group.held = False
        return bool(held) and self.completed > before

    def step(self, warp: Warp) -> None:
        """Execute the next instruction of the first group that is not blocked."""
        group = next((each for each in warp.groups if each.waits_at is None and not each.held), None)
        if group is None:
            warp.held = any(each.held for each in warp.groups)
            if not warp.held:
                raise DeadlockError(f"warp {warp.number}: every group waits to converge")
            return
        pc, number = group.pc, int(self.program.guard[group.pc])
        guard = Slot(Kind.UPRED if number & 16 else Kind.PRED, number & 7, o.INV if number & 8 else 0)
        active = group.mask & warp.truth(guard)
        slots = [
            Slot(Kind(int(kind)), int(value), int(flags)) for kind, value, flags in self.program.operands[pc]
        ]
        step = Step(warp, int(self.program.modifiers[pc]), slots, active, int(self.program.opcode[pc]))
        self.seen.access = Access()
        with np.errstate(all="ignore"):  # NaN and infinity are results, not mistakes
            taken = self.perform(step, group)
        if group.held:
            return  # a wait is one row, written when it is over
        self.rows[warp.number].append(Row(pc, int(active.sum()), taken, self.seen.access))

    def perform(self, step: Step, group: Group) -> bool:
        """Give one instruction its effect; return whether it jumped."""
        operation = Op(step.operation)
        if operation in CONTROL:
            return CONTROL[operation](step, group)
        if operation == Op.MBARRIER_WAIT:
            wait_phase(step, group, self.seen)
            return False
        group.pc += 1
        if not step.active.any():
            return False
        if operation in ACCESSES:
            ACCESSES[operation](step, self.seen)
        else:
            MEANINGS[operation](step)
        return False

    def trace(self) -> WarpTrace:
        """Return the rows as the executor's columns."""
        flat = [row for rows in self.rows for row in rows]
        patterns = list(dict.fromkeys(row.access.pattern for row in flat if row.access.pattern))
        number = {pattern: index for index, pattern in enumerate(patterns)}
        counts = [len(rows) for rows in self.rows]
        accesses = [row.access for row in flat]
        return WarpTrace(
            program=self.program,
            offset=np.cumsum([0, *counts]).astype(np.int64),
            pc=_column([row.pc for row in flat]),
            lanes=_column([row.lanes for row in flat]),
            pattern=_column([number[access.pattern] if access.pattern else -1 for access in accesses]),
            lines=_column([access.lines for access in accesses]),
            sectors=_column([access.sectors for access in accesses]),
            misses=_column([access.misses for access in accesses]),
            taken=_column([int(row.taken) for row in flat]),
            buffer=_column([access.buffer for access in accesses]),
            mbarrier=_column([access.mbarrier for access in accesses]),
            phase=_column([access.phase for access in accesses]),
            phase_step=_column([0 for _ in flat]),
            arrivals=_column([access.arrivals for access in accesses]),
            tx=_column([access.tx for access in accesses]),
            mbarriers=_column([mbarrier.expected for mbarrier in self.seen.mbarriers]),
            loops=np.zeros((0, 3), np.int64),
            patterns=np.array(patterns, np.int32).reshape(-1, 34),
        )


def _column(values: list[int]) -> npt.NDArray[np.int32]:
    return np.array(values, np.int32)


def execute_reference(launch: KernelLaunch, cta_class: CtaClass) -> Execution:
    """Execute the representative CTA of ``cta_class``, every iteration of every loop."""
    memory = build_memory(launch, cta_class)
    special = special_registers(launch, cta_class.cta)
    warps = [_warp(launch, memory, special, number) for number in range(launch.warps)]
    run = Reference(launch, memory, warps, [[] for _ in warps], _seen(launch))
    run.run()
    return Execution(run.trace(), launch, memory)


def _seen(launch: KernelLaunch) -> Seen:
    maps = {
        parameter_address(launch.program.param_base + param.offset): value
        for param, value in zip(launch.program.params, launch.args, strict=True)
        if isinstance(value, TensorMap)
    }
    return Seen(maps=maps, buffers=[buffer.name for buffer in launch.buffers])


def _warp(launch: KernelLaunch, memory: Memory, special: Array, number: int) -> Warp:
    mask = 32 * number + LANE < launch.threads
    return Warp(number, memory, special[:, 32 * number : 32 * number + 32], [Group(0, mask)], ~mask)


def special_registers(launch: KernelLaunch, cta: Dim3) -> Array:
    """Return every special register for every thread, uint32 [registers, threads]."""
    thread = np.arange(32 * launch.warps)
    x, y, _ = launch.block
    values = np.zeros((16, len(thread)), np.uint64)
    for name, number in o.SPECIAL_REGISTERS.items():
        kind, _, part = name.removeprefix("SR_").partition(".")
        axis = "XYZ".index(part) if part else 0
        lane = thread.astype(np.uint64) % 32
        values[number] = {
            "TID": (thread % x, thread // x % y, thread // x // y)[axis],
            "CTAID": np.full(len(thread), cta[axis]),
            "NTID": np.full(len(thread), launch.block[axis]),
            "LANEID": lane,
            "EQMASK": 1 << lane,
            "LTMASK": (1 << lane) - 1,
            "LEMASK": (2 << lane) - 1,
            "GTMASK": 0xFFFFFFFF - ((2 << lane) - 1),
            "GEMASK": 0xFFFFFFFF - ((1 << lane) - 1),
        }.get(kind, np.zeros(len(thread), np.uint64))
    return values.astype(np.uint32)
