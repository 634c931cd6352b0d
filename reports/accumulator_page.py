"""The accumulator study's page: conclusion, tables, figures, and every row as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from reports.accumulator import (
    VARIANTS,
    WORDS,
    Bordered,
    Contender,
    Ends,
    GroupLevel,
    Hardware,
    Level,
    OrderLevel,
    OrderTime,
    Overflow,
    Rest,
    Shifter,
    Study,
    Timed,
)
from reports.accumulator_conclusion import Statement, conclusion
from reports.accumulator_findings import choices, front, gains, run_us, slopes
from reports.markdown import table
from reports.output import replace_file, save_figure, write_csv

STEM = "accumulator"


def render(study: Study, out_dir: Path) -> list[Path]:
    """Write the page, its figures and its tables."""
    from reports.accumulator_figures import FIGURES
    from reports.style import drawing

    paths = [write_csv(rows, columns, out_dir / f"{name}.csv") for name, columns, rows in tables(study)]
    with drawing():
        for name, draw in FIGURES.items():
            paths += save_figure(draw(study), out_dir, f"{STEM}_{name}")
    text = page(study)
    return [replace_file(out_dir / f"{STEM}.md", lambda path: _write(path, text)), *paths]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def tables(study: Study) -> Iterator[tuple[str, list[str], list[dict[str, Any]]]]:
    """Yield name, columns and rows of every table."""
    kinds: tuple[tuple[str, type[Any], Sequence[Any]], ...] = (
        ("times", Timed, study.timed),
        ("rest", Rest, study.rest),
        ("borders", Bordered, study.borders),
        ("overflow", Overflow, study.overflow),
        ("groups", GroupLevel, study.by_groups),
        ("accuracy", Level, study.levels),
        ("contenders", Contender, study.contenders),
        ("hardware", Hardware, study.hardware),
        ("shifters", Shifter, study.shifters),
        ("grouping", Ends, study.ends),
        ("orders", OrderTime, study.order_times),
        ("orders_accuracy", OrderLevel, study.order_levels),
    )
    for name, kind, rows in kinds:
        empty = {each.name: "" for each in fields(kind)}
        flat = [_flat(asdict(row)) for row in rows]
        yield f"{STEM}_{name}", list(flat[0] if flat else empty), flat


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Put a method's fields in the row's own."""
    method = row.pop("method", None)
    return row if method is None else {**method, **row}


def page(study: Study) -> str:
    """Return the study as one page of Markdown."""
    parts = [
        f"# {study.title}: {', '.join(study.models)} on {study.arch}",
        said(conclusion(study)),
        "All of it is simulated or computed; nothing on this page was measured. Times are those of the linear layers; "
        "the rest of a step (head in FP16, attention, launches of the other kernels) is a lower bound, so that a gain "
        "of the whole step is an upper one. Quantizing activations belongs to the layer before and is not counted.",
        *_notes(study),
        "## Time over M and models",
        _picture("times"),
        _times(study),
        _picture("layers"),
        "## What a border costs",
        _picture("borders"),
        _slopes(study),
        "## Width of the accumulator, range of the shift",
        _picture("widths"),
        "## What the shifter costs",
        _picture("hardware"),
        table(
            ("what", "accumulator", "value", "why"),
            [
                (
                    f"{each.extension}: {each.name}",
                    each.setting,
                    f"{each.value:.4g} {each.unit}",
                    each.rationale,
                )
                for each in study.hardware
            ],
            left=4,
        ),
        "## Groups, their ends, their order",
        _picture("groups"),
        "## What to choose",
        _picture("front"),
        _choices(study),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def said(statements: Sequence[Statement]) -> str:
    """Return statements as a list, those about one thing below each other."""
    lines = []
    for about, found in groupby(statements, key=lambda each: each.about):
        texts = [each.text for each in found]
        if len(texts) == 1:
            lines.append(f"* **{about}**: {texts[0]}")
        else:
            lines += [f"* **{about}**:", *(f"  * {text}" for text in texts)]
    return "\n".join(lines)


def _picture(name: str) -> str:
    return f"![{name}]({STEM}_{name}.png)"


def _notes(study: Study) -> Iterator[str]:
    for each in study.skipped:
        yield f"Left out: {each.what}: {each.why}."
    yield from (f"{note}." for note in study.notes)


def _times(study: Study) -> str:
    header = (
        "model",
        "scheme",
        "step",
        "M",
        "groups",
        *(WORDS[each] for each in VARIANTS),
        "gain",
        "of the step",
    )
    rows = []
    for scheme in study.schemes:
        for each in gains(study, scheme):
            times = [run_us(study, scheme, name, each.model, each.groups, each.m) for name in VARIANTS]
            rows.append(
                (
                    each.model,
                    f"`{scheme}`",
                    each.phase,
                    str(each.m),
                    str(each.groups),
                    *(f"{us / 1e3:.3f}" if us else "" for us in times),
                    f"{each.linear_pct:+.1f} %",
                    f"{each.whole_pct:+.1f} %",
                )
            )
    return (
        "Linear layers, ms; the gain is that of the hypothetical shift over the best kernel without it.\n\n"
        + table(header, rows, left=3)
    )


def _slopes(study: Study) -> str:
    header = ("scheme", "variant", "accumulator", "M", "ns per border", "% of the matmul", "no scales, µs")
    rows = [
        (
            f"`{each.scheme}`",
            WORDS[each.variant],
            each.accumulator,
            str(each.m),
            f"{each.border_ns:.0f}",
            f"{each.border_ns / 10 / each.ideal_us:.2f}",
            f"{each.ideal_us:.2f}",
        )
        for each in slopes(study)
    ]
    return table(header, rows, left=3)


def _choices(study: Study) -> str:
    header = ("step", "contender", *(f"dB, {where}" for where in study.places), "ms", "mJ", "mm2", "front")
    rows = []
    for phase, m in study.phases:
        found = choices(study, study.models[0], m, study.places[0])
        best = front(found)
        for each in found:
            named = each.contender
            rows.append(
                (
                    f"{phase} M = {m}",
                    named.name,
                    *(f"{study.level(named.accuracy, where):.1f}" for where in study.places),
                    f"{each.us / 1e3:.3f}",
                    f"{each.mj:.1f}",
                    f"{named.area_um2 * study.sms / 1e6:.2f}" if named.area_um2 else "",
                    "yes" if each in best else "",
                )
            )
    return f"Linear layers of {study.models[0]}.\n\n" + table(header, rows, left=2)
