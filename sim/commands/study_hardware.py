"""What is neither a launch nor an error: synthesized shifters, numbers of hypothetical hardware, groups that end at
tensor instructions, orders of channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reports.accumulator import Ends, Hardware, OrderTime, Shifter, Skipped
from reports.shifter_cost import PLACES, Unit, shift_share
from sim.arch.accumulator import load_costs, overhead
from sim.commands.grouping import Matmul, grouping_costs, order_cost
from sim.commands.parallel import in_order
from sim.commands.study_config import StudyFile
from sim.commands.study_points import kernel, on_machine
from sim.dse.run import default_workers
from sim.errors import TcsimError
from sim.extensions import get_extension
from workloads.accuracy.outliers import PROFILES, operands

SHIFT_RANGES = (1, 2, 3, 4)  # those that were synthesized
VARIANT = "software_shift"  # whose time is taken with padded and with aligned groups


def shifters(study: StudyFile) -> Iterator[Shifter]:
    """Yield the synthesized unit with a shifter in each place."""
    costs = load_costs()
    for position in PLACES:
        for reach in SHIFT_RANGES:
            found = overhead(costs, study.hardware.design(position, reach))
            yield Shifter(
                position,
                reach,
                costs.gates(found.cost.area_um2 - found.plain.area_um2),
                100 * found.area,
                100 * found.delay,
                100 * found.mac_energy,
                100 * shift_share(found),
            )


def unit_words(study: StudyFile) -> str:
    """Say which unit that is, and in what it was synthesized."""
    unit = Unit(study.hardware.unit, study.hardware.operand_bits, study.hardware.length)
    return f"{unit.label}, an accumulator of 32 bits, {load_costs().library}"


def quantities(study: StudyFile, others: tuple[str, ...]) -> Iterator[Hardware]:
    """Yield the numbers of every accumulator, and of other extensions that were used."""
    named = [
        *((each.name, each.extension) for each in study.accumulators),
        *(("", each) for each in others if each.partition(":")[0] != "tender_accumulator"),
    ]
    for setting, name in named:
        for quantity, each in get_extension(name).quantities().items():
            yield Hardware(name.partition(":")[0], setting, quantity, each.value, each.unit, each.rationale)


@dataclass(frozen=True)
class Task:
    """Groups of a matmul that end at its instructions; without a scheme: orders of rows."""

    arch: str
    m: int
    k: int
    scheme: str = ""
    n: int = 0
    groups: tuple[int, ...] = ()
    profile: str = ""
    extensions: tuple[str, ...] = ()


def tasks(study: StudyFile, arch: str) -> list[Task]:
    """Return what is to be simulated and computed."""
    asked, found = study.grouping, []
    for scheme in asked.schemes:
        extensions = on_machine(arch, kernel(scheme, {"variant": VARIANT, "groups": 1}, study.profile))
        if not isinstance(extensions, TcsimError):
            found += [
                Task(arch, m, 0, scheme, asked.n, asked.groups, study.accuracy.profiles[-1], extensions)
                for m in asked.m
            ]
    return [*found, *(Task(arch, m, study.orders.k) for m in study.orders.m)]


def compute(study: StudyFile, arch: str, workers: int | None) -> tuple[Ends | OrderTime | Skipped, ...]:
    """Do all of it."""
    rows = in_order(perform, tasks(study, arch), workers or default_workers())
    return tuple(row for found in rows for row in found)


def perform(task: Task) -> tuple[Ends | OrderTime | Skipped, ...]:
    """Do one of them, or say why this machine does not run it."""
    try:
        return tuple(_ends(task)) if task.scheme else (_order(task),)
    except TcsimError as error:
        what = f"ends of the groups of {task.scheme}" if task.scheme else "orders of channels"
        return (Skipped(f"{what}, M = {task.m}", str(error)),)


def _order(task: Task) -> OrderTime:
    found = order_cost(task.arch, task.m, task.k)
    return OrderTime(task.m, task.k, found.plain_us, found.gather_us, found.scatter_us)


def _ends(task: Task) -> Iterator[Ends]:
    maxima = np.abs(operands(PROFILES[task.profile]).x).max(axis=0).astype(np.float64)
    matmul = Matmul(task.arch, task.scheme, VARIANT, task.m, task.n, task.extensions)
    for groups, each in zip(task.groups, grouping_costs(matmul, [maxima], task.groups), strict=True):
        yield Ends(
            task.scheme,
            task.m,
            groups,
            each.step,
            100 * each.padded_share,
            each.padded.time_us,
            each.aligned.time_us,
            each.padded.sqnr_db,
            each.aligned.sqnr_db,
            each.padded.overflows + each.aligned.overflows,
        )
