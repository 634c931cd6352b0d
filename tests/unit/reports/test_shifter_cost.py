"""The report on the shifter's place and cost: every unit in the table, shares against the unit without a shifter."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from reports.shifter_cost import C_PATH, Unit, at, findings, priced, render, units, widths
from sim.arch.accumulator import load_costs

COSTS = load_costs()
PE = Unit("pe", 4, 1)


def test_every_unit_is_priced_against_itself_without_a_shifter() -> None:
    rows = priced(COSTS)
    assert len(rows) == len(COSTS.rows)
    for row in rows:
        shares = (row.area_pct, row.delay_pct, row.mac_energy_pct, row.shift_energy_pct)
        assert shares == (0, 0, 0, 0) if row.position == "none" else row.area_pct > 0
    one = next(row for row in rows if (row.unit, row.operand_bits, row.position) == ("pe", 4, C_PATH))
    plain = at(COSTS, PE, "none", 0, one.width_bits).cost
    assert one.area_um2 == pytest.approx(plain.area_um2 * (1 + one.area_pct / 100))
    assert one.shift_pj == pytest.approx(plain.mac_gaussian_pj * (1 + one.shift_energy_pct / 100))


def test_units_and_widths_are_those_of_the_data() -> None:
    assert units(COSTS)[:2] == (PE, Unit("pe", 8, 1))
    assert widths(COSTS, PE) == [16, 20, 24, 28, 32, 36, 40]
    assert widths(COSTS, Unit("dot", 8, 32)) == [32]


def test_the_share_falls_with_the_products_that_a_unit_adds_at_once() -> None:
    shares = [at(COSTS, Unit("dot", 8, length), C_PATH, 1).area for length in (4, 8, 16, 32)]
    assert shares == sorted(shares, reverse=True)
    assert at(COSTS, PE, C_PATH, 1).area > at(COSTS, Unit("pe", 8, 1), C_PATH, 1).area > shares[0]


def test_words_say_the_share_of_each_place() -> None:
    lines = findings(COSTS)
    assert len(lines) == len(units(COSTS)) + 1
    assert all("in the path of C" in line and "behind the adder" in line for line in lines[:-1])
    assert "-0.0" not in " ".join(lines)


def test_files_are_the_same_twice_and_hold_every_unit(tmp_path: Path) -> None:
    first, second = (render(COSTS, tmp_path / name) for name in ("one", "two"))
    assert [path.name for path in first] == ["shifter_cost.png", "shifter_cost.svg", "shifter_cost.csv"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    with first[-1].open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(COSTS.rows)
