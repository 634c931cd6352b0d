"""A prediction written down before its measurement: what the simulator of that day said of one launch."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from sim.config import Strict

SCHEMA_VERSION = 1
# SM clocks at which times are foretold, since the clock of the measurement is not known beforehand.
CLOCKS_MHZ = (1200.0, 1300.0, 1400.0, 1500.0, 1600.0, 1700.0, 1800.0, 1900.0, 1980.0)

Size = Annotated[int, Field(strict=True, ge=1)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Name = Annotated[str, Field(strict=True, min_length=1)]
Option = Annotated[int, Field(strict=True)] | Annotated[bool, Field(strict=True)] | Name


class Prediction(Strict):
    """One launch: its time at the predicted clock and at fixed clocks, and its counters."""

    schema_version: Annotated[int, Field(strict=True, ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]
    gpu: Name
    scheme: Name
    options: dict[str, Option]
    tile: Name
    m: Size
    n: Size
    k: Size
    grid: tuple[Size, Size, Size]
    program: Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]  # SHA-256 of the cubin
    time_us: Positive
    clock_mhz: Positive  # predicted
    clocks_mhz: tuple[Positive, ...]
    times_us: tuple[Positive, ...]  # at each of clocks_mhz
    counters: dict[str, Annotated[float, Field(ge=0)]]

    @model_validator(mode="after")
    def _pairs(self) -> Prediction:
        if not self.clocks_mhz or len(self.clocks_mhz) != len(self.times_us):
            raise ValueError("times_us needs one time for each of clocks_mhz")
        if list(self.clocks_mhz) != sorted(set(self.clocks_mhz)):
            raise ValueError("clocks_mhz must rise")
        return self

    def time_at(self, clock_mhz: float) -> float:
        """Return the time in µs at a clock: linear in the cycle time between the clocks foretold."""
        periods = 1 / np.array(self.clocks_mhz[::-1])
        return float(np.interp(1 / clock_mhz, periods, self.times_us[::-1]))


def launch_key(
    program: str, options: Mapping[str, object], grid: Iterable[int], m: int, n: int, k: int
) -> Hashable:
    """Return what a prediction and a measured row of the same launch have in common."""
    return program, tuple(sorted(options.items(), key=lambda item: item[0])), tuple(grid), m, n, k


def by_launch(predictions: Iterable[Prediction]) -> dict[Hashable, Prediction]:
    """Return predictions by launch; the first of equal ones counts."""
    found: dict[Hashable, Prediction] = {}
    for each in predictions:
        found.setdefault(launch_key(each.program, each.options, each.grid, each.m, each.n, each.k), each)
    return found
