"""The computed part of an accumulator study: widths, groups, formats, orders. No machine is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from reports.accumulator import GroupLevel, Level, OrderLevel, Overflow
from sim.commands.parallel import in_order
from sim.commands.study_config import StudyFile
from sim.commands.terminal import progress_shown
from sim.dse.run import default_workers
from sim.errors import TcsimError
from workloads.accuracy import minilm
from workloads.accuracy.methods import method
from workloads.accuracy.outliers import PROFILES, operands
from workloads.accuracy.study import (
    MINILM,
    group_accuracy,
    layer_errors,
    median_db,
    minilm_reference,
    ordinary_share_db,
    outlier_accuracy,
)
from workloads.tender.decomposition import Format
from workloads.tender.orders import drifting_chunks, order_accuracy
from workloads.tender.synthetic import MODES, decompose, hold, quantized_rows, sqnr_db, step_sums

SEED = 0
ORDER_CHANNELS = 2048  # of the matmul whose error with orders is measured

Found = tuple[Overflow | GroupLevel | Level | OrderLevel, ...]  # rows


@dataclass(frozen=True)
class Task:
    """One thing to compute, in a process of its own."""

    kind: str
    name: str = ""
    where: str = ""
    bits: int = 8
    groups: int = 1
    shift: int = 1
    widths: tuple[int, ...] = ()
    chunks: int = 2
    drift: float = 0.0


def places(study: StudyFile) -> tuple[str, ...]:
    """Return where errors are measured: the profiles, and MiniLM if it is wanted and here."""
    return (*study.accuracy.profiles, *((MINILM,) if study.accuracy.minilm and minilm_here() else ()))


def minilm_here() -> bool:
    """Tell whether the extra [accuracy] is installed."""
    try:
        minilm.tokens(("a",))
    except TcsimError:
        return False
    return True


def tasks(study: StudyFile) -> list[Task]:
    """Return all that is to be computed, long ones first."""
    wide, order = study.widths, study.orders
    named = list(dict.fromkeys(each.accuracy for each in study.contenders))
    return [
        *(Task("level", name, where) for where in reversed(places(study)) for name in named),
        *(
            Task("groups", where=where, bits=bits, groups=count)
            for where in reversed(places(study))
            for bits in wide.bits
            for count in study.accuracy.groups
        ),
        *(
            Task("widths", where=where, bits=bits, groups=count, shift=shift, widths=wide.widths)
            for where in study.accuracy.profiles
            for bits in wide.bits
            for shift in wide.shifts
            for count in sorted({groups_for(groups, shift) for groups in wide.groups})
        ),
        *(
            Task("order", bits=order.bits, groups=order.groups, chunks=order.chunks, drift=drift)
            for drift in order.drift_octaves
        ),
    ]


def groups_for(groups: int, shift: int) -> int:
    """Return how many groups reach at least as many octaves as ``groups`` do, ``shift`` of them apart."""
    return 1 + -(-(groups - 1) // shift)


def compute(study: StudyFile, workers: int | None, quiet: bool) -> Found:
    """Compute everything."""
    asked = tasks(study)
    found: list[Overflow | GroupLevel | Level | OrderLevel] = []
    shown = nullcontext(None) if quiet else progress_shown("numbers", "computing", "starting")
    with shown as progress:
        for done, each in enumerate(in_order(perform, asked, workers or default_workers()), 1):
            found += each
            if progress is not None:
                progress(done, len(asked), 0)
    return tuple(found)


def perform(task: Task) -> Found:
    """Compute one thing."""
    if task.kind == "level":
        return (Level(task.name, task.where, level_db(task.name, task.where)),)
    if task.kind == "groups":
        found = group_accuracy(task.bits, task.groups, task.where)
        return (GroupLevel(task.bits, task.groups, task.where, found.sqnr_db, found.wrapped_pct),)
    if task.kind == "order":
        return (order_level(task),)
    return tuple(overflows(task))


def level_db(name: str, where: str) -> float:
    """Return the error of a format in dB: the middle of MiniLM's layers, or beside a profile's ordinary channels."""
    if where == MINILM:
        return median_db(layer_errors(minilm_reference(), method(name)))
    return outlier_accuracy(name, where).ordinary_db


def overflows(task: Task) -> Iterator[Overflow]:
    """Yield what accumulators of every width hold of a profile's matmul; each channel's middle is taken off first."""
    drawn = operands(PROFILES[task.where])
    x, weight = drawn.x.astype(np.float64), drawn.weight.astype(np.float64)
    middle = (x.max(axis=0) + x.min(axis=0)) / 2
    codes, scales = quantized_rows(weight, task.bits)
    found = decompose(x - middle, task.groups, task.bits, 2**task.shift)
    steps = step_sums(found.codes, codes[:, found.order], found.sizes)
    want, share = x @ weight.T, ordinary_share_db(drawn)
    exact = hold(steps, shift=task.shift)
    for width in task.widths:
        for mode in MODES:
            run = exact if width >= exact.widest_bits else hold(steps, width, mode, task.shift)
            yield Overflow(
                task.where,
                task.bits,
                task.groups,
                task.shift,
                width,
                mode,
                1e6 * run.overflows / run.steps,
                sqnr_db(want, run.sums * found.scale * scales + middle @ weight.T) + share,
                exact.widest_bits,
            )


def order_level(task: Task) -> OrderLevel:
    """Return the error with an order per chunk and with one for all."""
    how = Format(bits=task.bits, groups=task.groups)
    random = np.random.default_rng(SEED)
    chunks = drifting_chunks(task.chunks, ORDER_CHANNELS, how, task.drift, random)
    found = order_accuracy(chunks, how)
    return OrderLevel(task.drift, found.own_db, found.shared_db)
