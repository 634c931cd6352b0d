"""What accuracy is wanted (goal) and what is kept (tolerance), by scheme and by counter, from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.config import Strict, load_yaml, validate

Percent = Annotated[float, Field(ge=0)]
Quantity = Literal["mape_pct", "max_ape_pct", "error_pct"]
DEFAULT = "default"


class TimeLimits(Strict):
    """Bounds on the errors of time at the recorded clock."""

    mape_pct: Percent
    max_ape_pct: Percent


class TimeBounds(Strict):
    """Of one scheme."""

    goal: TimeLimits
    tolerance: TimeLimits


class CounterBounds(Strict):
    """Of one counter, for every row of its own; rows with less than ``at_least`` measured are left out."""

    goal_pct: Percent
    tolerance_pct: Percent
    at_least: Annotated[int, Field(ge=0)] = 0


class Gap(Strict):
    """A goal that is known to be missed, and why. It is expected: when the goal is met, the gap must go."""

    subject: str  # a scheme or a counter
    quantity: Quantity
    reason: Annotated[str, Field(min_length=20)]


class Tolerances(Strict):
    """The whole file."""

    short_us: Annotated[
        float, Field(gt=0)
    ]  # below it, a row's error may be short_error_us whatever the percentage
    short_error_us: Percent
    time: dict[str, TimeBounds]  # by scheme; "default" for all others
    counters: dict[str, CounterBounds]
    gaps: tuple[Gap, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Tolerances:
        if DEFAULT not in self.time:
            raise ValueError(f"time has no entry {DEFAULT}")
        for gap in self.gaps:
            if gap.subject not in {**self.time, **self.counters}:
                raise ValueError(f"gaps: {gap.subject} is neither a scheme nor a counter above")
        return self

    def of_scheme(self, scheme: str) -> TimeBounds:
        """Return the bounds of a scheme."""
        return self.time.get(scheme, self.time[DEFAULT])

    def gap(self, subject: str, quantity: str) -> str:
        """Return why a goal is known to be missed; empty if it is not."""
        found = (gap.reason for gap in self.gaps if (gap.subject, gap.quantity) == (subject, quantity))
        return next(found, "")


def load_tolerances(path: Path) -> Tolerances:
    """Read the file."""
    return validate(Tolerances, load_yaml(path))
