"""What an accumulator study varies: a YAML file, read strictly; every mistake is one line that names its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

import arch_configs
from gpu_kernels import catalog
from sim.arch.accumulator import Design, Position, Unit, load_costs
from sim.config import Document, KeyPath, Strict, load_yaml, validate
from sim.errors import ConfigError, TcsimError, unknown
from workloads.accuracy.methods import method
from workloads.accuracy.outliers import PROFILES
from workloads.llm import load_model
from workloads.schemes._tender import GROUPS, Tender
from workloads.schemes.base import get_scheme

DEFAULT = arch_configs.DIRECTORY / "studies" / "accumulator.yaml"
EXTENSION = "tender_accumulator"


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("each value once")
    return values


Once = AfterValidator(_distinct)
Rows = Annotated[int, Field(strict=True, ge=1, le=2**20)]
Count = Annotated[int, Field(strict=True, ge=1, le=99)]
Number = Annotated[float, Field(ge=0, le=1000)]
Name = Annotated[str, Field(min_length=1, max_length=60)]
Profile = Literal["outliers", "even"]
Bits = Annotated[tuple[Literal[4, 8], ...], Field(min_length=1), Once]
Sizes = Annotated[tuple[Rows, ...], Field(min_length=1), Once]
Counts = Annotated[tuple[Count, ...], Field(min_length=1), Once]
ModelNames = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...], Field(min_length=1), Once
]
Names = Annotated[tuple[Name, ...], Field(min_length=1), Once]


class Decode(Strict):
    """Batches of sequences that each get one more token."""

    m: Annotated[tuple[Rows, ...], Once] = ()
    context_tokens: Annotated[int, Field(strict=True, ge=0, le=2**24)]


class Prefill(Strict):
    """Prompts, each of M tokens."""

    m: Annotated[tuple[Rows, ...], Once] = ()


class Accumulator(Strict):
    """A hypothetical accumulator: numbers of ``tender_accumulator`` that are not its own."""

    name: Name
    latency_cycles: Number | None = None
    bubble_cycles: Number | None = None
    energy_pj: Number | None = None
    area_um2: Number | None = None

    @property
    def extension(self) -> str:
        """Return it as ``--extension`` takes it."""
        given = self.model_dump(exclude={"name"}, exclude_none=True)
        return ":".join((EXTENSION, *(f"{key}={value:g}" for key, value in given.items())))


class Borders(Strict):
    """One matmul over numbers of groups."""

    m: Sizes
    n: Rows
    k: Rows
    groups: Counts
    profile: Profile = "even"


class Widths(Strict):
    """Accumulators of any width."""

    bits: Bits
    groups: Counts
    shifts: Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=8)], ...], Field(min_length=1), Once]
    widths: Annotated[tuple[Annotated[int, Field(strict=True, ge=8, le=63)], ...], Field(min_length=1), Once]


class SynthesizedUnit(Strict):
    """Which of the synthesized units is shown."""

    unit: Unit
    operand_bits: Annotated[int, Field(ge=2, le=16)]
    length: Annotated[int, Field(ge=1, le=64)]

    def design(self, position: Position = "none", shift_range: int = 0) -> Design:
        """Return it with an accumulator of 32 bits that wraps."""
        return Design(
            **self.model_dump(), width_bits=32, overflow="wrap", position=position, shift_range=shift_range
        )


class Grouping(Strict):
    """Groups that end at tensor instructions."""

    schemes: Names
    m: Sizes
    n: Rows
    groups: Counts


class Orders(Strict):
    """Orders of channels per chunk."""

    m: Sizes
    k: Rows
    chunks: Annotated[int, Field(strict=True, ge=2, le=64)]
    bits: Literal[4, 8]
    groups: Count
    drift_octaves: Annotated[tuple[Annotated[float, Field(ge=0, le=16)], ...], Field(min_length=1), Once]


class Accuracy(Strict):
    """Where errors are measured."""

    profiles: Names
    minilm: bool
    groups: Counts


class ContenderChoice(Strict):
    """One of those to choose between: what is timed, and the format whose error is measured."""

    name: Name
    scheme: Name
    options: dict[str, Annotated[int, Field(strict=True)] | str] = Field(default_factory=dict)
    accuracy: Name
    up_to_m: Rows | None = None  # a kernel for few rows is not asked for more


class StudyFile(Strict):
    """The whole file."""

    title: Name
    models: ModelNames
    decode: Decode
    prefill: Prefill
    schemes: Names
    groups: Counts
    profile: Profile
    accumulators: Annotated[tuple[Accumulator, ...], Field(min_length=1)]
    borders: Borders
    widths: Widths
    hardware: SynthesizedUnit
    grouping: Grouping
    orders: Orders
    accuracy: Accuracy
    contenders: tuple[ContenderChoice, ...] = ()


def load_study(path: Path = DEFAULT, model: str | None = None) -> StudyFile:
    """Read a study; ``model`` takes the place of its models."""
    document = load_yaml(path)
    study = validate(StudyFile, document)
    if model is not None:
        load_model(model, "--model")
        study = study.model_copy(update={"models": (model,)})
    else:
        _each(document, ("models",), study.models, lambda name, where: load_model(name, where))
    _check_sizes(study, document)
    _check_schemes(study, document)
    _check_contenders(study, document)
    return study


def _each(
    document: Document, key: KeyPath, values: Iterable[Any], check: Callable[[Any, str], object]
) -> None:
    for position, value in enumerate(values):
        check(value, document.where((*key, position)))


def _check_sizes(study: StudyFile, document: Document) -> None:
    if not study.decode.m and not study.prefill.m:
        raise ConfigError(document.where(("decode", "m")), "got no M, nor in prefill; allowed: one or more")
    both = sorted(set(study.decode.m) & set(study.prefill.m))
    if both:
        raise ConfigError(
            document.where(("prefill", "m")),
            f"M = {both[0]} stands in decode as well; allowed: in one of them",
        )
    for key, counts in ((("groups",), study.groups), (("borders", "groups"), study.borders.groups)):
        _each(document, key, counts, _check_groups)
    try:
        load_costs().find(study.hardware.design())
    except TcsimError as error:
        raise ConfigError(document.where(("hardware",)), str(error)) from None
    names = [each.name for each in study.accumulators]
    if len(set(names)) < len(names):
        raise ConfigError(document.where(("accumulators",)), "a name stands twice; allowed: each once")


def _check_groups(count: int, where: str) -> None:
    if count not in GROUPS:
        raise ConfigError(where, f"got {count}, allowed: {', '.join(map(str, GROUPS))}")


def _check_schemes(study: StudyFile, document: Document) -> None:
    for key, names in ((("schemes",), study.schemes), (("grouping", "schemes"), study.grouping.schemes)):
        _each(document, key, names, _check_tender)
    _each(document, ("accuracy", "profiles"), study.accuracy.profiles, _check_profile)


def _check_tender(name: str, where: str) -> None:
    known = [each for each in catalog.available() if isinstance(get_scheme(each), Tender)]
    if name not in known:
        raise unknown("scheme with variants", name, known, where)


def _check_profile(name: str, where: str) -> None:
    if name not in PROFILES:
        raise unknown("profile of outliers", name, PROFILES, where)


def _check_contenders(study: StudyFile, document: Document) -> None:
    names: set[str] = set()
    for position, each in enumerate(study.contenders):
        key = ("contenders", position)
        if each.name in names:
            raise ConfigError(document.where((*key, "name")), f"{each.name!r} stands twice; allowed: once")
        names.add(each.name)
        if each.scheme not in catalog.available():
            raise unknown(
                "scheme with a kernel", each.scheme, catalog.available(), document.where((*key, "scheme"))
            )
        get_scheme(each.scheme).check_options(dict(each.options), document.where((*key, "options")))
        method(each.accuracy, document.where((*key, "accuracy")))
