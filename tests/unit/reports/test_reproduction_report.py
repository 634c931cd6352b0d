"""Published beside simulated: ratios, ranges, reasons, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reports.reproduction import Reproduction, Row, Sensitivity, matrix, page, render, value_text

ROW = Row(
    "P", "claim", "h200", "speedup", 2.0, 4.0, 3.0, 1.0, 6.0, "table 1", "another kernel", "as computed"
)


def reproduction(*rows: Row) -> Reproduction:
    moved = Sensitivity("claim", "tokens", "not said", 128, 4096, 1.5, 2.5, 0.25)
    return Reproduction("P", "arXiv:0", "stated", rows, (moved, replace(moved, claim="other", implied=None)))


@pytest.mark.parametrize(("simulated", "ratio"), [(3.0, 1.0), (1.0, 0.5), (6.0, 1.5)])
def test_a_ratio_is_to_the_nearest_published_number(simulated: float, ratio: float) -> None:
    assert replace(ROW, simulated=simulated).ratio == ratio


def test_a_note_stands_only_where_the_numbers_differ() -> None:
    assert ROW.why == "as computed"
    assert replace(ROW, simulated=1.0).why == "another kernel; as computed"


def test_numbers_have_three_digits_and_a_unit() -> None:
    assert value_text(2, 4, "speedup") == "2.00 to 4.00 x"
    assert value_text(725.6, 725.6, "time_us") == "726 µs"


def test_unknown_inputs_are_rows_and_claims_columns() -> None:
    header, lines = matrix(reproduction(ROW).sensitivities)
    assert header == ("what is not said", "claim", "other")
    assert lines[0] == ("tokens, 128 to 4,096", "1.50 to 2.50", "1.50 to 2.50")
    assert lines[1] == ("tokens, as published", "0.25", "none")


def test_page_table_and_figure_are_written_the_same_twice(tmp_path: Path) -> None:
    found = (reproduction(ROW, replace(ROW, claim="point", published_high=2.0)), reproduction(ROW))
    first, second = (
        {path.name: path.read_bytes() for path in render(found, tmp_path / name)} for name in ("a", "b")
    )
    assert first == second
    assert set(first) == {f"reproduction.{kind}" for kind in ("md", "csv", "png", "svg")}
    assert first["reproduction.csv"].count(b"\n") == 4
    assert "| claim | h200 | table 1 | as computed | 2.00 to 4.00 x | 3.00 x | 1.00 |" in page(found)
