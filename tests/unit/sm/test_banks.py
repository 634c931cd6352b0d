"""Wavefronts of shared-memory accesses: Nsight Compute's readings on an H200, and the rule's corners."""

import numpy as np
import pytest

from sim.arch.load import load_gpu
from sim.arch.spec import SharedMemory
from sim.sm.banks import (
    LANES,
    LOAD,
    MATRIX,
    STORE,
    bank_words,
    ideal_wavefronts,
    wavefronts,
    without_conflicts,
)

MEMORY = load_gpu("h200").sm.shared_memory

# l1tex__data_pipe_lsu_wavefronts_mem_shared_op_ld.sum of one instruction: bytes -> stride -> wavefronts
READINGS = {
    4: {4: 1, 8: 2, 16: 4, 32: 8, 64: 16, 128: 32, 132: 1, 144: 4},
    8: {0: 1, 8: 2, 16: 4, 32: 8, 64: 16, 128: 32, 144: 4},
    16: {0: 2, 16: 4, 32: 8, 64: 16, 128: 32, 144: 4},
}
CASES = [(size, stride, waves) for size, row in READINGS.items() for stride, waves in row.items()]


def pattern(size: int, kind: int, offsets: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([[size, kind, *offsets, *[-1] * (LANES - len(offsets))]], np.int32)


def strided(size: int, stride: int, kind: int = LOAD, lanes: int = LANES) -> np.ndarray:  # type: ignore[type-arg]
    return pattern(size, kind, [lane * stride for lane in range(lanes)])


def hardware(banks: int = 32, bank_bytes: int = 4) -> SharedMemory:
    return MEMORY.model_copy(update={"banks": banks, "bank_bytes": bank_bytes})


@pytest.mark.parametrize(("size", "stride", "waves"), CASES)
def test_loads_as_read_by_nsight_compute(size: int, stride: int, waves: int) -> None:
    assert wavefronts(strided(size, stride), MEMORY).tolist() == [waves]


@pytest.mark.parametrize(("rows", "waves"), [(8, 1), (16, 2), (32, 4)])
def test_matrix_loads_take_one_wavefront_per_eight_rows(rows: int, waves: int) -> None:
    linear = strided(16, 16, MATRIX, rows)
    assert wavefronts(linear, MEMORY).tolist() == ideal_wavefronts(linear, MEMORY).tolist() == [waves]
    assert wavefronts(strided(16, 128, MATRIX, rows), MEMORY).tolist() == [8 * waves]


@pytest.mark.parametrize(("size", "ideal"), [(1, 1), (2, 1), (4, 1), (8, 2), (16, 4)])
def test_ideal_by_width(size: int, ideal: int) -> None:
    assert ideal_wavefronts(strided(size, 128), MEMORY).tolist() == [ideal]


def test_uniform_loads_have_no_conflict() -> None:
    for size in (4, 8, 16):
        same = strided(size, 0)
        assert wavefronts(same, MEMORY).tolist() == ideal_wavefronts(same, MEMORY).tolist()


def test_lanes_of_one_word_share_it() -> None:
    bytes_of_a_row = strided(1, 1)
    halves_of_two_words = pattern(2, LOAD, [lane % 2 * 2 for lane in range(LANES)])
    assert (
        wavefronts(bytes_of_a_row, MEMORY).tolist() == wavefronts(halves_of_two_words, MEMORY).tolist() == [1]
    )


def test_pair_merge_is_for_loads_alone() -> None:
    pairs = [lane // 2 * 8 for lane in range(LANES)]
    others = [(lane // 4 * 2 + lane % 2) * 8 for lane in range(LANES)]
    assert wavefronts(pattern(8, LOAD, pairs), MEMORY).tolist() == [1]
    assert wavefronts(pattern(8, LOAD, others), MEMORY).tolist() == [1]
    assert wavefronts(pattern(8, STORE, pairs), MEMORY).tolist() == [2]
    broken = [*pairs[:-1], pairs[-1] + 8]
    assert wavefronts(pattern(8, LOAD, broken), MEMORY).tolist() == [2]


def test_inactive_lanes_ask_for_nothing() -> None:
    nobody = pattern(16, LOAD, [])
    assert wavefronts(nobody, MEMORY).tolist() == ideal_wavefronts(nobody, MEMORY).tolist() == [0]
    first_phase = strided(16, 16, STORE, lanes=8)
    assert wavefronts(first_phase, MEMORY).tolist() == ideal_wavefronts(first_phase, MEMORY).tolist() == [1]


def test_more_and_wider_banks() -> None:
    assert wavefronts(strided(4, 128), hardware(banks=64)).tolist() == [16]
    assert wavefronts(strided(16, 16), hardware(banks=64)).tolist() == [2]
    assert wavefronts(strided(16, 16), hardware(bank_bytes=8)).tolist() == [2]
    assert wavefronts(strided(4, 4), hardware(bank_bytes=8)).tolist() == [1]
    assert wavefronts(strided(4, 4), hardware(banks=16)).tolist() == [2]


def test_wavefronts_against_a_plain_count() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        size = int(rng.choice([4, 8, 16]))
        offsets = [int(v) * size if v >= 0 else -1 for v in rng.integers(-1, 64, LANES)]
        banks = int(rng.choice([8, 32, 64]))
        lanes = max(1, min(LANES, banks * 4 // size))
        expected = 0
        for first in range(0, LANES, lanes):
            asked: dict[int, set[int]] = {}
            for offset in [v for v in offsets[first : first + lanes] if v >= 0]:
                for word in range(offset // 4, (offset + size) // 4):
                    asked.setdefault(word % banks, set()).add(word)
            expected += max((len(words) for words in asked.values()), default=0)
        assert wavefronts(pattern(size, STORE, offsets), hardware(banks)).tolist() == [expected]


def test_bank_words_of_a_column_of_a_matrix() -> None:
    column = bank_words(strided(4, 128)[0], MEMORY)
    assert column.tolist() == [32] + [0] * 31
    assert bank_words(strided(16, 16)[0], MEMORY).tolist() == [4] * 32


def test_without_conflicts_an_access_takes_the_ideal_wavefronts() -> None:
    random = np.random.default_rng(0)
    patterns = np.full((300, 34), -1, np.int32)
    patterns[:, 0] = random.choice([2, 4, 8, 16], 300)
    patterns[:, 1] = random.integers(0, 2, 300)
    active = random.random((300, 32)) < 0.8
    patterns[:, 2:] = np.where(active, random.integers(0, 64, (300, 32)) * patterns[:, :1], -1)
    beside = without_conflicts(patterns, MEMORY)
    assert (wavefronts(patterns, MEMORY) > ideal_wavefronts(patterns, MEMORY)).any()
    assert np.array_equal(wavefronts(beside, MEMORY), ideal_wavefronts(patterns, MEMORY))
    assert np.array_equal(beside[:, 2:] >= 0, active) and np.array_equal(beside[:, :2], patterns[:, :2])
