"""The functions between the matmuls, against their definitions."""

from __future__ import annotations

import math

import numpy as np

from workloads.accuracy.arrays import erf, gelu, heads_of, joined, layer_norm, rms_norm, silu, softmax

X = np.linspace(-6, 6, 2401, dtype=np.float32)


def test_erf_is_the_error_function() -> None:
    want = np.array([math.erf(each) for each in X.tolist()])
    assert np.abs(erf(X) - want).max() < 5e-7
    assert erf(X).dtype == np.float32


def test_gelu_and_silu_are_their_closed_forms() -> None:
    x = X.astype(np.float64)
    normal = np.array([(1 + math.erf(each / math.sqrt(2))) / 2 for each in x])
    assert np.abs(gelu(X) - x * normal).max() < 2e-6
    assert np.abs(silu(X) - x / (1 + np.exp(-x))).max() < 2e-6
    assert np.allclose(silu(np.array([-1e30, 1e30], np.float32)), [0, 1e30], atol=1e-4)


def test_norms_take_away_mean_and_scale() -> None:
    x = np.random.default_rng(0).standard_normal((4, 64), dtype=np.float32) * 5 + 3
    one, none = np.ones(64, np.float32), np.zeros(64, np.float32)
    normal = layer_norm(x, one, none, 1e-12)
    assert np.allclose(normal.mean(axis=1), 0, atol=1e-6) and np.allclose(normal.std(axis=1), 1, atol=1e-6)
    assert np.allclose(layer_norm(x, 2 * one, one, 1e-12), 2 * normal + 1, atol=1e-5)
    assert np.allclose(np.square(rms_norm(x, one, 1e-12)).mean(axis=1), 1, atol=1e-5)


def test_softmax_survives_large_numbers() -> None:
    assert softmax(np.array([[1e30, 1e30, -np.inf]], np.float32)).tolist() == [[0.5, 0.5, 0.0]]


def test_heads_are_slices_of_the_channels() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 12)
    assert heads_of(x, 3)[1].tolist() == [[4, 5, 6, 7], [16, 17, 18, 19]]
    assert np.array_equal(joined(heads_of(x, 3)), x)
