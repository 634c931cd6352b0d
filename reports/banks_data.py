"""What the banks study knows: kernels that look up, tables in closed form, gains of hypothetical hardware."""

from __future__ import annotations

from dataclasses import dataclass

WORTH_PCT = 2.0  # a gain below this is called none
RANDOM = "random"


@dataclass(frozen=True)
class Looked:
    """One kernel's look-ups on one machine. Wavefronts are means per warp look-up."""

    scheme: str
    tile: str
    codes: str  # random, gaussian, or the name of the user's file
    m: int
    n: int
    k: int
    bits: int
    mu: int  # columns of a look-up in sums of activations; 0: the table holds weights
    entries: int
    entry_bytes: int
    copies: int
    banks: int
    bank_bytes: int
    lookups: int  # of warps, in the launch
    wavefronts: float  # simulated
    expected: float  # closed form, for independent draws as frequent as the codes are
    time_us: float
    ideal_us: float  # without any bank conflict
    bound_by: str
    measured_us: float | None = None
    predicted_us: float | None = None  # at the clock that was recorded with the measurement

    @property
    def name(self) -> str:
        """Name the kernel."""
        return f"{self.scheme} {self.tile}"

    @property
    def machine(self) -> str:
        """Name the banks."""
        return banks_name(self.banks, self.bank_bytes)

    @property
    def deviation_pct(self) -> float:
        """Return by how much the simulated wavefronts differ from the closed form."""
        return 100 * abs(self.wavefronts / self.expected - 1)

    @property
    def error_pct(self) -> float | None:
        """Return the error of the predicted time; None without a measurement."""
        if self.measured_us is None or self.predicted_us is None:
            return None
        return 100 * (self.predicted_us / self.measured_us - 1)

    @property
    def saved_pct(self) -> float:
        """Return the share of the time that a layout without conflicts would save."""
        return 100 * (1 - self.ideal_us / self.time_us)


@dataclass(frozen=True)
class Design:
    """A table of FLUTE's kind on a machine, all codes equally frequent: in closed form."""

    bits: int
    codes_per_entry: int
    entry_bytes: int
    copies: int
    table_bytes: int
    banks: int
    bank_bytes: int
    expected: float  # wavefronts of a look-up

    @property
    def per_weight(self) -> float:
        """Return the wavefronts per 32 weights."""
        return self.expected / self.codes_per_entry


@dataclass(frozen=True)
class Gain:
    """The best kernel on a machine with hypothetical hardware, beside the best on the machine as it is."""

    hardware: str  # as --extension takes it
    weights: str  # what they are: of any table, or of even levels, for which there are more kernels
    bits: int
    m: int
    n: int
    k: int
    kernel: str
    time_us: float
    energy_uj: float
    bound_by: str
    software: str
    software_us: float
    software_uj: float
    software_bound_by: str
    spread_us: float  # of both times, over the seeds of the simulated memory latency

    @property
    def gain_pct(self) -> float:
        """Return by how much the hardware is faster."""
        return 100 * (self.software_us / self.time_us - 1)

    @property
    def differs(self) -> bool:
        """Tell whether the times differ by more than nothing and than their spread."""
        return abs(self.gain_pct) >= WORTH_PCT and abs(self.software_us - self.time_us) > self.spread_us

    @property
    def pays(self) -> bool:
        """Tell whether the hardware is worth it here."""
        return self.differs and self.gain_pct > 0

    @property
    def energy_pct(self) -> float:
        """Return the change of the energy."""
        return 100 * (self.energy_uj / self.software_uj - 1)


@dataclass(frozen=True)
class Number:
    """One number of hypothetical hardware, and why it is what it is."""

    hardware: str
    name: str
    value: float
    unit: str
    rationale: str


@dataclass(frozen=True)
class Study:
    """All that the page shows."""

    arch: str
    banks: int  # of the machine as it is
    bank_bytes: int
    looked: tuple[Looked, ...]
    designs: tuple[Design, ...]
    gains: tuple[Gain, ...]
    numbers: tuple[Number, ...]

    @property
    def own(self) -> list[Looked]:
        """Return the kernels on the machine as it is."""
        return [
            each for each in self.looked if (each.banks, each.bank_bytes) == (self.banks, self.bank_bytes)
        ]

    @property
    def weights(self) -> str:
        """Name the codes that are not random: normal weights, or the user's."""
        return next((each.codes for each in self.looked if each.codes != RANDOM), RANDOM)


def banks_name(banks: int, bank_bytes: int) -> str:
    """Name a number of banks of some width."""
    return f"{banks} banks of {bank_bytes} B"
