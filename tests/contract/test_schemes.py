"""What every scheme in workloads/schemes must be true to, found by discovery."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from sim.errors import ConfigError
from sim.isa.launch import BYTE_ROLES
from workloads.operands import random_operands
from workloads.schemes.base import available_schemes, get_scheme

M, N, K = 3, 64, 1024


MOST_CHOICES = 24


def _choices(name: str) -> list[dict[str, Any]]:
    """Every combination of a scheme's options; of many, the defaults with each option changed."""
    options = get_scheme(name).options
    every = [
        dict(zip([option.name for option in options], values, strict=True))
        for values in itertools.product(*(option.allowed for option in options))
    ]
    if len(every) <= MOST_CHOICES:
        return every
    defaults = get_scheme(name).check_options({})
    changed = [{**defaults, option.name: value} for option in options for value in option.allowed]
    return [defaults, *(choice for choice in changed if choice != defaults)]


NAMES = available_schemes()
CASES = [pytest.param(name, choice, id=f"{name}-{choice}") for name in NAMES for choice in _choices(name)]


def test_schemes_are_found() -> None:
    assert {"fp16", "w4a16"} <= set(NAMES)
    assert "base" not in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_describes_itself(name: str) -> None:
    scheme = get_scheme(name)
    assert scheme.name == name
    assert scheme.doc and scheme.input_type and scheme.weight_bits > 0
    assert len({option.name for option in scheme.options}) == len(scheme.options)
    for option in scheme.options:
        assert option.doc
        assert option.default in option.allowed
        assert {type(choice) for choice in option.allowed} == {type(option.default)}


@pytest.mark.parametrize("name", NAMES)
def test_defaults_fill_in(name: str) -> None:
    scheme = get_scheme(name)
    expected = {option.name: option.default for option in scheme.options}
    assert scheme.check_options() == scheme.check_options({}) == scheme.check_options(expected) == expected


@pytest.mark.parametrize("name", NAMES)
def test_options_as_text_become_values(name: str) -> None:
    scheme = get_scheme(name)
    for option in scheme.options:
        for choice in option.allowed:
            checked = scheme.check_options({option.name: str(choice).lower()})[option.name]
            assert checked == choice and type(checked) is type(choice)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [{"no_such_option": 1}, {"": None}])
def test_unknown_options_are_one_line(name: str, bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"unknown option of {name}") as caught:
        get_scheme(name).check_options(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_values_not_allowed_are_one_line(name: str) -> None:
    scheme = get_scheme(name)
    for option in scheme.options:
        values: tuple[Any, ...] = (None, 3.5, "no such value", [1], float("nan"), {})
        for bad in values:
            with pytest.raises(ConfigError, match=rf"option {option.name}: got .*, allowed: ") as caught:
                scheme.check_options({option.name: bad})
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(0, N, K), (M, 0, K), (M, N, 0), (-1, N, K), (M, N, 2**21), (2**20, 2**20, K), (10**400, N, K)],
)
def test_impossible_sizes_are_one_line(name: str, m: int, n: int, k: int) -> None:
    with pytest.raises(ConfigError, match=r"must be .*; got ") as caught:
        get_scheme(name).check_shape(m, n, k)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [True, 64.0, "64", None])
def test_sizes_are_whole_numbers(name: str, size: Any) -> None:
    with pytest.raises(ConfigError, match="M must be a whole number"):
        get_scheme(name).check_shape(size, N, K)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_pack_round_trips(name: str, options: dict[str, Any]) -> None:
    scheme = get_scheme(name)
    operands = random_operands(scheme, M, N, K, options, seed=1).quantized
    back = scheme.unpack(scheme.pack(operands), N, K)
    assert back.keys() == operands.keys()
    for key, array in operands.items():
        assert back[key].dtype == array.dtype and back[key].shape == array.shape
        np.testing.assert_array_equal(back[key], array)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_packed_arrays_are_the_compulsory_bytes(name: str, options: dict[str, Any]) -> None:
    scheme = get_scheme(name)
    operands = random_operands(scheme, M, N, K, options)
    assert set(operands.arrays) <= {*BYTE_ROLES, "table"}
    assert all(array.flags.c_contiguous for array in operands.arrays.values())
    inputs = sum(array.nbytes for array in operands.arrays.values())
    assert scheme.compulsory_bytes(M, N, K, options) == inputs + 2 * M * N


@pytest.mark.parametrize(("name", "options"), CASES)
def test_reference_is_the_sum_of_products(name: str, options: dict[str, Any]) -> None:
    scheme = get_scheme(name)
    operands = random_operands(scheme, M, N, K, options, seed=2)
    weight, result = scheme.dequantize(operands.quantized), operands.reference()
    assert weight.dtype == result.dtype == np.float64
    assert weight.shape == (N, K) and result.shape == (M, N)
    for row, column in ((0, 0), (M - 1, 1), (1, N - 1)):
        terms = zip(operands.x[row].tolist(), weight[column].tolist(), strict=True)
        assert result[row, column] == pytest.approx(sum(x * w for x, w in terms), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_quantization_keeps_most_of_the_result(name: str, options: dict[str, Any]) -> None:
    """Random weights are the hardest case; still no scheme may lose half of the signal."""
    scheme = get_scheme(name)
    weight = np.random.default_rng(3).standard_normal((N, K), dtype=np.float32)
    before = weight.copy()
    error = scheme.dequantize(scheme.quantize(weight, options)) - weight
    np.testing.assert_array_equal(weight, before)
    binary = options.get("bits") == 1  # the best two levels for normal weights lose sqrt(1 - 2 / pi) = 0.60
    assert np.sqrt(np.mean(error**2)) < (0.65 if binary else 0.5)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_same_seed_same_bits(name: str, options: dict[str, Any]) -> None:
    first, again, other = (
        random_operands(get_scheme(name), M, N, K, options, seed).arrays for seed in (4, 4, 5)
    )
    assert all(first[key].tobytes() == again[key].tobytes() for key in first)
    assert any(first[key].tobytes() != other[key].tobytes() for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_flops_are_two_per_term(name: str) -> None:
    assert get_scheme(name).flops(3, 5, 7) == 2 * 3 * 5 * 7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_weights_beyond_the_format_are_refused(name: str, value: float) -> None:
    weight = np.zeros((N, K), np.float32)
    weight[1, 2] = value
    with pytest.raises(ConfigError, match=r"weights: got magnitude (nan|inf|1e\+30), allowed: up to"):
        get_scheme(name).quantize(weight)
