"""Groups that end at tensor instructions and orders per chunk: what they cost in accuracy and in time."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from itertools import accumulate as running
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.commands.grouping import Matmul, grouping_costs, order_cost, time_of
from sim.errors import ConfigError
from workloads.tender.decomposition import Format, calibrate, decompose, quantize
from workloads.tender.grouping import grouping_cost, padded, with_maxima
from workloads.tender.integer import accumulate, linear, quantize_weights
from workloads.tender.layout import padded_columns
from workloads.tender.orders import drifting_chunks, order_accuracy, shared_order

MAXIMA = np.exp2(6 * np.random.default_rng(7).random(256) ** 4)  # few large ones


def _columns(sizes: tuple[int, ...]) -> float:
    return float(sum(sizes))


# ------------------------------------------------------------------------------------- aligned groups


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), groups=st.integers(1, 12), step=st.sampled_from((1, 32, 64)))
def test_stepped_groups_end_at_steps_and_clip_nothing(seed: int, groups: int, step: int) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal((16, 192)) * np.exp2(2 * random.standard_normal(192))
    how = Format(groups=groups, chunk_rows=16, step_channels=step)
    free, stepped = decompose(x, replace(how, step_channels=1)), decompose(x, how)
    edges = np.cumsum(stepped.sizes(groups))
    assert all(edge % step == 0 or edge == 192 for edge in edges)
    assert (stepped.group <= free.group).all(), "no channel gets a smaller scale"
    assert stepped.tmax == free.tmax
    error = quantize(x, stepped, how) * stepped.scales(how)[stepped.group] + stepped.bias - x
    assert (np.abs(error) <= stepped.scales(how)[stepped.group] * (0.5 + 1e-9)).all()


def test_calibrated_groups_end_at_steps_too() -> None:
    samples = [np.random.default_rng(n).standard_normal((32, 128)) * MAXIMA[:128] for n in range(3)]
    for chunk in calibrate(samples, Format(groups=6, chunk_rows=16, step_channels=32), round_down=True):
        assert all(edge % 32 == 0 for edge in running(chunk.sizes(6)))


def test_a_step_is_one_channel_or_more() -> None:
    with pytest.raises(ConfigError, match="step_channels: got 0, allowed: 1 or more"):
        Format(step_channels=0)


def test_the_integer_path_of_stepped_groups_is_the_weighted_sum() -> None:
    x = with_maxima(MAXIMA, 16, np.random.default_rng(0))
    how = Format(bits=4, groups=6, chunk_rows=16, step_channels=32)
    chunk = decompose(x, how)
    codes, weights = quantize(x, chunk, how), np.random.default_rng(1).integers(-7, 8, (5, 256))
    worth = 2 ** (5 - chunk.group)
    assert np.array_equal(accumulate(codes, weights, chunk, how).sums, (codes * worth) @ weights.T)


# ------------------------------------------------------------------------------------- padding or alignment


def test_drawn_channels_have_the_given_maxima() -> None:
    x = with_maxima(MAXIMA, 256, np.random.default_rng(3))
    np.testing.assert_allclose(np.abs(x).max(axis=0), MAXIMA)


@pytest.mark.parametrize("step", [32, 64])
def test_padding_costs_columns_and_alignment_costs_accuracy(step: int) -> None:
    how = Format(bits=8, groups=6)
    found = grouping_cost(MAXIMA, how, _columns, step)
    assert found.padded.columns == padded_columns(found.sizes, step) == found.padded.time_us
    assert found.padded.sizes == padded(found.sizes, step)
    assert found.aligned.columns == 256 < found.padded.columns
    assert found.extra_us == found.padded.columns - 256
    assert found.padded_share == pytest.approx(1 - 256 / found.padded.columns)
    assert 0 < found.lost_db < 20
    with pytest.raises(FrozenInstanceError):
        found.step = 1  # type: ignore[misc]


def test_padding_leaves_the_numbers_as_they_are() -> None:
    """Its error is that of groups of any size: zeros add nothing."""
    how = Format(bits=4, groups=5)
    random = np.random.default_rng(0)
    x = with_maxima(MAXIMA, how.chunk_rows, random)
    weight = random.standard_normal((64, 256)) / 16
    noise = np.square(linear(x, quantize_weights(weight, 4), how).y - x @ weight.T).sum()
    want = 10 * np.log10(np.square(x @ weight.T).sum() / noise)
    assert grouping_cost(MAXIMA, how, _columns).padded.sqnr_db == pytest.approx(want)


def test_channels_of_one_magnitude_lose_nothing() -> None:
    found = grouping_cost(np.ones(64), Format(groups=1), _columns)
    assert found.lost_db == 0 and found.extra_us == 0 and found.padded.overflows == 0


def test_int32_does_not_hold_twenty_groups_of_int8() -> None:
    maxima = np.exp2(np.linspace(0, -19, 640))
    assert grouping_cost(maxima, Format(groups=20), _columns).aligned.overflows > 0
    assert grouping_cost(maxima, Format(bits=4, groups=20), _columns).aligned.overflows == 0


@pytest.mark.jit
def test_padded_columns_take_time_on_a_simulated_gpu() -> None:
    maxima = np.exp2(-np.arange(512) / 64)
    (found,) = grouping_costs(Matmul("h200", "tender_w8a8", "software_shift", 64, 256), [maxima], (8,))
    assert found.step == 32 and found.padded.columns > 512
    assert found.extra_us > 0
    assert time_of(Matmul("h200", "tender_w8a8", "ideal", 64, 256))((512,)) < found.aligned.time_us


@pytest.mark.jit
def test_int4_pads_to_its_own_step() -> None:
    matmul = Matmul("h200", "tender_int4", "software_shift", 16, 128, ("int4_tensor_core",))
    (found,) = grouping_costs(matmul, [np.exp2(-np.arange(256) / 64)], (3,))
    assert found.step == 64
    assert all(size % 64 == 0 for size in (*found.padded.sizes, *found.aligned.sizes))


# ------------------------------------------------------------------------------------- one order or many


def _chunks(drift: float, how: Format) -> list[Any]:
    return drifting_chunks(3, 256, how, drift, np.random.default_rng(5))


def test_a_shared_order_has_the_same_groups_everywhere_and_clips_nothing() -> None:
    how = Format(bits=8, groups=6, chunk_rows=32, step_channels=32)
    chunks = _chunks(0.7, how)
    own = [decompose(chunk, how) for chunk in chunks]
    maxima = [np.abs(chunk - each.bias).max(axis=0) for chunk, each in zip(chunks, own, strict=True)]
    shared = shared_order(own, maxima, how)
    assert all(np.array_equal(each.group, shared[0].group) for each in shared)
    assert all(edge % 32 == 0 for edge in running(shared[0].sizes(6)))
    for each, largest in zip(shared, maxima, strict=True):
        limits = each.scales(how)[each.group] * how.largest
        assert (largest <= limits * (1 + 1e-12)).all()
        assert np.isclose(largest, limits).any(), "a smaller scale would clip"


def test_one_order_costs_more_the_more_the_chunks_differ() -> None:
    how = Format(bits=8, groups=8, chunk_rows=64)
    lost = [order_accuracy(_chunks(drift, how), how).lost_db for drift in (0.0, 0.5, 1.0)]
    assert -0.1 < lost[0] < 2 < lost[1] < lost[2]


def test_one_chunk_has_its_own_order() -> None:
    how = Format(bits=4, groups=4, chunk_rows=64)
    found = order_accuracy(_chunks(1.0, how)[:1], how)
    assert found.chunks == 1 and found.lost_db == pytest.approx(0, abs=0.3)


@pytest.mark.jit
def test_an_indexed_order_costs_the_producer_time() -> None:
    found = order_cost("h200", 256, 4096)
    assert found.plain_us < found.scatter_us < found.gather_us
    assert found.gather_extra_us == found.gather_us - found.plain_us
