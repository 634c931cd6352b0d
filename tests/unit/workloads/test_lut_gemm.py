"""Binary-coded weights: what the format can hold, what fitting gains, how words are packed for the tables."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.errors import ConfigError
from workloads.codes import sample_codes
from workloads.operands import draw_weights
from workloads.schemes.base import get_scheme
from workloads.schemes.lut_gemm import from_uniform

SCHEME, W4A16 = get_scheme("lut_gemm"), get_scheme("w4a16")
N, K = 64, 1024


def _normal(seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((N, K), dtype=np.float32)


def test_uniform_codes_are_binary_codes() -> None:
    """(code - 8) * scale is a sum of four signed planes and an offset, exactly."""
    uniform = W4A16.quantize(_normal(1))
    binary = from_uniform(uniform["codes"], uniform["scales"], zero=8, bits=4)
    np.testing.assert_array_equal(SCHEME.dequantize(binary), W4A16.dequantize(uniform))


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_fitted_planes_lose_less_than_even_levels(bits: int) -> None:
    weight = _normal(bits)
    even, fitted = (
        np.square(SCHEME.dequantize(SCHEME.quantize(weight, {"bits": bits, "fit": fit})) - weight).mean()
        for fit in ("uniform", "binary")
    )
    assert fitted < even


def test_signed_words_are_those_of_half_a_table() -> None:
    """A byte i stands for T[i] if its top bit is 0, else for -T[~i]: 7 index bits, the sign in bit 0."""
    codes = np.zeros((4, 64), np.uint8)
    codes[0, :8] = [1, 1, 0, 0, 0, 0, 0, 0]  # byte 0x03: plus T[3]
    codes[1, :8] = [1, 1, 0, 0, 0, 0, 0, 1]  # byte 0x83: minus T[~0x03 & 0x7f]
    scales = np.ones((1, 2, 4), np.float16)
    words = SCHEME.pack({"codes": codes, "scales": scales, "table": np.array(2, np.uint8)})["weights"]
    assert [int(words[row]) & 0xFF for row in range(2)] == [0x03 << 1, 0x7C << 1 | 1]


@pytest.mark.parametrize("codes", ["gaussian", "random"])
def test_drawn_weights_have_the_variance_of_one_over_k(codes: str) -> None:
    weight = SCHEME.dequantize(draw_weights(SCHEME, N, K, {"codes": codes}, seed=2))
    assert weight.var() * K == pytest.approx(1.0, rel=0.03)


def test_random_codes_are_all_alike() -> None:
    codes = draw_weights(SCHEME, N, K, {"codes": "random", "bits": 3}, seed=2)["codes"]
    assert np.ptp(np.bincount(codes.ravel(), minlength=8)) < 0.1 * codes.size / 8


@pytest.mark.parametrize(
    ("options", "matter"),
    [
        ({"table": "private"}, False),  # a lane's table lies in its own bank
        ({"table": "shared", "mu": 6}, False),  # 64 halves are a word per bank
        ({"table": "shared", "mu": 7}, True),
        ({"table": "signed", "mu": 8}, True),
    ],
)
def test_codes_are_drawn_where_lanes_can_meet_in_a_bank(options: dict[str, str | int], matter: bool) -> None:
    assert (sample_codes(SCHEME, N, K, SCHEME.check_options(options)) is not None) == matter


def test_tables_that_were_not_compiled_are_one_line() -> None:
    with pytest.raises(ConfigError, match="no tile of lut_gemm was compiled for these options"):
        catalog.launches("lut_gemm", 1, 64, 1024, {"table": "private", "mu": 5}, load_gpu("h200"))
