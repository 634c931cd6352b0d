"""Decomposition and narrow accumulators: closed forms, and a wide one against the sum over groups."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.tender.synthetic import accumulate, activations, decompose, quantized_rows, sqnr_db


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 70), min_size=1, max_size=8).filter(any), st.integers(0, 2**31))
def test_a_wide_accumulator_holds_the_sum_over_groups_bit_for_bit(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    k = sum(sizes)
    codes, weights = random.integers(-127, 128, (3, k)), random.integers(-127, 128, (4, k))
    edges = np.cumsum([0, *sizes])
    want = sum(
        (codes[:, a:b] @ weights[:, a:b].T) << (len(sizes) - 1 - group)
        for group, (a, b) in enumerate(pairwise(edges))
    )
    found = accumulate(codes, weights, tuple(sizes))
    assert np.array_equal(found.sums, want) and found.overflows == 0
    narrow = accumulate(codes, weights, tuple(sizes), 16)
    assert np.array_equal((narrow.sums - want) % 2**16, np.zeros_like(want))  # wrapping keeps the low bits


def test_an_accumulator_that_is_wide_enough_never_overflows_and_one_bit_less_does() -> None:
    codes, weights = np.full((1, 64), 127), np.full((1, 64), 127)
    needed = accumulate(codes, weights, (32, 32)).widest_bits
    assert needed == (127 * 127 * 32 * 3).bit_length() + 1
    assert accumulate(codes, weights, (32, 32), needed).overflows == 0
    assert accumulate(codes, weights, (32, 32), needed - 1).overflows > 0


def test_saturation_stops_at_the_nearest_number() -> None:
    codes, weights = np.full((1, 64), 127), np.array([[127] * 64, [-127] * 64])
    assert accumulate(codes, weights, (64,), 16, "saturate").sums.tolist() == [[2**15 - 1, -(2**15)]]


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_every_channel_is_in_the_group_of_its_magnitude(groups: int) -> None:
    x = activations(64, 512, np.random.default_rng(1))
    found = decompose(x, groups, 8)
    peaks = np.abs(x).max(axis=0)[found.order]
    group = np.repeat(np.arange(groups), found.sizes)
    assert sorted(found.order) == list(range(512)) and sum(found.sizes) == 512
    assert (peaks <= peaks.max() / 2.0**group * (1 + 1e-9)).all()
    inner = group < groups - 1
    assert (peaks[inner] > peaks.max() / 2.0 ** (group[inner] + 1) * (1 - 1e-9)).all()


def test_more_groups_are_nearer_and_no_code_is_clipped() -> None:
    random = np.random.default_rng(2)
    x = activations(128, 1024, random)
    w = random.standard_normal((64, 1024)) / 32
    codes, scales = quantized_rows(w, 8)
    ratios = []
    for groups in (1, 2, 4, 8):
        found = decompose(x, groups, 4)
        assert found.codes.min() >= -7
        sums = accumulate(found.codes, codes[:, found.order], found.sizes).sums
        ratios.append(sqnr_db(x @ w.T, sums * found.scale * scales))
    assert ratios == sorted(ratios) and ratios[-1] > ratios[0] + 10
