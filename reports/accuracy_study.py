"""The accuracy study: what each number format loses on a small encoder, on published outliers, or on a user's LLM.

Not one of the reports on a sweep: its data come from ``tcsim study accuracy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.output import save_figure, write_csv
from workloads.accuracy.study import MINILM, EncoderAccuracy, GroupAccuracy, OutlierAccuracy

LABEL = "a small encoder, 6 layers of 384 channels: it has no outlier channels as LLMs have"
COLUMNS = (
    *("scheme", "weight_bits", "activation_bits", "cosine", "least_cosine", "neighbours_pct"),
    *("median_layer_db", "worst_layer_db", "last_block_db"),
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Bits:
    """How many bits a scheme stores per weight and per activation."""

    weight: float
    activation: float


@dataclass(frozen=True)
class AccuracyStudy:
    """All that the study found on MiniLM and on the profiles."""

    text: str  # what was encoded
    tokens: int
    bits: dict[str, Bits]  # of each scheme
    encoder: tuple[EncoderAccuracy, ...]
    outliers: tuple[OutlierAccuracy, ...]
    groups: tuple[GroupAccuracy, ...]

    @property
    def profiles(self) -> tuple[str, ...]:
        """Name the profiles of outliers."""
        return tuple(dict.fromkeys(each.profile for each in self.outliers))

    def ordinary_db(self, scheme: str, profile: str) -> float:
        """Return a scheme's error beside the channels without outliers."""
        found = (each for each in self.outliers if (each.method, each.profile) == (scheme, profile))
        return next(found).ordinary_db


def rows(study: AccuracyStudy) -> list[Row]:
    """Return a row per scheme: bits, MiniLM, then a column per profile."""
    found = []
    for each in study.encoder:
        bits = study.bits[each.method]
        numbers = (each.cosine, each.least_cosine, each.neighbours_pct, each.median_db, each.worst_db)
        values = (each.method, bits.weight, bits.activation, *numbers, each.after_db[-1])
        profiles = {f"{name}_db": study.ordinary_db(each.method, name) for name in study.profiles}
        found.append(dict(zip(COLUMNS, values, strict=True)) | profiles)
    return found


def layer_rows(study: AccuracyStudy) -> list[Row]:
    """Return a row per scheme and linear layer."""
    return [
        {"scheme": each.method, "layer": error.layer, "site": error.site, "sqnr_db": error.sqnr_db}
        for each in study.encoder
        for error in each.layers
    ]


def group_rows(study: AccuracyStudy) -> list[Row]:
    """Return a row per width, number of groups and place."""
    return [vars(each) for each in study.groups]


def render(study: AccuracyStudy, out_dir: Path) -> list[Path]:
    """Write the tables and the figure."""
    from reports.accuracy_study_figure import draw
    from reports.style import drawing

    tables: Sequence[tuple[str, list[Row], Sequence[str]]] = (
        ("accuracy", rows(study), (*COLUMNS, *(f"{name}_db" for name in study.profiles))),
        ("accuracy_layers", layer_rows(study), ("scheme", "layer", "site", "sqnr_db")),
        ("accuracy_groups", group_rows(study), ("bits", "groups", "where", "sqnr_db", "wrapped_pct")),
    )
    paths = [write_csv(table, columns, out_dir / f"{name}.csv") for name, table, columns in tables]
    with drawing():
        return [*save_figure(draw(study), out_dir, "accuracy"), *paths]


def groups_of(study: AccuracyStudy) -> dict[tuple[int, str], list[GroupAccuracy]]:
    """Sort Tender's rows by width and place, MiniLM first."""
    places = sorted({each.where for each in study.groups}, key=lambda name: (name != MINILM, name))
    widths = sorted({each.bits for each in study.groups}, reverse=True)
    return {
        (bits, where): [each for each in study.groups if (each.bits, each.where) == (bits, where)]
        for bits in widths
        for where in places
    }
