"""The banks study: what look-ups lose to bank conflicts, and what hardware for them would gain.

Not one of the reports on a sweep: its data come from ``tcsim study banks``.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from reports.banks_data import Design, Gain, Looked, Number, Study
from reports.banks_words import conclusion
from reports.output import replace_file, save_figure, write_csv


def render(study: Study, out_dir: Path) -> list[Path]:
    """Write the page, its figures and its tables."""
    from reports.banks_figure import draw, draw_gains
    from reports.style import drawing

    tables = (
        ("lookups", Looked, study.looked),
        ("tables", Design, study.designs),
        ("gains", Gain, study.gains),
        ("hardware", Number, study.numbers),
    )
    paths = [
        write_csv(
            [asdict(each) for each in rows], [each.name for each in fields(kind)], out_dir / f"{name}.csv"
        )
        for name, kind, rows in tables
    ]
    with drawing():
        paths += save_figure(draw(study), out_dir, "banks")
        paths += save_figure(draw_gains(study), out_dir, "gains") if study.gains else []
    text = page(study)
    return [replace_file(out_dir / "banks.md", lambda path: _write(path, text)), *paths]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def to_json(study: Study) -> dict[str, Any]:
    """Return the study as one JSON object."""
    return {**asdict(study), "conclusion": conclusion(study)}


def page(study: Study) -> str:
    """Return the study as one page of Markdown."""
    from reports.markdown import table

    header = (
        "kernel",
        "codes",
        "wavefronts",
        "closed form",
        "µs",
        "without conflicts",
        "measured",
        "predicted",
    )
    rows = [
        (
            f"`{each.name}`",
            each.codes,
            f"{each.wavefronts:.3f}",
            f"{each.expected:.3f}",
            f"{each.time_us:.2f}",
            f"{each.ideal_us:.2f}" + (f" ({-each.saved_pct:+.1f} %)" if each.saved_pct >= 0.05 else ""),
            _number(each.measured_us),
            _number(each.predicted_us),
        )
        for each in study.own
    ]
    numbers = [
        (each.hardware, each.name, f"{each.value:g} {each.unit}", each.rationale) for each in study.numbers
    ]
    shape = f"N×K = {study.own[0].n}×{study.own[0].k}" if study.own else "no kernel"
    parts = [
        f"# Banks study: look-ups on {study.arch}",
        "\n".join(f"* {line}" for line in conclusion(study)),
        f"{shape}. Wavefronts are means per warp look-up; the closed form is for independent draws. Predicted times "
        "are at the clock that was recorded with the measured ones.",
        table(header, rows, left=2),
        "![Look-ups and banks](banks.png)",
        *(
            [
                "Hypothetical hardware, beside the best software kernel for the same bits. Weights of any table are "
                "FLUTE's alone; weights of even levels may have any kernel:",
                "![Gains](gains.png)",
            ]
            if study.gains
            else []
        ),
        table(("hardware", "what", "value", "why"), numbers, left=4),
    ]
    return "\n\n".join(parts) + "\n"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
