"""What follows from the accumulator study's rows: gains, costs of a border, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.accumulator import EXISTING, HARDWARE, IDEAL, Bordered, Contender, Study

LOST_DB = 0.5  # an error that is less than that larger is called the same


@dataclass(frozen=True)
class Gain:
    """By how much the shift in the tensor core beats the best kernel without it, in one place."""

    scheme: str
    model: str
    groups: int
    phase: str
    m: int
    hardware_us: float
    best_us: float
    best: str  # the variant
    ideal_us: float
    rest_us: float
    saved_mj: float

    @property
    def linear_pct(self) -> float:
        """Return the gain in time of the linear layers."""
        return 100 * (self.best_us / self.hardware_us - 1)

    @property
    def whole_pct(self) -> float:
        """Return the gain in time of the whole step."""
        return 100 * ((self.best_us + self.rest_us) / (self.hardware_us + self.rest_us) - 1)

    @property
    def bound_pct(self) -> float:
        """Return what a shift that costs nothing at all would gain in the linear layers."""
        return 100 * (self.best_us / self.ideal_us - 1)


def gains(study: Study, scheme: str) -> list[Gain]:
    """Return the gain in every model, number of groups and M where the hardware was run."""
    found = (
        gain(study, scheme, model, groups, phase, m)
        for model in study.models
        for groups in study.groups
        if groups > 1
        for phase, m in study.phases
    )
    return [each for each in found if each is not None]


def gain(study: Study, scheme: str, model: str, groups: int, phase: str, m: int) -> Gain | None:
    """Return the gain in one place, or None if something is missing there."""
    times = {name: run_us(study, scheme, name, model, groups, m) for name in (HARDWARE, IDEAL, *EXISTING)}
    known = {name: us for name, us in times.items() if us}
    without = [name for name in EXISTING if name in known]
    if HARDWARE not in known or IDEAL not in known or not without:
        return None
    best = min(without, key=lambda name: known[name])
    methods = [study.method(scheme, name, groups) for name in (best, HARDWARE)]
    spent = [study.mj(model, each, m) for each in methods if each is not None]
    rest = study.rest_of(model, phase, m).us
    return Gain(
        scheme,
        model,
        groups,
        phase,
        m,
        known[HARDWARE],
        known[best],
        best,
        known[IDEAL],
        rest,
        spent[0] - spent[1],
    )


def run_us(study: Study, scheme: str, variant: str, model: str, groups: int, m: int) -> float:
    """Return the time of a variant's linear layers; 0 if it was not run."""
    found = study.method(scheme, variant, groups)
    return 0.0 if found is None else study.us(model, found, m)


@dataclass(frozen=True)
class Slope:
    """What one more border costs: the least-squares slope of time over groups."""

    scheme: str
    variant: str
    accumulator: str
    m: int
    border_ns: float
    ideal_us: float  # of the matmul without any
    worst_us: float  # with the most groups


def slopes(study: Study) -> list[Slope]:
    """Return what a border costs, for each scheme, variant, accumulator and M."""
    series: dict[tuple[str, str, str, int], list[Bordered]] = {}
    for each in study.borders:
        series.setdefault((each.method.scheme, each.method.variant, each.accumulator, each.m), []).append(
            each
        )
    found = []
    for (scheme, variant, accumulator, m), rows in series.items():
        if variant == IDEAL or len({row.method.groups for row in rows}) < 2:
            continue
        ideal = [row.time_us for row in series.get((scheme, IDEAL, "", m), ())]
        rise = 1e3 * slope([row.method.groups for row in rows], [row.time_us for row in rows])
        worst = max(rows, key=lambda row: row.method.groups).time_us
        found.append(Slope(scheme, variant, accumulator, m, rise, min(ideal, default=worst), worst))
    return found


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the slope of the line with the least squares."""
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - middle_x) ** 2 for each in x)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / spread


@dataclass(frozen=True)
class Choice:
    """A contender at one M of a model: what there is to choose by."""

    contender: Contender
    db: float
    us: float
    mj: float

    @property
    def worth(self) -> tuple[float, float, float, float]:
        """Return accuracy, time, energy and area, the more the better."""
        return self.db, -self.us, -self.mj, -self.contender.area_um2


def choices(study: Study, model: str, m: int, where: str) -> list[Choice]:
    """Return the contenders that were run there."""
    found = []
    for each in study.contenders:
        if us := study.us(model, each.method, m):
            found.append(Choice(each, study.level(each.accuracy, where), us, study.mj(model, each.method, m)))
    return found


def front(found: Sequence[Choice]) -> list[Choice]:
    """Return those that no other is at least as good as in all and better in one."""
    return [each for each in found if not any(_dominates(other, each) for other in found)]


def _dominates(better: Choice, worse: Choice) -> bool:
    pairs = list(zip(better.worth, worse.worth, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def needed_width(study: Study, where: str, bits: int, groups: int, mode: str) -> int | None:
    """Return the least of the widths from which on nothing is lost; None if every one loses something."""
    rows = sorted(
        (
            each
            for each in study.overflow
            if (each.where, each.bits, each.groups, each.shift, each.mode) == (where, bits, groups, 1, mode)
        ),
        key=lambda each: each.width,
    )
    found = None
    if not rows or rows[-1].width < rows[-1].widest_bits:
        return None
    for each in reversed(rows):
        if each.db < rows[-1].db - LOST_DB:
            break
        found = each.width
    return found


def finite(value: Any) -> Any:
    """Return data as JSON has it: infinities and what is not a number are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def signed(value: float, digits: int = 1) -> str:
    """Write a number with its sign; what rounds to zero has a plus."""
    return f"{round(value, digits) + 0:+.{digits}f}"


def counted(groups: int) -> str:
    """Write a number of groups."""
    return f"{groups} group{'' if groups == 1 else 's'}"


def enough_groups(study: Study, bits: int) -> int:
    """Return the least number of groups that loses nothing against more of them, wherever errors were measured."""
    found = [0]
    for where in study.places:
        rows = [each for each in study.by_groups if (each.bits, each.where) == (bits, where)]
        best = max((each.db for each in rows), default=0.0)
        found.append(min((each.groups for each in rows if each.db >= best - LOST_DB), default=0))
    return max(found)


def bits_of(scheme: str) -> int:
    """Return the bits of a Tender scheme's codes."""
    return 4 if "4" in scheme else 8


def overflowing(study: Study, bits: int) -> set[int]:
    """Return the numbers of groups with which sums left INT32 somewhere."""
    return {each.groups for each in study.by_groups if each.bits == bits and each.wrapped_pct}
