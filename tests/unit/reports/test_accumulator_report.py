"""The accumulator study's page: gains over the best kernel without the hardware, and what it says of them."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reports.accumulator import HARDWARE, SOFTWARE, Overflow, Study
from reports.accumulator_conclusion import conclusion
from reports.accumulator_findings import (
    choices,
    finite,
    front,
    gain,
    gains,
    needed_width,
    slope,
    slopes,
)
from reports.accumulator_gains import sensible
from reports.accumulator_page import page, render
from tests.unit.reports.accumulator_data import BYTES, MODEL, WIDE, study


def said(found: Study, about: str) -> str:
    return " ".join(each.text for each in conclusion(found) if each.about == about)


def test_the_gain_is_over_the_best_kernel_without_the_hardware() -> None:
    found = gain(study(), WIDE, MODEL, 8, "decode", 1)
    assert found is not None and found.best == SOFTWARE
    assert found.linear_pct == pytest.approx(20.0)
    assert found.whole_pct == pytest.approx(100 * ((24 + 20) / (20 + 20) - 1))
    assert found.bound_pct == pytest.approx(100 * (12 / 9 - 1))
    assert found.saved_mj == pytest.approx(2 * 5 * (12 - 10) / 1e3)


def test_a_scheme_without_the_hardware_has_no_gain() -> None:
    without = replace(study(), timed=tuple(each for each in study().timed if each.method.variant != HARDWARE))
    assert gains(without, WIDE) == []
    assert WIDE not in {each.about for each in conclusion(without)}


def test_it_says_where_the_extension_pays_and_where_it_does_not() -> None:
    pays = said(study(10.0), WIDE)
    assert pays.startswith(
        "the extension pays at decode M = 1, 8 groups; prefill M = 16, 8 groups: at most +20.0 %"
    )
    assert "over shift in registers (llama3-8b, decode M = 1, 8 groups) and +20.0 % in a whole step" in pays
    lost = said(study(12.5), WIDE)
    assert lost.startswith(
        "the extension does not pay: at most -4.0 % in the linear layers over shift in registers"
    )
    assert "A shift that takes nothing at all would gain at most +33.3 %" in lost


def test_a_gain_with_groups_whose_sums_overflow_is_none() -> None:
    assert "With 20 groups (+20.0 %) INT8 sums overflow INT32." in said(study(10.0), WIDE)
    fitting = replace(study(10.0), by_groups=study().by_groups[:2])
    assert "decode M = 1, 20 groups" in said(fitting, WIDE) and "overflow" not in said(fitting, WIDE)


def test_more_groups_than_the_errors_ask_for_are_no_reason_either() -> None:
    """20 groups fit, but 8 are as good: what the extension gains with them is all that counts."""
    levels = (*study().by_groups[:2], replace(study().by_groups[1], groups=20))
    fitting = replace(study(10.0), by_groups=levels)
    assert "8 groups are enough for the errors measured here; with them it gains at most +20.0 %" in said(
        fitting, WIDE
    )
    assert {each.groups for each in sensible(fitting, WIDE)} == {8}


def test_the_verdict_sums_up_both_ways() -> None:
    both = said(study(10.0, operands_us=9.5), "verdict")
    assert "pays for tender_w8a8 (+20.0 %) and does not pay for tender_w4a4 (-2.5 %)" in both
    assert "does not pay for tender_w8a8 (-2.2 %)" in said(study(12.5), "verdict")
    assert "pays for tender_w4a4" not in said(study(10.5, operands_us=10.0), "verdict").split(" and ")[0]


def test_a_gain_that_amdahl_eats_is_called_so() -> None:
    rare = study(10.0, rest_us={1: 1000.0, 16: 1000.0})
    assert said(rare, WIDE).startswith(
        "the extension pays in the linear layers alone, not in a whole step, at"
    )


def test_it_says_whether_packed_shifts_make_the_extension_pointless_for_int4() -> None:
    assert "the extension is pointless for INT4 codes" in said(study(10.0, operands_us=10.1), "W4A4")
    other = said(study(10.0, operands_us=11.0), "W4A4")
    assert "do not replace the extension" in other and "up to +10.0 % more time" in other


def test_packed_shifts_are_kernels_without_the_hardware() -> None:
    found = gain(study(10.0, operands_us=9.5), BYTES, MODEL, 8, "decode", 1)
    assert found is not None and found.linear_pct == pytest.approx(-5.0)


def test_a_border_costs_the_slope_of_time_over_groups() -> None:
    assert slope([1, 2, 4], [3.0, 5.0, 9.0]) == pytest.approx(2.0)
    found = {each.variant: each.border_ns for each in slopes(study())}
    assert found == pytest.approx({"extension": 10.0, "software_shift": 100.0, "explicit": 300.0})
    text = said(study(), "cost of a border")
    assert "shift in registers 100 ns (1.1 % of the matmul)" in text
    assert text.endswith("The extension takes 90 % of it away.")


def test_borders_that_cost_as_much_with_the_hardware_are_not_the_shifts() -> None:
    rows = tuple(
        replace(each, time_us=9.0 + 0.08 * each.method.groups) if each.method.variant == HARDWARE else each
        for each in study().borders
    )
    assert "80 % of it stays with the extension" in said(replace(study(), borders=rows), "cost of a border")


def test_the_front_is_what_no_other_beats_in_accuracy_time_energy_and_area() -> None:
    found = choices(study(), MODEL, 1, "llm_int8_6.7b")
    names = [each.contender.name for each in front(found)]
    assert names == ["FP16", "INT8 per tensor", "Tender", "Tender + extension"]
    slower = choices(study(13.0), MODEL, 1, "llm_int8_6.7b")
    assert "Tender + extension" not in [each.contender.name for each in front(slower)]
    assert "dominated: per group." in said(study(), "Pareto front")


def test_the_width_that_is_needed_is_the_least_that_loses_nothing_from_there_on() -> None:
    where = study().places[0]
    assert needed_width(study(), where, 8, 8, "wrap") == 24
    assert needed_width(study(), where, 8, 9, "wrap") is None
    narrow = replace(study(), overflow=(Overflow(where, 8, 8, 1, 16, "wrap", 9.0, -2.0, 24),))
    assert needed_width(narrow, where, 8, 8, "wrap") is None
    assert "by groups: 8: more." in said(narrow, "width")
    assert "by groups: 1: 24, 8: 24." in said(study(), "width")


def test_groups_that_overflow_are_named() -> None:
    text = said(study(), "groups")
    assert "8 groups are enough, 36.0 dB against 20.0 with 1" in text and "INT32 wraps with 20." in text


def test_the_page_its_tables_and_its_figures_are_written(tmp_path: Path) -> None:
    names = {path.name for path in render(study(), tmp_path)}
    figures = ("times", "layers", "borders", "widths", "hardware", "groups", "front")
    assert {f"accumulator_{name}.{kind}" for name in figures for kind in ("png", "svg")} <= names
    with (tmp_path / "accumulator_times.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(study().timed) and rows[0]["variant"] == "ideal"
    text = (tmp_path / "accumulator.md").read_text(encoding="utf-8")
    assert all(f"(accumulator_{name}.png)" in text for name in figures)
    assert text.count("\n# ") == 0 and text.startswith("# Accumulators that shift: llama3-8b on h200")


def test_a_study_of_a_machine_that_runs_little_can_be_drawn(tmp_path: Path) -> None:
    """Neither the hypothetical hardware nor orders, borders or contenders."""
    timed = tuple(each for each in study().timed if each.method.variant != HARDWARE)
    little = replace(
        study(), timed=timed, borders=(), contenders=(), ends=(), order_times=(), order_levels=()
    )
    assert (tmp_path / "accumulator.md") in render(little, tmp_path)
    assert "pays" not in {each.about for each in conclusion(little)}


def test_the_same_study_gives_the_same_page() -> None:
    assert page(study()) == page(study())


def test_json_has_no_infinities() -> None:
    record = finite(asdict(study()) | {"level": float("inf")})
    assert json.loads(json.dumps(record, allow_nan=False))["level"] is None
