"""The profiles have the statistics that were published, and the methods the ranks that follow from them."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.accuracy.outliers import LARGEST_ORDINARY, PROFILES, operands
from workloads.accuracy.study import group_accuracy, outlier_accuracy

PUBLISHED = {
    "llm_int8_6.7b": (6, 0.75, -40, 9),
    "llm_int8_13b": (7, 0.73, -58, 18),
    "smoothquant": (6, 1, 100, 10),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_profile_has_the_published_statistics(name: str) -> None:
    channels, tokens, median, between = PUBLISHED[name]
    drawn = operands(PROFILES[name])
    outliers = drawn.x[:, drawn.outlying]
    assert outliers.shape[1] == channels
    assert np.abs(drawn.x[:, ~drawn.outlying]).max() <= LARGEST_ORDINARY
    large = outliers[np.abs(outliers) > LARGEST_ORDINARY]
    assert large.size / outliers.size == pytest.approx(tokens, abs=0.03)
    low, middle, high = np.percentile(large, (25, 50, 75))
    assert middle == pytest.approx(median, abs=1) and high - low == pytest.approx(between, rel=0.12)


def db(method: str, profile: str) -> float:
    return outlier_accuracy(method, profile).ordinary_db


@pytest.mark.parametrize("profile", list(PUBLISHED))
def test_only_a_scale_per_channel_or_a_decomposition_keeps_int8(profile: str) -> None:
    """SmoothQuant's table 1: per token is hardly better than per tensor, per channel keeps OPT's accuracy."""
    per_tensor, per_row = db("int8_per_tensor", profile), db("int8_per_row", profile)
    assert per_tensor <= per_row < per_tensor + 4
    assert db("int8_per_channel", profile) > per_row + 12
    assert db("smoothquant_int8", profile) > per_row + 8
    assert db("tender_int8_g8", profile) > db("int8_per_channel", profile)  # the outliers' bias is taken off
    assert db("llm_int8", profile) == pytest.approx(db("llm_int8", "no_outliers"), abs=0.5)


def test_int4_per_row_loses_all_but_the_outliers() -> None:
    """Their share of the output hides it: the plain SQNR stays positive."""
    found = outlier_accuracy("int4_per_row", "smoothquant")
    assert found.ordinary_db < 0 < 10 < found.sqnr_db
    assert db("tender_int4_g8", "smoothquant") > 12


def test_without_outliers_plain_and_ordinary_are_one() -> None:
    found = outlier_accuracy("int8_per_row", "no_outliers")
    assert found.sqnr_db == found.ordinary_db
    assert db("tender_int8_g8", "no_outliers") == pytest.approx(db("int8_per_tensor", "no_outliers"), abs=1)


def test_more_groups_help_until_int32_wraps() -> None:
    found = [group_accuracy(8, groups, "laplace") for groups in (1, 4, 8, 20)]
    assert [each.wrapped_pct for each in found[:3]] == [0, 0, 0] and found[3].wrapped_pct > 5
    assert found[0].sqnr_db + 10 < found[1].sqnr_db < found[2].sqnr_db
    assert found[3].sqnr_db < 3
    assert group_accuracy(4, 20, "laplace").wrapped_pct == 0
