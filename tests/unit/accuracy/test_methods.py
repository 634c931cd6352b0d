"""The methods behind one interface: Tender's fast sums are its hardware's, the others keep what they say they keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import ConfigError
from workloads.accuracy.arrays import softmax
from workloads.accuracy.methods import (
    FP32,
    Method,
    Site,
    method,
    methods,
    plain_scores,
    plain_values,
    tender,
    tender_name,
)
from workloads.schemes.base import get_scheme
from workloads.tender import integer
from workloads.tender.baselines import BASELINES, signal_to_noise_db
from workloads.tender.decomposition import ALPHAS, Format, decompose, quantize

CENTRED, UNSIGNED = Site("mlp_input"), Site("mlp_output", signed=False, centred=False)


def drawn(seed: int = 0, m: int = 70, n: int = 64, k: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw activations with a few large channels, and weights."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((m, k), dtype=np.float32)
    x[:, ::50] *= 30
    return x + np.float32(0.3), generator.standard_normal((n, k), dtype=np.float32)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(ALPHAS),
    st.integers(1, 24),
    st.sampled_from([4, 8]),
    st.booleans(),
    st.integers(8, 32),
)
def test_one_matmul_has_the_sums_of_a_wrapping_accumulator_bit_for_bit(
    seed: int, alpha: int, groups: int, bits: int, signed: bool, width: int
) -> None:
    """Also where they wrap, and where float64 could not hold them and the steps are taken."""
    x, w = drawn(seed, 9, 5, 64)
    how = Format(bits=bits, groups=groups, alpha=alpha, signed=signed, bias=signed, chunk_rows=9)
    chunk = decompose(x.astype(np.float64) if signed else np.abs(x).astype(np.float64), how)
    codes = quantize(np.abs(x).astype(np.float64), chunk, how)
    weights = integer.quantize_weights(w.astype(np.float64), bits).codes
    held = integer.Accumulator(width)
    fast = integer.accumulate_at_once(codes, weights, chunk, how, held)
    assert np.array_equal(fast.sums, integer.accumulate(codes, weights, chunk, how, held).sums)


@pytest.mark.parametrize("site", [CENTRED, UNSIGNED])
@pytest.mark.parametrize(("bits", "groups"), [(8, 8), (4, 8), (8, 20)])
def test_tender_is_its_integer_path(site: Site, bits: int, groups: int) -> None:
    x, w = drawn()
    x = x if site.signed else np.abs(x)
    stepwise = tender(bits, groups, True, integer.accumulate)
    fast = tender(bits, groups, True)
    assert np.array_equal(stepwise.linear(x, w, site), fast.linear(x, w, site))
    heads = np.stack(np.split(x, 4, axis=1))
    p = softmax(plain_scores(heads, heads) / 8)
    assert np.array_equal(stepwise.scores(heads, heads), fast.scores(heads, heads))
    assert np.array_equal(stepwise.values(p, heads), fast.values(p, heads))


def test_what_is_never_negative_gets_a_bit_more() -> None:
    """After a ReLU signed codes leave half of themselves unused: unsigned ones are worth 6 dB."""
    x, w = drawn()
    x, w = np.abs(x), np.rint(20 * w).clip(-127, 127)
    w[:, 0] = 127  # a scale of 1 for each output: its weights are exact
    sites = (UNSIGNED, Site("mlp_output", centred=False))
    unsigned, signed = (signal_to_noise_db(x @ w.T, tender(8, 8).linear(x, w, site)) for site in sites)
    assert unsigned == pytest.approx(signed + 6, abs=0.5)


def test_int32_wraps_with_too_many_groups() -> None:
    """127 * 127 * 2^19 * 256 is far beyond INT32: with 20 groups of INT8, the output is noise."""
    x, w = drawn()
    levels = [signal_to_noise_db(x @ w.T, tender(8, groups).linear(x, w, CENTRED)) for groups in (8, 20)]
    assert levels[0] > 30 and levels[1] < 3


def test_attention_in_integers_is_near_the_float_one() -> None:
    q, k, v = np.random.default_rng(0).standard_normal((3, 2, 40, 32), dtype=np.float32)
    p = softmax(plain_scores(q, k))
    whole = tender(8, 4, True)
    assert signal_to_noise_db(plain_scores(q, k), whole.scores(q, k)) > 30
    assert signal_to_noise_db(plain_values(p, v), whole.values(p, v)) > 30
    assert np.array_equal(tender(8, 4).scores(q, k), plain_scores(q, k))


@pytest.mark.parametrize("name", list(methods()))
def test_every_method_multiplies_normal_numbers_as_well_as_its_bits_allow(name: str) -> None:
    generator = np.random.default_rng(3)
    x = generator.standard_normal((33, 256), dtype=np.float32)
    w = generator.standard_normal((48, 256), dtype=np.float32)
    how = methods()[name]
    got = how.linear(x, w, CENTRED)
    assert got.shape == (33, 48) and got.dtype == np.float32
    level = signal_to_noise_db(x @ w.T, got)
    least = {3: 12, 4: 12, 8: 35, 16: 60}[int(min(how.weight_bits, how.activation_bits))]
    assert level > least


def test_weight_only_methods_multiply_what_their_kernels_scheme_stores() -> None:
    x, w = drawn()
    flute = get_scheme("flute")
    held = flute.dequantize(flute.quantize(w)).astype(np.float32)
    exact = x.astype(np.float16).astype(np.float32) @ held.T
    assert np.allclose(method("nf4_g128").linear(x, w, CENTRED), exact, rtol=1e-5, atol=1e-4)
    assert method("w4a16_g128").weight_bits == 4 + 16 / 128


def test_float32_baselines_are_the_float64_ones() -> None:
    x, w = drawn()
    names = {"int8_per_row": "int8 per row", "mxfp4": "MXFP4", "smoothquant_int4": "SmoothQuant int4"}
    for mine, theirs in names.items():
        want = BASELINES[theirs](x.astype(np.float64), w.astype(np.float64))
        assert signal_to_noise_db(want, method(mine).linear(x, w, CENTRED)) > 50


def test_names_of_tender_say_bits_groups_and_whether_attention_too() -> None:
    assert tender_name(4, 14, True) == "tender_int4_g14_all"
    found = method("tender_int4_g14_all")
    assert isinstance(found, Method) and found.weight_bits == 4 and found.scores is not plain_scores
    assert FP32.name not in methods()


@pytest.mark.parametrize("name", ["tender_int3_g8", "tender_int8_g0", "tender_int8_g100", "int9", ""])
def test_what_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--schemes: unknown scheme"):
        method(name, "--schemes")
