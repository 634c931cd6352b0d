"""Tender's decomposition and its integer path against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import ConfigError
from workloads.tender.attention import scores, values
from workloads.tender.baselines import (
    BASELINES,
    FP4_MAGNITUDES,
    ant,
    microscaled,
    nearest,
    olive,
    signal_to_noise_db,
    symmetric,
)
from workloads.tender.decomposition import (
    Chunk,
    Format,
    align,
    calibrate,
    chunks_of,
    classify,
    decompose,
    quantize,
)
from workloads.tender.integer import Accumulator, accumulate, accumulate_floats, linear, quantize_weights
from workloads.tender.layout import aligned, borders, group_sizes, padded_columns, positions


def _outliers(seed: int, m: int = 64, k: int = 128) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = random.standard_normal((m, k)) * np.exp2(random.standard_normal(k))
    x[:, random.integers(0, k, 3)] *= 50
    return np.asarray(x + random.standard_normal(k))


formats = st.builds(
    Format,
    bits=st.sampled_from((4, 8)),
    groups=st.integers(1, 20),
    alpha=st.sampled_from((2, 3, 4)),
    chunk_rows=st.sampled_from((16, 64, 256)),
    bias=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(how=formats, seed=st.integers(0, 1000), columns=st.sampled_from((1, 16, 32)))
def test_wrapped_sums_are_the_weighted_group_products_modulo_two_to_the_32(
    how: Format, seed: int, columns: int
) -> None:
    x = _outliers(seed, 16, 48)
    chunk = decompose(x, how)
    codes = quantize(x, chunk, how)
    weights = np.random.default_rng(seed).integers(-128, 128, (5, 48))
    worth = [how.alpha ** (how.groups - 1 - int(group)) for group in chunk.group]
    exact = (codes.astype(object) * np.array(worth, object)) @ weights.T.astype(object)
    result = accumulate(codes, weights, chunk, how, columns=columns)
    assert np.array_equal(result.sums, (exact + 2**31) % 2**32 - 2**31)
    if not result.overflows:
        assert np.array_equal(result.sums, exact)


@settings(max_examples=40, deadline=None)
@given(how=formats, seed=st.integers(0, 1000))
def test_codes_are_off_by_half_a_step_of_their_group_at_most(how: Format, seed: int) -> None:
    x = _outliers(seed, 16, 40)
    chunk = decompose(x, how)
    error = quantize(x, chunk, how) * chunk.scales(how)[chunk.group] + chunk.bias - x
    assert (np.abs(error) <= chunk.scales(how)[chunk.group] * (0.5 + 1e-9)).all()


def test_channels_fall_into_groups_by_powers_of_alpha() -> None:
    how = Format(groups=4)
    assert classify(np.array([8.0, 4.01, 4.0, 2.0, 1.0, 0.0]), 8.0, how).tolist() == [0, 0, 1, 2, 3, 3]
    assert classify(np.array([27.0, 9.0, 3.0]), 27.0, replace(how, alpha=3)).tolist() == [0, 1, 2]


def test_the_bias_makes_channels_symmetric_and_its_share_comes_back() -> None:
    x = _outliers(1) + 10
    chunk = decompose(x, Format())
    np.testing.assert_allclose((x - chunk.bias).max(axis=0), -(x - chunk.bias).min(axis=0))
    w = np.random.default_rng(2).standard_normal((7, 128))
    assert signal_to_noise_db(x @ w.T, linear(x, quantize_weights(w, 8), Format(chunk_rows=64)).y) > 40


def test_rows_of_a_partial_chunk_are_filled_with_zeros() -> None:
    chunks = chunks_of(np.ones((20, 4)), Format(chunk_rows=16))
    assert [len(chunk) for chunk in chunks] == [16, 16] and chunks[1][4:].sum() == 0
    assert np.array_equal(decompose(chunks[1], Format()).bias, np.full(4, 0.5))


def test_an_empty_group_still_moves_the_accumulator() -> None:
    chunk = Chunk(np.zeros(2), np.array([0, 3]), 1.0)
    result = accumulate(np.array([[3, 5]]), np.array([[7, 11]]), chunk, Format(groups=4))
    assert result.sums.tolist() == [[3 * 7 * 8 + 5 * 11]]


@pytest.mark.parametrize(("groups", "products"), [(4, 16_643), (16, 4), (20, 0)])
def test_int32_holds_as_many_saturated_products_as_its_bits_say(groups: int, products: int) -> None:
    """floor((2^31 - 1) / (127 * 127 * 2^(G-1))): one more overflows."""
    how = Format(groups=groups)
    assert products == (2**31 - 1) // (127 * 127 * 2 ** (groups - 1))
    for count, expected in ((max(products, 1), products == 0), (products + 1, True)):
        chunk = Chunk(np.zeros(count), np.zeros(count, np.int64), 1.0)
        full = np.full((1, count), 127)
        wrapped = accumulate(full, full, chunk, how)
        assert (wrapped.overflows > 0) == expected
        capped = accumulate(full, full, chunk, how, Accumulator(overflow="saturate"))
        exact = count * 127 * 127 * 2 ** (groups - 1)
        assert capped.sums.tolist() == [[min(exact, 2**31 - 1)]]


def test_fp32_requantization_is_exact_while_24_bits_hold_the_sums() -> None:
    how = Format(bits=4, groups=8)
    x, w = _outliers(3, 8, 32), quantize_weights(np.random.default_rng(4).standard_normal((6, 32)), 4)
    chunk = decompose(x, how)
    codes = quantize(x, chunk, how)
    assert np.array_equal(
        accumulate_floats(codes, w.codes, chunk, how), accumulate(codes, w.codes, chunk, how).sums
    )


def test_calibration_takes_the_largest_magnitude_and_the_mean_bias() -> None:
    how = Format(groups=3, chunk_rows=2)
    (chunk,) = calibrate([np.array([[0.0, 8.0], [2.0, -8.0]]), np.array([[0.0, 1.0], [4.0, 1.0]])], how)
    assert chunk.bias.tolist() == [1.5, 0.5] and chunk.tmax == 8.0
    assert chunk.group.tolist() == [2, 0]
    (lower,) = calibrate([np.array([[0.0, 8.0], [2.0, -8.0]])], how, round_down=True)
    assert lower.group.tolist() == [2, 1], "scales halve, the largest values clip"


def test_values_beyond_what_was_calibrated_clip() -> None:
    how = Format(bits=4, groups=1, chunk_rows=1)
    known = Chunk(np.zeros(2), np.zeros(2, np.int64), 7.0)
    assert quantize(np.array([[100.0, -100.0]]), known, how).tolist() == [[7, -8]]


def test_unsigned_codes_have_no_bias_and_twice_the_range() -> None:
    how = Format(bits=4, signed=False)
    assert (how.least, how.largest) == (0, 15)
    assert not decompose(np.abs(_outliers(5)), how).bias.any()


@pytest.mark.parametrize(("field", "value"), [("bits", 9), ("alpha", 5), ("groups", 0), ("chunk_rows", 0)])
def test_impossible_formats_are_one_line(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{field}: got {value}, allowed: "):
        replace(Format(), **{field: value})


def test_the_correction_terms_of_attention_undo_the_biases() -> None:
    random = np.random.default_rng(6)
    q, keys, v = (random.standard_normal((48, 32)) + random.standard_normal(32) * 3 for _ in range(3))
    how = Format(chunk_rows=16)
    exact = q @ keys.T
    assert signal_to_noise_db(exact, scores(q, keys, how).y) > 40
    weights = np.exp(exact / 32)
    weights /= weights.sum(axis=1, keepdims=True)
    assert signal_to_noise_db(weights @ v, values(weights, v, how).y) > 35


# ---------------------------------------------------------------------------------------------------- layout


@given(
    k=st.integers(1, 300).map(lambda n: 32 * n),
    groups=st.integers(1, 20),
    profile=st.sampled_from(("outliers", "even")),
)
def test_groups_cover_all_channels_and_aligned_ones_end_at_steps(k: int, groups: int, profile: str) -> None:
    sizes = group_sizes(k, groups, profile)
    moved = aligned(sizes)
    assert sum(sizes) == sum(moved) == k and len(sizes) == len(moved) == groups
    assert all(size % 32 == 0 for size in moved)
    assert len(borders(moved)) == groups - 1 and (np.diff(borders(moved).astype(int)) >= 0).all()
    assert k <= padded_columns(sizes) < k + 32 * groups
    edges = np.cumsum(sizes), np.cumsum(moved)
    assert ((edges[1] >= edges[0]) & (edges[1] - edges[0] < 32)).all(), "channels only join coarser groups"


def test_positions_count_the_borders_that_follow() -> None:
    assert positions((2, 0, 1)).tolist() == [2, 2, 0]


def test_alignment_of_real_channels_only_makes_scales_coarser() -> None:
    how = Format(groups=8)
    before = decompose(_outliers(7), how)
    after = align(before, how, 32)
    assert after.sizes(8) == aligned(before.sizes(8))
    assert (after.group <= before.group).all()


# ---------------------------------------------------------------------------------------------------- baselines


def test_tender_keeps_what_scales_per_tensor_lose() -> None:
    """Without a scale per channel in the sum, within 1 dB of having one."""
    x, w = _outliers(8, 256, 256), np.random.default_rng(9).standard_normal((32, 256))
    found = {name: signal_to_noise_db(x @ w.T, matmul(x, w)) for name, matmul in BASELINES.items()}
    assert found["Tender int8"] > found["int8 per tensor"] + 10
    assert found["Tender int8"] > found["int8 per channel"] - 1
    assert found["Tender int4"] > max(found[f"int4 per {axis}"] for axis in ("tensor", "row"))


def test_integers_round_to_even_and_keep_the_largest() -> None:
    assert symmetric(np.array([[7.0, 2.5, -7.0]]), 4, 1).tolist() == [[7.0, 2.0, -7.0]]


def test_microscaling_formats_keep_what_they_can_write() -> None:
    block = np.resize(np.concatenate((FP4_MAGNITUDES, -FP4_MAGNITUDES)), (2, 32))
    assert np.array_equal(microscaled(block * 8, FP4_MAGNITUDES), block * 8)
    integers = np.resize(np.arange(64.0, 128.0), (1, 32))
    assert np.array_equal(microscaled(integers, None), integers)


def test_ant_chooses_powers_of_two_where_they_are_exact() -> None:
    powers = np.array([[64.0, 1.0, -2.0, 0.0, 32.0]])
    assert np.array_equal(ant(powers, None), powers)


def test_an_outlier_costs_its_neighbour() -> None:
    values_ = np.full((1, 64), 10.0)
    values_[0, 10] = 60.0
    found = olive(values_, None)
    assert found[0, 11] == 0.0 and found[0, 10] > 50 and (found[0, 12:] != 0).all()


def test_nearest_keeps_signs_and_takes_the_smaller_at_ties() -> None:
    assert nearest(np.array([-2.6, 2.5, 9.0]), FP4_MAGNITUDES).tolist() == [-3.0, 2.0, 6.0]
