"""The unquantized baseline."""

from __future__ import annotations

import numpy as np
import pytest

from sim.errors import ConfigError
from workloads.schemes.base import get_scheme
from workloads.schemes.fp16 import SCHEME


def test_weights_are_rounded_to_half_row_major() -> None:
    weight = np.arange(64, dtype=np.float32).reshape(8, 8).T + np.float32(1 / 3)
    packed = SCHEME.pack(SCHEME.quantize(weight))["weights"]
    assert packed.dtype == np.float16 and packed.flags.c_contiguous
    np.testing.assert_array_equal(packed, weight.astype(np.float16))


def test_halves_pass_unchanged() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float16)
    np.testing.assert_array_equal(SCHEME.dequantize(SCHEME.quantize(weight)), weight.astype(np.float64))


def test_compulsory_bytes_by_hand() -> None:
    assert SCHEME.compulsory_bytes(2, 8, 16) == 2 * (2 * 16 + 8 * 16 + 2 * 8)


@pytest.mark.parametrize(("n", "k", "letter"), [(8, 4095, "K"), (8, 12, "K"), (9, 16, "N")])
def test_rows_must_be_aligned(n: int, k: int, letter: str) -> None:
    with pytest.raises(ConfigError, match=f"{letter} must be a multiple of 8"):
        SCHEME.check_shape(1, n, k)


def test_it_has_no_options() -> None:
    with pytest.raises(ConfigError, match="unknown option of fp16 'group_size'"):
        SCHEME.check_options({"group_size": 128})


def test_near_scheme_name_is_offered() -> None:
    with pytest.raises(ConfigError, match=r"unknown scheme 'fp17'\. Did you mean 'fp16'"):
        get_scheme("fp17")


@pytest.mark.parametrize("name", ["base", "__init__", "../fp16", "", "fp16.py", "operands"])
def test_only_scheme_modules_are_schemes(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown scheme"):
        get_scheme(name)
