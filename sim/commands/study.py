"""``tcsim study accumulator``: timing, numerics, energy and area of accumulators that shift, on one page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from reports.accumulator import (
    Ends,
    GroupLevel,
    Level,
    OrderLevel,
    OrderTime,
    Overflow,
    Skipped,
    Study,
)
from reports.accumulator_conclusion import conclusion
from reports.accumulator_findings import finite
from reports.accumulator_page import render
from sim.commands import study_hardware, study_numerics, study_points, study_times
from sim.commands.selection import machine
from sim.commands.study_config import DEFAULT, StudyFile, load_study
from sim.commands.terminal import say
from sim.dse.files import make_directory
from sim.errors import TcsimError
from workloads.accuracy.study import MINILM

Row = TypeVar("Row")
NO_MINILM = "MiniLM was not measured: the extra [accuracy] is not installed"


def accumulator(
    arch: str, config: Path | None, model: str | None, out: Path | None, as_json: bool, workers: int | None
) -> None:
    """Run the study; write its page if ``out`` is given, say its conclusion in any case."""
    asked = load_study(config or DEFAULT, model)
    machine(arch)
    if out is not None:
        make_directory(out)
    study = run(asked, arch, workers, out, quiet=as_json)
    said = conclusion(study)
    if as_json:
        record = {**finite(asdict(study)), "conclusion": [asdict(each) for each in said]}
        say(json.dumps(record, allow_nan=False, ensure_ascii=False))
    else:
        for each in said:
            say(f"{each.about}: {each.text}")
    written = render(study, out) if out is not None else []
    for path in written if not as_json else ():
        say(f"wrote {path}")


def run(asked: StudyFile, arch: str, workers: int | None, out: Path | None, quiet: bool) -> Study:
    """Simulate and compute all that the file asks for."""
    gpu = machine(arch)
    runs = study_points.run(arch, study_times.wanted(asked), workers, out, quiet)
    numbers = study_numerics.compute(asked, workers, quiet)
    others = study_hardware.compute(asked, arch, workers)
    timed = tuple(study_times.timed(asked, runs))
    ran = {each.method.scheme for each in timed}
    if not ran & set(asked.schemes):
        raise TcsimError(f"{arch} runs none of {', '.join(asked.schemes)}: {runs.skipped[0].why}")
    contenders = tuple(study_times.contenders(asked, runs))
    used = {name for each in contenders for name in each.method.extensions.split("+") if name}
    places = study_numerics.places(asked)
    return Study(
        title=asked.title,
        arch=gpu.name,
        sms=gpu.sm.count,
        models=tuple(each.name for each in study_times.models(asked)),
        schemes=tuple(each for each in asked.schemes if each in ran),
        phases=study_times.phases(asked),
        groups=tuple(sorted(asked.groups)),
        places=places,
        timed=timed,
        rest=tuple(study_times.rests(asked, runs)),
        borders=tuple(study_times.bordered(asked, runs)),
        overflow=_of(numbers, Overflow),
        by_groups=_of(numbers, GroupLevel),
        levels=_of(numbers, Level),
        contenders=contenders,
        hardware=tuple(study_hardware.quantities(asked, tuple(sorted(used)))),
        shifters=tuple(study_hardware.shifters(asked)),
        unit=study_hardware.unit_words(asked),
        ends=_of(others, Ends),
        order_times=_of(others, OrderTime),
        order_levels=_of(numbers, OrderLevel),
        skipped=(*runs.skipped, *_of(others, Skipped)),
        notes=(NO_MINILM,) if asked.accuracy.minilm and MINILM not in places else (),
    )


def _of(rows: Iterable[object], kind: type[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if isinstance(row, kind))
