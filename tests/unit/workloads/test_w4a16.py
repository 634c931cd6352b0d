"""INT4 packing and quantization against loops that follow the documented layout word by word."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import ConfigError
from workloads.schemes.w4a16 import SCHEME, pack_codes, unpack_codes

Codes = npt.NDArray[np.uint8]


def _random_codes(n: int, k: int, seed: int) -> Codes:
    return np.random.default_rng(seed).integers(0, 16, (n, k), dtype=np.uint8)


def _fragment(codes: Codes, row: int, column: int, lane: int) -> list[tuple[int, int]]:
    """Pairs of codes in the four registers of one lane's A fragment (PTX ISA, mma.m16n8k16)."""
    g, t = lane >> 2, lane & 3
    places = [(g, 2 * t), (g + 8, 2 * t), (g, 2 * t + 8), (g + 8, 2 * t + 8)]
    return [(int(codes[row + r, column + c]), int(codes[row + r, column + c + 1])) for r, c in places]


@pytest.mark.parametrize(("n", "k"), [(16, 64), (16, 192), (48, 64), (64, 256)])
def test_every_word_gives_its_fragment(n: int, k: int) -> None:
    codes = _random_codes(n, k, seed=n + k)
    memory = pack_codes(codes).tobytes()
    assert len(memory) == n * k // 2
    for n_block in range(n // 16):
        for k_block in range(k // 64):
            for lane in range(32):
                for step in range(4):
                    offset = (n_block * (k // 64) + k_block) * 512 + lane * 16 + step * 4
                    word = int.from_bytes(memory[offset : offset + 4], "little")
                    registers = [(word >> (4 * j)) & 0x000F000F for j in range(4)]
                    expected = _fragment(codes, 16 * n_block, 64 * k_block + 16 * step, lane)
                    assert [(r & 0xFFFF, r >> 16) for r in registers] == expected


def test_one_code_by_hand() -> None:
    """Row 9, column 21: step 1, g = 1, +8 in n; of the step column 5, the second of the pair of t = 2."""
    codes = np.zeros((16, 64), np.uint8)
    codes[9, 21] = 0xA
    words = pack_codes(codes)
    assert words.shape == (1, 1, 32, 4)
    assert words[0, 0, 1 * 4 + 2, 1] == 0xA << (16 + 4)
    assert np.count_nonzero(words) == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_codes_round_trip(n_blocks: int, k_blocks: int, seed: int) -> None:
    codes = _random_codes(16 * n_blocks, 64 * k_blocks, seed)
    np.testing.assert_array_equal(unpack_codes(pack_codes(codes), *codes.shape), codes)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([64, 128, 256, -1]),
    st.integers(0, 2**32 - 1),
    st.floats(1e-6, 1e4),
    st.sampled_from([np.float16, np.float32]),
)
def test_no_weight_is_off_by_more_than_half_a_scale(
    group: int, seed: int, magnitude: float, dtype: type
) -> None:
    """But for the rounding of 7.5 scales to float16: 2^-11 relative, 2^-25 absolute where subnormal."""
    n, k = 16, 512
    weight: npt.NDArray[np.floating] = (
        np.random.default_rng(seed).uniform(-magnitude, magnitude, (n, k)).astype(dtype)
    )
    operands = SCHEME.quantize(weight, {"group_size": group})
    columns = k if group == -1 else group
    scale = np.repeat(operands["scales"].astype(np.float64).T, columns, axis=1)
    error = np.abs(SCHEME.dequantize(operands) - weight.astype(np.float64))
    assert np.all(error <= 0.5 * scale + 7.5 * np.maximum(scale * 2.0**-11, 2.0**-25) + 1e-6 * scale)


@pytest.mark.parametrize("group", [64, 128, 256, -1])
def test_scales_stand_by_group_then_row(group: int) -> None:
    """Powers of two per (row, group) survive exactly, each at [group, row]."""
    n, k = 32, 512
    columns = k if group == -1 else group
    groups = k // columns
    exponent = (np.arange(n)[:, None] + 3 * np.arange(groups)[None, :]) % 13 - 6.0
    weight = np.repeat(2.0**exponent * 7.5, columns, axis=1).astype(np.float32)
    operands = SCHEME.quantize(weight, {"group_size": group})
    assert operands["scales"].shape == (groups, n)
    np.testing.assert_array_equal(operands["scales"], (2.0**exponent.T).astype(np.float16))
    assert operands["codes"].min() == operands["codes"].max() == 15


def test_dequantize_is_code_minus_eight_times_scale() -> None:
    codes, scales = _random_codes(16, 128, 7), np.arange(1, 33, dtype=np.float16).reshape(2, 16)
    weight = SCHEME.dequantize({"codes": codes, "scales": scales})
    for row, column in ((0, 0), (15, 127), (3, 63), (3, 64)):
        assert weight[row, column] == (int(codes[row, column]) - 8) * float(scales[column // 64, row])


def test_zeros_stay_zeros() -> None:
    operands = SCHEME.quantize(np.zeros((16, 128), np.float32))
    assert np.all(operands["codes"] == 8)
    assert np.all(operands["scales"] > 0)
    assert not SCHEME.dequantize(operands).any()


def test_largest_weight_keeps_eight_scales_finite_in_half() -> None:
    operands = SCHEME.quantize(np.full((16, 128), -61410, np.float32))
    assert np.isfinite(operands["scales"] * np.float16(8)).all()


@pytest.mark.parametrize(
    ("n", "k", "options", "message"),
    [
        (64, 4095, {}, "K must be a multiple of 64; got 4095"),
        (64, 192, {}, r"K must be a multiple of 128 \(the group size\); got 192"),
        (64, 128, {"group_size": 256}, r"K must be a multiple of 256 \(the group size\); got 128"),
        (24, 128, {}, "N must be a multiple of 16; got 24"),
        (64, 96, {"group_size": -1}, "K must be a multiple of 64; got 96"),
    ],
)
def test_shapes_that_do_not_pack(n: int, k: int, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SCHEME.check_shape(1, n, k, options)


def test_shapes_that_just_pack() -> None:
    SCHEME.check_shape(1, 16, 64, {"group_size": 64})
    SCHEME.check_shape(1, 16, 192, {"group_size": -1})
    SCHEME.check_shape(1, 16, 320, {"group_size": 64})


@pytest.mark.parametrize(
    ("group", "expected"),
    [(128, 2 * 16 * 4096 + 4096**2 // 2 + 2 * 32 * 4096 + 2 * 16 * 4096), (-1, 4 * 65536 + 8388608 + 8192)],
)
def test_compulsory_bytes_by_hand(group: int, expected: int) -> None:
    assert SCHEME.compulsory_bytes(16, 4096, 4096, {"group_size": group}) == expected


def test_wrong_group_size_names_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="option group_size: got 100, allowed: 64, 128, 256, -1"):
        SCHEME.check_options({"group_size": 100})


def test_near_option_name_is_offered() -> None:
    with pytest.raises(ConfigError, match=r"unknown option of w4a16 'groupsize'\. Did you mean 'group_size'"):
        SCHEME.check_options({"groupsize": 64})


@pytest.mark.parametrize("weight", [np.zeros(64, np.float32), np.zeros((16, 128), int), np.zeros((0, 128))])
def test_only_float_matrices_are_weights(weight: npt.NDArray[Any]) -> None:
    with pytest.raises(ConfigError, match="allowed: a float matrix"):
        SCHEME.quantize(weight)
