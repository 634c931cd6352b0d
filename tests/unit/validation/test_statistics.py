"""Statistics of validation: closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.validation.statistics import accuracy, correlation

POSITIVE = st.floats(0.1, 1e6)


def test_errors_are_in_percent_of_the_measured_value() -> None:
    found = accuracy([(10.0, 11.0), (20.0, 16.0), (5.0, 5.0)])
    assert found.cases == 3
    assert found.mape_pct == pytest.approx(10.0)
    assert found.max_ape_pct == pytest.approx(20.0)
    assert found.bias_pct == pytest.approx(-10 / 3)


@given(st.lists(POSITIVE, min_size=2, max_size=8, unique_by=lambda v: round(math.log(v), 3)), POSITIVE)
def test_a_constant_factor_correlates_perfectly(measured: list[float], factor: float) -> None:
    assert correlation([(v, v * factor) for v in measured]) == pytest.approx(1.0)
    assert correlation([(v, factor / v) for v in measured]) == pytest.approx(-1.0)


def test_correlation_is_that_of_the_logarithms() -> None:
    assert correlation([(1.0, 1.0), (10.0, 100.0), (100.0, 10_000.0)]) == pytest.approx(1.0)


@pytest.mark.parametrize("pairs", [[(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)], [(1.0, 2.0), (2.0, 2.0)]])
def test_where_it_is_not_defined_there_is_no_correlation(pairs: list[tuple[float, float]]) -> None:
    assert correlation(pairs) is None


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=20))
def test_bias_is_within_the_mean_and_the_mean_within_the_largest(pairs: list[tuple[float, float]]) -> None:
    found = accuracy(pairs)
    assert abs(found.bias_pct) <= found.mape_pct * (1 + 1e-9) <= found.max_ape_pct * (1 + 1e-8)
