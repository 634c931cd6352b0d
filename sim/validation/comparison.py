"""One measured row beside its simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.validation.statistics import Pair

# A row's time is compared three ways. At the recorded clock the simulator is told the clock: the error of the model.
# The other two predict it: in cycles (a launch that only computes has the same cycles at any clock), and in µs.
VARIANTS = ("recorded_clock", "cycles", "predicted_clock")
DEVELOPMENT, HELD_OUT, UNLABELLED = "development", "held_out", "unlabelled"
KINDS = (HELD_OUT, DEVELOPMENT, UNLABELLED)


@dataclass(frozen=True)
class Case:
    """Which kernel ran on which sizes."""

    gpu: str
    scheme: str
    options: Mapping[str, Any]
    tile: str
    m: int
    n: int
    k: int

    @property
    def label(self) -> str:
        """Name the case for a reader."""
        return f"{self.scheme} {self.tile} M={self.m} N={self.n} K={self.k}"


@dataclass(frozen=True)
class TimePair:
    """Measured time, and simulated time at the recorded and at the predicted clock."""

    measured_us: float
    spread_us: float  # between the quartiles of the replays
    recorded_mhz: float
    recorded_clock_us: float  # simulated
    predicted_us: float  # simulated
    predicted_mhz: float

    def pair(self, variant: str) -> Pair:
        """Return (measured, simulated) of one of VARIANTS."""
        return {
            "recorded_clock": (self.measured_us, self.recorded_clock_us),
            "cycles": (self.measured_us * self.recorded_mhz, self.predicted_us * self.predicted_mhz),
            "predicted_clock": (self.measured_us, self.predicted_us),
        }[variant]

    def error_pct(self, variant: str = VARIANTS[0]) -> float:
        """Return the signed error; positive = simulated too slow."""
        measured, simulated = self.pair(variant)
        return 100 * (simulated / measured - 1)


@dataclass(frozen=True)
class CounterPair:
    """One hardware counter."""

    measured: float
    simulated: float
    varies: bool = False  # it was not the same in every measured launch

    @property
    def error_pct(self) -> float:
        """Return the signed error; where nothing was counted, of one event."""
        return 100 * (self.simulated - self.measured) / max(1.0, self.measured)


@dataclass(frozen=True)
class Comparison:
    """All that a row says and what the simulator says to it; ``missing`` names what one of both does not say."""

    case: Case
    source: str  # file:line
    kind: str  # one of KINDS
    splits: int  # K slices
    ctas: int
    resident: int  # CTAs that one SM holds
    waves: int
    bound: str  # one of sim.results.BOUNDS
    time: TimePair | None
    counters: Mapping[str, CounterPair]
    missing: tuple[str, ...] = ()
    superseded: bool = False  # measured with a kernel that has changed since
    cublas_us: float | None = None  # of cuBLAS on FP16 operands, measured beside it
    foretold: TimePair | None = None  # the time with the prediction that was committed before the measurement


@dataclass(frozen=True)
class Skipped:
    """A row that was not compared: it belongs to a kernel that is no longer the same (stale), or cannot be run."""

    case: Case
    source: str
    reason: str
    stale: bool
