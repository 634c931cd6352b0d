"""Costs of accumulators that shift: the bundled data are whole and current, and true of what they stand for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from sim.arch.accumulator import Cost, Costs, Design, directory, load_costs, overhead, read_costs
from sim.energy.synthesis.designs import LONGER, RANGES, UNITS, WIDTHS, designs
from sim.energy.synthesis.yosys import verilog_sha256
from sim.errors import ConfigError

COSTS = load_costs()
ROWS = [row for row in COSTS.rows if row.library == COSTS.library]


def design(row: Cost, **changes: object) -> Design:
    return Design(**{**row.model_dump(include=set(Design.model_fields)), **changes})


def test_the_data_are_of_this_verilog() -> None:
    """After a change to it: python -m sim.energy.synthesis."""
    assert COSTS.origin.verilog_sha256 == verilog_sha256()


def test_every_design_was_synthesized_once() -> None:
    assert [design(row) for row in ROWS] == list(designs())
    assert len(UNITS) * len(WIDTHS) * 2 * (1 + 2 * len(RANGES)) + len(LONGER) * 9 == len(ROWS)
    others = {row.library for row in COSTS.rows} - {COSTS.library}
    assert {COSTS.library, *others} == set(COSTS.origin.libraries)
    assert len(others) == 2


def test_parts_sum_to_the_area() -> None:
    for row in COSTS.rows:
        parts = row.multiplier_um2 + row.adder_um2 + row.register_um2 + row.shifter_um2
        assert parts == pytest.approx(row.area_um2)
        assert bool(row.shifter_um2) == bool(row.shift_range) == bool(row.shift_gaussian_pj)
        assert bool(row.register_um2) == (row.unit == "pe")


def test_a_shifter_takes_area_and_energy_of_every_operation() -> None:
    for row in COSTS.rows:
        if row.shift_range:
            found = overhead(COSTS, design(row), row.library)
            assert found.area > 0
            assert found.mac_energy > 0
            assert found.shift_pj > found.mac_pj


def test_a_wider_shifter_is_never_smaller() -> None:
    for row in ROWS:
        if 1 <= row.shift_range < 4:
            assert COSTS.find(design(row, shift_range=row.shift_range + 1)).shifter_um2 >= row.shifter_um2


def test_wider_accumulators_take_more() -> None:
    for plain in (row for row in ROWS if row.width_bits == WIDTHS[0]):
        found = [COSTS.find(design(plain, width_bits=width)) for width in WIDTHS]
        for narrow, wide in pairwise(found):
            assert wide.area_um2 > narrow.area_um2
            assert wide.shifter_um2 >= narrow.shifter_um2


def test_behind_the_adder_the_longest_path_grows_and_in_the_path_of_c_it_need_not() -> None:
    for row in ROWS:
        if row.overflow == "wrap" and row.shift_range:
            growth = overhead(COSTS, design(row)).delay
            assert growth > 0.01 if row.position == "behind_adder" else abs(growth) < 0.005, row


def test_saturating_takes_more_than_wrapping() -> None:
    for row in ROWS:
        if row.overflow == "saturate":
            assert row.area_um2 > COSTS.find(design(row, overflow="wrap")).area_um2


def test_shares_hardly_depend_on_the_process() -> None:
    """Of the area that a 1-bit shifter adds, in 0.18, 0.35 and 0.5 um."""
    for row in ROWS:
        if row.shift_range == 1 and row.width_bits == 32 and row.overflow == "wrap" and row.length <= 8:
            shares = [overhead(COSTS, design(row), name).area for name in COSTS.origin.libraries]
            assert max(shares) < 1.3 * min(shares), row


def test_what_was_not_synthesized_is_one_line() -> None:
    wanted = design(ROWS[0], width_bits=33)
    with pytest.raises(
        ConfigError, match=r"no synthesized pe INT4 x 1, 33-bit accumulator \(wraps\), no shifter"
    ) as caught:
        COSTS.find(wanted)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"shift_range":0',
            '"shift_range":9',
            r"accumulator\.jsonl:1: shift_range: got 9, allowed: less than or equal",
        ),
        ('"delay_ns":', '"dealy_ns":', r"accumulator\.jsonl:1: dealy_ns: unknown key .*delay_ns"),
        ('"unit":"pe"', '"unit":"pea"', r"accumulator\.jsonl:1: unit: got 'pea', allowed: 'pe' or 'dot'"),
    ],
)
def test_mistakes_in_the_data_are_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    for name in ("accumulator.yaml", "accumulator.jsonl"):
        text = (directory() / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_costs(tmp_path)


def test_data_are_read_as_they_are_written() -> None:
    assert isinstance(read_costs(directory()), Costs)
    assert read_costs(directory()) == COSTS
