"""``tcsim study accuracy``: number formats on MiniLM and published outliers, or on a model that the user has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from reports import perplexity
from reports.accuracy_study import LABEL, AccuracyStudy, Bits, Row, layer_rows, render, rows
from sim.commands import study_perplexity
from sim.commands.terminal import Table, progress_shown, say, show
from sim.dse.files import make_directory
from sim.dse.run import Progress
from sim.errors import ConfigError
from workloads.accuracy import texts
from workloads.accuracy.methods import Method, method, methods
from workloads.accuracy.outliers import PROFILES
from workloads.accuracy.study import (
    GROUPS,
    MINILM,
    SENTENCES,
    encoder_accuracy,
    group_accuracy,
    minilm_reference,
    outlier_accuracy,
)

WIDTHS = (8, 4)  # of Tender's codes, for its accuracy over groups
GROUP_PLACES = (MINILM, "llm_int8_6.7b", "laplace")
ENCODER_COLUMNS = {
    "cosine": ("cosine", ".4f"),
    "worst": ("least_cosine", ".4f"),
    "same nearest %": ("neighbours_pct", ".0f"),
    "layer dB": ("median_layer_db", ".1f"),
    "worst dB": ("worst_layer_db", ".1f"),
    "all layers dB": ("last_block_db", ".1f"),
}


def run(
    model_dir: Path | None,
    text: Path | None,
    schemes: str | None,
    tokens: int | None,
    window: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run the study on MiniLM, or on the model in a folder."""
    chosen = _chosen(schemes)
    if model_dir is None and (tokens or window):
        raise ConfigError("--tokens, --window", "are for --model-dir")
    if model_dir is not None and text is None:
        raise ConfigError("--text", "missing; --model-dir needs the text whose perplexity is computed")
    if out is not None:
        make_directory(out)
    if model_dir is not None and text is not None:
        study = study_perplexity.run(model_dir, _read(text), text.name, chosen, (tokens, window), as_json)
        written = perplexity.render(study, out) if out is not None else []
    else:
        written = _on_minilm(chosen, _sentences(text), out, as_json)
    for path in written if not as_json else ():
        say(f"wrote {path}")


def _on_minilm(
    chosen: Sequence[Method], sentences: tuple[str, ...], out: Path | None, as_json: bool
) -> list[Path]:
    with nullcontext(None) if as_json else progress_shown("schemes", "multiplying", "starting") as progress:
        study = encoder_study(chosen, sentences, progress)
    if as_json:
        say(json.dumps(study_perplexity.finite(as_object(study)), allow_nan=False))
    else:
        _show(study)
    return render(study, out) if out is not None else []


def _chosen(schemes: str | None) -> list[Method]:
    if schemes is None:
        return list(methods().values())
    names = dict.fromkeys(name.strip() for name in schemes.split(",") if name.strip())
    if not names:
        raise ConfigError("--schemes", f"got no name, allowed: {', '.join(methods())}")
    return [method(name, "--schemes") for name in names]


def _read(text: Path) -> str:
    try:
        return text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(text), f"cannot be read: {str(error).splitlines()[0]}") from None


def _sentences(text: Path | None) -> tuple[str, ...]:
    if text is None:
        return texts.sentences(SENTENCES)
    found = tuple(dict.fromkeys(line.strip() for line in _read(text).splitlines() if line.strip()))
    if len(found) < 3:
        raise ConfigError(
            str(text), f"got {len(found)} different lines, allowed: 3 or more, a sentence per line"
        )
    return found


def encoder_study(
    chosen: Sequence[Method], sentences: tuple[str, ...], progress: Progress | None
) -> AccuracyStudy:
    """Measure methods on MiniLM and on the profiles, and Tender over its groups."""
    on, found = minilm_reference(sentences), []
    for done, each in enumerate(chosen):
        if progress is not None:
            progress(done, len(chosen), 0)
        outliers = tuple(outlier_accuracy(each.name, profile) for profile in PROFILES)
        found.append((encoder_accuracy(on, each), outliers))
    if progress is not None:
        progress(len(chosen), len(chosen), 0)
    return AccuracyStudy(
        text=f"{len(sentences)} {texts.SOURCE if sentences == texts.sentences(SENTENCES) else 'texts'}",
        tokens=sum(map(len, on.ids)),
        bits={each.name: Bits(each.weight_bits, each.activation_bits) for each in chosen},
        encoder=tuple(encoder for encoder, _ in found),
        outliers=tuple(each for _, outliers in found for each in outliers),
        groups=tuple(
            group_accuracy(bits, groups, where, on)
            for bits in WIDTHS
            for where in GROUP_PLACES
            for groups in GROUPS
        ),
    )


def as_object(study: AccuracyStudy) -> dict[str, object]:
    """Return the study as JSON has it."""
    return {
        "model": "all-MiniLM-L6-v2",
        "label": LABEL,
        "text": study.text,
        "tokens": study.tokens,
        "profiles": {name: each.source for name, each in PROFILES.items()},
        "schemes": rows(study),
        "layers": layer_rows(study),
        "groups": [vars(each) for each in study.groups],
    }


def _show(study: AccuracyStudy) -> None:
    say(f"all-MiniLM-L6-v2, {LABEL}")
    _show_rows(study, f"{study.text}, {study.tokens} tokens", ENCODER_COLUMNS)
    say("")
    for name in study.profiles:
        say(f"{name}: {PROFILES[name].doc}; {PROFILES[name].source}")
    profiles = {name: (f"{name}_db", ".1f") for name in study.profiles}
    title = "Synthetic matmuls: the error beside what the channels without outliers contribute, dB"
    _show_rows(study, title, profiles)


def _show_rows(study: AccuracyStudy, title: str, columns: Mapping[str, tuple[str, str]]) -> None:
    header = ("scheme", "bits W/A", *columns)
    table = tuple(
        (*_named(row), *(format(row[key], style) for key, style in columns.values())) for row in rows(study)
    )
    show(Table(header, table, title, right=tuple(range(1, len(header)))))


def _named(row: Row) -> tuple[str, str]:
    return row["scheme"], f"{row['weight_bits']:.4g}/{row['activation_bits']:.4g}"
