"""The accumulator study: what a shift of the accumulator costs on this GPU, with and without hardware for it.

Not one of the reports on a sweep: its data come from ``tcsim study accumulator``. Here is what it found, as rows;
``accumulator_findings`` has what follows from them, ``accumulator_conclusion`` says it in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from reports.naming import unique

IDEAL, SOFTWARE, HARDWARE, EXPLICIT = "ideal", "software_shift", "extension", "explicit"
OPERANDS = "operand_shift"
VARIANTS = (IDEAL, HARDWARE, OPERANDS, SOFTWARE, EXPLICIT)
EXISTING = (SOFTWARE, EXPLICIT, OPERANDS)  # what needs no shifter
WORDS = {
    IDEAL: "no scales (a bound)",
    HARDWARE: "shift in the tensor core (hypothetical)",
    OPERANDS: "shifts packed into the operands",
    SOFTWARE: "shift in registers",
    EXPLICIT: "dequantize per group",
}
DECODE, PREFILL = "decode", "prefill"
EXTENSION = "tender_accumulator"


@dataclass(frozen=True)
class Method:
    """What is run: a scheme with its options, on hardware that may not exist."""

    scheme: str
    variant: str = ""  # empty for schemes that have none
    groups: int = 0  # 1 if the variant does not depend on them
    options: str = ""  # other ones, as text
    extensions: str = ""  # joined by plus signs


@dataclass(frozen=True)
class Timed:
    """One layer of a model, simulated."""

    model: str
    method: Method
    m: int
    layer: str
    n: int
    k: int
    count: int  # in the model
    time_us: float
    energy_uj: float
    bound_by: str
    tile: str


@dataclass(frozen=True)
class Rest:
    """What one step takes beside its linear layers, in µs: a lower bound."""

    model: str
    phase: str
    m: int
    head_us: float
    attention_us: float
    launches_us: float

    @property
    def us(self) -> float:
        """Return all of it."""
        return self.head_us + self.attention_us + self.launches_us


@dataclass(frozen=True)
class Bordered:
    """One matmul with some number of groups; ``accumulator``: which hypothetical one, empty if none."""

    method: Method
    accumulator: str
    m: int
    n: int
    k: int
    time_us: float
    energy_uj: float


@dataclass(frozen=True)
class Overflow:
    """Sums in an accumulator of some width, on activations with published outliers."""

    where: str  # whose outliers
    bits: int  # of the operands
    groups: int
    shift: int  # bits from one group to the next
    width: int  # of the accumulator
    mode: str
    overflows_per_million: float  # of the steps of all sums
    db: float  # beside the ordinary channels' share of the outputs
    widest_bits: int  # that exact sums take, sign included


@dataclass(frozen=True)
class GroupLevel:
    """The error of Tender with some number of groups; ``where``: MiniLM or a profile."""

    bits: int
    groups: int
    where: str
    db: float
    wrapped_pct: float  # of the sums, that did not fit INT32


@dataclass(frozen=True)
class Level:
    """The error of a format, in dB, where it was measured."""

    accuracy: str  # the format
    where: str
    db: float


@dataclass(frozen=True)
class Contender:
    """One of those between which to choose: what is timed, and whose error is measured."""

    name: str
    accuracy: str
    method: Method
    area_um2: float  # of hypothetical hardware, per SM


@dataclass(frozen=True)
class Hardware:
    """One number of a hypothetical unit, and why it is what it is."""

    extension: str
    setting: str
    name: str
    value: float
    unit: str
    rationale: str


@dataclass(frozen=True)
class Shifter:
    """A synthesized unit with a shifter, beside the same without, in per cent."""

    position: str
    shift_range: int
    gates: float  # added
    area_pct: float
    delay_pct: float
    mac_energy_pct: float  # of an operation that does not shift
    shift_energy_pct: float  # of one that does, or of the bubble


@dataclass(frozen=True)
class Ends:
    """Groups that end at tensor instructions: padded with zeros, or aligned."""

    scheme: str
    m: int
    groups: int
    step: int
    zeros_pct: float  # of the padded columns
    padded_us: float
    aligned_us: float
    padded_db: float
    aligned_db: float
    overflows: int  # of INT32, both ways together


@dataclass(frozen=True)
class OrderTime:
    """What quantizing M rows takes, in their own order and brought into another one."""

    m: int
    k: int
    plain_us: float
    gather_us: float
    scatter_us: float


@dataclass(frozen=True)
class OrderLevel:
    """The error with an order per chunk and with one for all; channels drift from chunk to chunk."""

    drift_octaves: float
    own_db: float
    shared_db: float


@dataclass(frozen=True)
class Skipped:
    """What this machine cannot run."""

    what: str
    why: str


@dataclass(frozen=True)
class Study:
    """All that the page shows."""

    title: str
    arch: str
    sms: int
    models: tuple[str, ...]
    schemes: tuple[str, ...]  # that have variants, and run on this machine
    phases: tuple[tuple[str, int], ...]  # (phase, M)
    groups: tuple[int, ...]
    places: tuple[str, ...]  # where errors were measured; the first one decides the front
    timed: tuple[Timed, ...]
    rest: tuple[Rest, ...]
    borders: tuple[Bordered, ...]
    overflow: tuple[Overflow, ...]
    by_groups: tuple[GroupLevel, ...]
    levels: tuple[Level, ...]
    contenders: tuple[Contender, ...]
    hardware: tuple[Hardware, ...]
    shifters: tuple[Shifter, ...]
    unit: str  # that was synthesized, in words
    ends: tuple[Ends, ...]
    order_times: tuple[OrderTime, ...]
    order_levels: tuple[OrderLevel, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def index(self) -> dict[tuple[str, Method, int], tuple[Timed, ...]]:
        """Return the layers of each model, method and M."""
        found: dict[tuple[str, Method, int], tuple[Timed, ...]] = {}
        for each in self.timed:
            key = each.model, each.method, each.m
            found[key] = (*found.get(key, ()), each)
        return found

    def layers(self, model: str, method: Method, m: int) -> tuple[Timed, ...]:
        """Return the linear layers of a model; none if the method was not run there."""
        return self.index.get((model, method, m), ())

    def us(self, model: str, method: Method, m: int) -> float:
        """Return the time of all linear layers of the model."""
        return sum(each.count * each.time_us for each in self.layers(model, method, m))

    def mj(self, model: str, method: Method, m: int) -> float:
        """Return the energy of all linear layers of the model, in mJ."""
        return sum(each.count * each.energy_uj for each in self.layers(model, method, m)) / 1e3

    def method(self, scheme: str, variant: str, groups: int) -> Method | None:
        """Return the method of a scheme's variant, if it was run."""
        wanted = scheme, variant, 1 if variant == IDEAL else groups
        return next((each for each in self.methods if _named(each) == wanted), None)

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """Return all that was timed on models."""
        return unique(each.method for each in self.timed)

    def rest_of(self, model: str, phase: str, m: int) -> Rest:
        """Return what a step takes beside its linear layers."""
        return next(each for each in self.rest if (each.model, each.phase, each.m) == (model, phase, m))

    def level(self, accuracy: str, where: str) -> float:
        """Return the error of a format."""
        return next(each.db for each in self.levels if (each.accuracy, each.where) == (accuracy, where))


def _named(method: Method) -> tuple[str, str, int]:
    return method.scheme, method.variant, method.groups
