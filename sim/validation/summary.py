"""What a validation found, as one object: for the command, its JSON, the reports and the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sim.validation.comparison import KINDS, VARIANTS, Comparison, Skipped
from sim.validation.judgement import Check, counted, judge
from sim.validation.statistics import Accuracy, accuracy
from sim.validation.tolerances import DEFAULT, Tolerances

NOISE_PCT = 0.2  # of a counter, from launch to launch
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CounterSummary:
    """One counter over all rows that have it."""

    rows: int
    exact: int
    within_noise: int  # not exact, but within NOISE_PCT
    worst_pct: float  # signed


@dataclass(frozen=True)
class Summary:
    """Statistics, checks, and what could not be compared."""

    comparisons: tuple[Comparison, ...]
    skipped: tuple[Skipped, ...]
    accuracy: Mapping[tuple[str, str, str], Accuracy]  # (scheme, kind, variant); "" = all
    counters: Mapping[str, CounterSummary]
    checks: tuple[Check, ...]
    problems: tuple[str, ...]  # each makes the validation fail
    # (scheme, variant) of the predictions that were committed before their rows were measured; "" = all
    foretold: Mapping[tuple[str, str], Accuracy] = field(default_factory=dict)

    @property
    def stale(self) -> int:
        """Rows of kernels that are no longer the same."""
        return sum(each.stale for each in self.skipped)

    @property
    def schemes(self) -> tuple[str, ...]:
        """Schemes with times, in the order of the rows."""
        return tuple(dict.fromkeys(each.case.scheme for each in self.comparisons if each.time))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of rows that there are."""
        return tuple(kind for kind in KINDS if any(each.kind == kind for each in self.comparisons))

    def worst(self, count: int) -> list[Comparison]:
        """Return the rows whose time at the recorded clock is farthest off."""
        timed = [each for each in self.comparisons if each.time]
        return sorted(timed, key=_error_of, reverse=True)[:count]

    def to_json(self) -> dict[str, Any]:
        """Return the record of ``tcsim validate --json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "cases": len(self.comparisons),
            "stale": self.stale,
            "passed": not self.problems,
            "problems": list(self.problems),
            "overall": self._json_of("", ""),
            "per_scheme": {scheme: self._json_of(scheme, "") for scheme in self.schemes},
            "per_kind": {kind: self._json_of("", kind) for kind in self.kinds},
            "foretold": {
                scheme or "overall": self._foretold_json(scheme)
                for scheme, variant in self.foretold
                if variant == VARIANTS[0]
            },
            "counters": {name: asdict(each) for name, each in self.counters.items()},
            "checks": [asdict(c) | {"passed": c.passed, "reached": c.reached} for c in self.checks],
        }

    def _json_of(self, scheme: str, kind: str) -> dict[str, Any]:
        first, *others = (self.accuracy.get((scheme, kind, variant)) for variant in VARIANTS)
        if first is None:
            return {"cases": 0}
        return asdict(first) | {
            variant: asdict(each) for variant, each in zip(VARIANTS[1:], others, strict=True) if each
        }

    def _foretold_json(self, scheme: str) -> dict[str, Any]:
        first, *others = (self.foretold[scheme, variant] for variant in VARIANTS)
        return asdict(first) | {
            variant: asdict(each) for variant, each in zip(VARIANTS[1:], others, strict=True)
        }


def _error_of(comparison: Comparison) -> float:
    return abs(comparison.time.error_pct()) if comparison.time else 0.0


def summarize(
    comparisons: Sequence[Comparison],
    skipped: Sequence[Skipped],
    tolerances: Tolerances,
    expected: bool = False,
) -> Summary:
    """Summarize; ``expected``: every scheme and counter with a tolerance of its own must be there."""
    checks = judge(comparisons, tolerances)
    return Summary(
        comparisons=tuple(comparisons),
        skipped=tuple(skipped),
        accuracy=_accuracies(comparisons),
        counters=_counters(comparisons, tolerances),
        checks=checks,
        problems=tuple(_problems(comparisons, skipped, checks, tolerances if expected else None)),
        foretold=_foretold(comparisons),
    )


def _accuracies(comparisons: Sequence[Comparison]) -> dict[tuple[str, str, str], Accuracy]:
    schemes = ("", *dict.fromkeys(each.case.scheme for each in comparisons))
    found = {}
    for scheme in schemes:
        for kind in ("", *KINDS):
            times = [
                each.time
                for each in comparisons
                if each.time and scheme in ("", each.case.scheme) and kind in ("", each.kind)
            ]
            for variant in VARIANTS if times else ():
                found[scheme, kind, variant] = accuracy([time.pair(variant) for time in times])
    return found


def _foretold(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], Accuracy]:
    pairs = [(each.case.scheme, each.foretold) for each in comparisons if each.foretold]
    schemes = (*dict.fromkeys(scheme for scheme, _ in pairs), *([""] if pairs else []))
    return {
        (scheme, variant): accuracy([time.pair(variant) for name, time in pairs if scheme in ("", name)])
        for scheme in schemes
        for variant in VARIANTS
    }


def _counters(comparisons: Sequence[Comparison], tolerances: Tolerances) -> dict[str, CounterSummary]:
    found = {}
    for name in tolerances.counters:
        errors = [error for error, _ in counted(name, comparisons, tolerances)]
        if errors:
            exact = sum(error == 0 for error in errors)
            near = sum(abs(error) <= NOISE_PCT for error in errors) - exact
            found[name] = CounterSummary(len(errors), exact, near, max(errors, key=abs))
    return found


def _problems(
    comparisons: Sequence[Comparison],
    skipped: Sequence[Skipped],
    checks: Sequence[Check],
    expected: Tolerances | None,
) -> list[str]:
    """List what makes the validation fail, worst first."""
    problems = [] if checks else ["nothing was checked: no row has a time or counters to compare"]
    problems += [
        f"{check.subject}: {check.quantity}: {check.value:.3g}, allowed: {check.tolerance:g} ({check.worst})"
        for check in checks
        if not check.passed
    ]
    problems += [f"{each.source}: {name}: missing" for each in comparisons for name in each.missing]
    problems += [f"{each.source}: {each.case.label}: {each.reason}" for each in skipped if not each.stale]
    if expected is not None:
        there = {check.subject for check in checks}
        wanted = {*expected.time, *expected.counters} - {DEFAULT}
        problems += [f"{subject}: nothing was compared" for subject in sorted(wanted - there)]
    return problems
