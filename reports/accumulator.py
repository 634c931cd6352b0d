"""The accumulator study: what a shift of the accumulator costs on this GPU, with and without hardware for it.

Not one of the reports on a sweep: its data come from ``tcsim study accumulator``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from reports.output import replace_file, save_figure, write_csv

IDEAL, SOFTWARE, HARDWARE, EXPLICIT = "ideal", "software_shift", "extension", "explicit"
VARIANTS = (IDEAL, HARDWARE, SOFTWARE, EXPLICIT)
WORDS = {
    IDEAL: "no scales (a bound)",
    HARDWARE: "shift in the tensor core (hypothetical)",
    SOFTWARE: "shift in registers",
    EXPLICIT: "dequantize per group",
}
WORTH_PCT = 2.0  # a gain below this is called none


@dataclass(frozen=True)
class Timed:
    """One layer of the model, simulated."""

    scheme: str
    variant: str  # empty for schemes that have none
    groups: int
    m: int
    layer: str
    count: int  # in the model
    time_us: float
    energy_uj: float
    bound_by: str


@dataclass(frozen=True)
class Overflow:
    """Sums in an accumulator of some width, on synthetic activations."""

    bits: int  # of the operands
    groups: int
    width: int  # of the accumulator
    mode: str
    overflows_per_million: float  # of the steps of all sums
    sqnr_db: float
    widest_bits: int  # that its sums reached, sign included; the widest accumulator says what is needed


@dataclass(frozen=True)
class Accurate:
    """The error of a scheme on synthetic activations with outlier channels."""

    scheme: str
    groups: int
    sqnr_db: float


@dataclass(frozen=True)
class Hardware:
    """One number of the hypothetical hardware, and why it is what it is."""

    name: str
    value: float
    unit: str
    rationale: str


@dataclass(frozen=True)
class Study:
    """All that the page shows."""

    arch: str
    model: str
    timed: tuple[Timed, ...]
    overflow: tuple[Overflow, ...]
    accurate: tuple[Accurate, ...]
    hardware: tuple[Hardware, ...]
    other_us: dict[int, float]  # M -> time of one pass through the model outside its linear layers

    @property
    def sizes(self) -> list[int]:
        """Return the M, rising."""
        return sorted({each.m for each in self.timed})

    @property
    def groups(self) -> list[int]:
        """Return the numbers of groups, rising."""
        return sorted({each.groups for each in self.timed if each.variant})


def model_us(rows: Iterable[Timed], scheme: str, variant: str, groups: int, m: int) -> float:
    """Return the time of all linear layers of the model."""
    return sum(each.count * each.time_us for each in _chosen(rows, scheme, variant, groups, m))


def model_mj(rows: Iterable[Timed], scheme: str, variant: str, groups: int, m: int) -> float:
    """Return the energy of all linear layers of the model, in mJ."""
    return sum(each.count * each.energy_uj for each in _chosen(rows, scheme, variant, groups, m)) / 1e3


def _chosen(rows: Iterable[Timed], scheme: str, variant: str, groups: int, m: int) -> list[Timed]:
    wanted = scheme, variant, groups, m
    return [each for each in rows if (each.scheme, each.variant, each.groups, each.m) == wanted]


def gain_pct(study: Study, scheme: str, groups: int, m: int, whole: bool) -> float:
    """Return by how much the hardware beats the best kernel without it; ``whole``: with the rest of the model."""
    rest = study.other_us[m] if whole else 0.0
    software = min(model_us(study.timed, scheme, variant, groups, m) for variant in (SOFTWARE, EXPLICIT))
    hardware = model_us(study.timed, scheme, HARDWARE, groups, m)
    return 100 * ((software + rest) / (hardware + rest) - 1)


def schemes(study: Study) -> list[str]:
    """Return the schemes that have the variants."""
    return list(dict.fromkeys(each.scheme for each in study.timed if each.variant))


def conclusion(study: Study) -> list[str]:
    """Say in words where the extension pays."""
    lines = [line for scheme in schemes(study) for line in _pays(study, scheme)]
    return [*lines, *_numerics(study)]


def _pays(study: Study, scheme: str) -> list[str]:
    lines = []
    for groups in study.groups:
        if groups == 1:
            continue
        gains = {m: gain_pct(study, scheme, groups, m, whole=False) for m in study.sizes}
        best = max(gains, key=lambda m: gains[m])
        whole = gain_pct(study, scheme, groups, best, whole=True)
        if gains[best] < WORTH_PCT:
            lines.append(
                f"{scheme}, {groups} groups: the extension does not pay at any M of {_listed(study.sizes)}: at most "
                f"{gains[best]:+.1f} % over the best kernel without it (M = {best})."
            )
        else:
            where = _listed([m for m in study.sizes if gains[m] >= WORTH_PCT])
            lines.append(
                f"{scheme}, {groups} groups: the extension pays at M = {where}: up to {gains[best]:+.1f} % over the "
                f"best kernel without it (M = {best}), {whole:+.1f} % of the whole model."
            )
    return lines


def _numerics(study: Study) -> list[str]:
    lines = []
    for bits in sorted({each.bits for each in study.overflow}):
        for groups in study.groups:
            rows = [each for each in study.overflow if (each.bits, each.groups) == (bits, groups)]
            needed = max((each.widest_bits for each in rows), default=0)
            if needed:
                lines.append(f"INT{bits}, {groups} groups: the synthetic sums need up to {needed} bits.")
    return lines


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def render(study: Study, out_dir: Path) -> list[Path]:
    """Write the page, its figure and its tables."""
    from reports.accumulator_figure import draw
    from reports.style import drawing

    paths = [
        write_csv(
            [asdict(each) for each in rows], [each.name for each in fields(kind)], out_dir / f"{name}.csv"
        )
        for name, kind, rows in (
            ("times", Timed, study.timed),
            ("overflow", Overflow, study.overflow),
            ("accuracy", Accurate, study.accurate),
            ("hardware", Hardware, study.hardware),
        )
    ]
    with drawing():
        paths += save_figure(draw(study), out_dir, "accumulator")
    text = page(study)
    return [replace_file(out_dir / "accumulator.md", lambda path: _write(path, text)), *paths]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def page(study: Study) -> str:
    """Return the study as one page of Markdown."""
    from reports.markdown import table

    header = ("scheme", "groups", "M", *(WORDS[name] for name in VARIANTS), "gain", "of the whole model")
    rows = [
        (
            f"`{scheme}`",
            str(groups),
            str(m),
            *(f"{model_us(study.timed, scheme, name, groups, m) / 1e3:.3f}" for name in VARIANTS),
            f"{gain_pct(study, scheme, groups, m, False):+.1f} %",
            f"{gain_pct(study, scheme, groups, m, True):+.1f} %",
        )
        for scheme in schemes(study)
        for groups in study.groups
        for m in study.sizes
    ]
    quantities = [(each.name, f"{each.value:g} {each.unit}", each.rationale) for each in study.hardware]
    parts = [
        f"# Accumulator study: {study.model} on {study.arch}",
        "\n".join(f"* {line}" for line in conclusion(study)),
        "Time of all linear layers in ms; the gain is that of the shift in the tensor core over the best kernel "
        "without it. The whole model adds attention over 2048 tokens of context and the launches of its other "
        "kernels, as bounds by bytes. Activations are synthetic.",
        table(header, rows),
        "![Accumulator study](accumulator.png)",
        "The hypothetical hardware:",
        table(("what", "value", "why"), quantities, left=3),
    ]
    return "\n\n".join(parts) + "\n"
