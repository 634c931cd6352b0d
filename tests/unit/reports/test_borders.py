"""The cost of a border, on made-up rows of known slope."""

from __future__ import annotations

import pytest

from reports.borders import border_costs, border_table
from sim.validation.comparison import Case, Comparison, TimePair


def row(groups: int, measured_us: float, simulated_us: float, profile: str = "even") -> Comparison:
    options = {"variant": "software_shift", "groups": groups, "profile": profile}
    case = Case("h200", "tender_w8a8", options, "16x128-software_shift", 16, 4096, 4096)
    time = TimePair(measured_us, 0.0, 2000.0, simulated_us, simulated_us, 2000.0)
    return Comparison(
        case=case, source="a:1", kind="held_out", splits=1, ctas=1, resident=1, waves=1, bound="dram",
        time=time, counters={}, missing=(), cublas_us=None,
    )  # fmt: skip


def test_the_slope_is_that_of_the_rows() -> None:
    (cost,) = border_costs(row(count, 10 + 0.05 * count, 9 + 0.04 * count) for count in (1, 2, 8, 20))
    assert cost.measured_cycles == pytest.approx(100) and cost.simulated_cycles == pytest.approx(80)
    assert cost.error_pct == pytest.approx(-20) and cost.first_us == pytest.approx(10.05)
    assert "| 1 to 20 | 10.1 | 100 | 80 | -20 % |" in border_table([cost])


def test_few_numbers_of_groups_or_other_profiles_make_no_slope() -> None:
    assert border_costs(row(count, 10.0, 9.0) for count in (1, 2, 8)) == []
    assert border_costs(row(count, 10.0, 9.0, "outliers") for count in (1, 2, 8, 20)) == []
