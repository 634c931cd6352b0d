"""Goals and tolerances held against comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sim.validation.comparison import Comparison, TimePair
from sim.validation.statistics import accuracy
from sim.validation.tolerances import Tolerances


@dataclass(frozen=True)
class Check:
    """One number held against its goal and its tolerance."""

    subject: str  # a scheme or a counter
    quantity: str  # mape_pct, max_ape_pct or error_pct
    value: float
    goal: float
    tolerance: float
    worst: str  # the case that is farthest off
    gap: str = ""  # why the goal is known to be missed

    @property
    def passed(self) -> bool:
        """Whether the tolerance is kept."""
        return self.value <= self.tolerance

    @property
    def reached(self) -> bool:
        """Whether the goal is."""
        return self.value <= self.goal


def judge(comparisons: Sequence[Comparison], tolerances: Tolerances) -> tuple[Check, ...]:
    """Check every scheme's time and every counter that was compared."""
    schemes = dict.fromkeys(each.case.scheme for each in comparisons if each.time)
    checks = [check for scheme in schemes for check in _time_checks(scheme, comparisons, tolerances)]
    for name in tolerances.counters:
        checks += _counter_check(name, comparisons, tolerances)
    return tuple(checks)


def _time_checks(
    scheme: str, comparisons: Iterable[Comparison], tolerances: Tolerances
) -> tuple[Check, Check]:
    bounds = tolerances.of_scheme(scheme)
    timed = [(each, each.time) for each in comparisons if each.case.scheme == scheme and each.time]
    errors = [(judged_ape(time, tolerances), each.case.label) for each, time in timed]
    worst, label = max(errors)
    mean = accuracy([time.pair("recorded_clock") for _, time in timed]).mape_pct
    values = {"mape_pct": mean, "max_ape_pct": worst}
    first, second = (
        Check(
            subject=scheme,
            quantity=name,
            value=value,
            goal=getattr(bounds.goal, name),
            tolerance=getattr(bounds.tolerance, name),
            worst=label,
            gap=tolerances.gap(scheme, name),
        )
        for name, value in values.items()
    )
    return first, second


def judged_ape(time: TimePair, tolerances: Tolerances) -> float:
    """Return the error at the recorded clock in percent; 0 where a short row is as near as it must be."""
    measured, simulated = time.pair("recorded_clock")
    if measured < tolerances.short_us and abs(simulated - measured) <= tolerances.short_error_us:
        return 0.0
    return abs(time.error_pct())


def counted(
    name: str, comparisons: Iterable[Comparison], tolerances: Tolerances
) -> list[tuple[float, Comparison]]:
    """Return the signed errors of a counter, with the rows that are large enough for it."""
    least = tolerances.counters[name].at_least
    return [
        (each.counters[name].error_pct, each)
        for each in comparisons
        if name in each.counters and each.counters[name].measured >= least
    ]


def _counter_check(name: str, comparisons: Iterable[Comparison], tolerances: Tolerances) -> list[Check]:
    found = [(abs(error), each.case.label) for error, each in counted(name, comparisons, tolerances)]
    if not found:
        return []
    (worst, label), bounds = max(found), tolerances.counters[name]
    gap = tolerances.gap(name, "error_pct")
    return [Check(name, "error_pct", worst, bounds.goal_pct, bounds.tolerance_pct, label, gap)]
