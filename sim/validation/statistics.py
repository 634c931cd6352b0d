"""How far simulated values are from measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Pair = tuple[float, float]  # measured, simulated; both positive


@dataclass(frozen=True)
class Accuracy:
    """Errors in percent of the measured value; ``pearson_r`` is that of the logarithms."""

    cases: int
    mape_pct: float
    max_ape_pct: float
    bias_pct: float  # mean of the signed errors: positive = simulated too slow
    pearson_r: float | None  # None: fewer than two cases, or values that are all the same


def accuracy(pairs: Sequence[Pair]) -> Accuracy:
    """Return the statistics of at least one pair."""
    measured, simulated = np.array(pairs, np.float64).T
    errors = 100 * (simulated / measured - 1)
    return Accuracy(
        cases=len(errors),
        mape_pct=float(np.abs(errors).mean()),
        max_ape_pct=float(np.abs(errors).max()),
        bias_pct=float(errors.mean()),
        pearson_r=correlation(pairs),
    )


def correlation(pairs: Sequence[Pair]) -> float | None:
    """Return Pearson's r of the logarithms, None where it is not defined."""
    logs = np.log(np.array(pairs, np.float64))
    spread = logs - logs.mean(axis=0)
    scale = float(np.sqrt((spread**2).sum(axis=0).prod()))
    if len(pairs) < 2 or scale < 1e-12:
        return None
    return float(spread.prod(axis=1).sum() / scale)
