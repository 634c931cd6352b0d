"""Expected wavefronts of random look-ups: against counting by hand, published means, and drawn look-ups."""

from __future__ import annotations

import numpy as np
import pytest

from sim.arch.load import load_gpu
from sim.arch.spec import SharedMemory
from sim.sm.banks import LOAD, wavefronts
from sim.sm.expectation import Table, expected_wavefronts

DRAWS, SIGMAS = 20_000, 5


def _memory(banks: int = 32, bank_bytes: int = 4) -> SharedMemory:
    changes = (f"sm.shared_memory.banks={banks}", f"sm.shared_memory.bank_bytes={bank_bytes}")
    return load_gpu("h200", changes).sm.shared_memory


def _equally(entries: int) -> np.ndarray:
    return np.full(entries, 1 / entries)


@pytest.mark.parametrize("entries", [1, 16, 32])
def test_a_word_per_bank_never_conflicts(entries: int) -> None:
    assert expected_wavefronts(_equally(entries), Table(4, 4), _memory()) == 1


def test_two_words_of_one_bank_conflict_unless_all_lanes_draw_the_same() -> None:
    chances = np.zeros(33)
    chances[[0, 32]] = 0.9, 0.1  # words 0 and 32 lie in bank 0
    assert expected_wavefronts(chances, Table(4, 4), _memory()) == pytest.approx(
        2 - 0.9**32 - 0.1**32, rel=1e-12
    )


def test_words_of_one_bank_cost_as_many_wavefronts_as_are_drawn() -> None:
    chances = np.zeros(97)
    chances[[0, 32, 64, 96]] = 0.25
    assert expected_wavefronts(chances, Table(4, 4), _memory()) == pytest.approx(
        4 * (1 - 0.75**32), rel=1e-12
    )


def test_halves_share_their_words() -> None:
    whole = expected_wavefronts(_equally(128), Table(4, 4), _memory())
    assert expected_wavefronts(_equally(256), Table(2, 2), _memory()) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("banks", [32, 64, 128])
def test_a_copy_in_every_lanes_own_bank_never_conflicts(banks: int) -> None:
    assert expected_wavefronts(_equally(256), Table(4, 256, 32), _memory(banks)) == 1


def test_banks_of_two_lanes_words_conflict_unless_both_draw_the_same() -> None:
    """Two lanes' copies lie in a bank of 8 bytes; all 16 pairs must agree for one wavefront."""
    expected = expected_wavefronts([0.5, 0.5], Table(4, 256, 32), _memory(32, 8))
    assert expected == pytest.approx(2 - 0.5**16, rel=1e-12)


def test_half_as_many_banks_take_two_phases() -> None:
    assert expected_wavefronts(_equally(16), Table(4, 4), _memory(16)) == 2


@pytest.mark.parametrize(
    ("entries", "table", "mean"),
    [
        (256, Table(4, 4), 3.15),  # FLUTE's pairs of 4 bits: one table, and copies of it
        (256, Table(4, 8, 2), 3.28),
        (256, Table(4, 32, 8), 2.93),
        (256, Table(4, 64, 16), 2.00),
        (64, Table(4, 4), 2.00),
        (256, Table(2, 2), 2.78),  # LUT-GEMM's halves, mu = 8
    ],
)
def test_the_means_that_others_found_by_drawing(entries: int, table: Table, mean: float) -> None:
    assert expected_wavefronts(_equally(entries), table, _memory()) == pytest.approx(mean, abs=0.005)


@pytest.mark.jit
@pytest.mark.parametrize("banks", [(16, 4), (32, 4), (64, 4), (32, 8)])
@pytest.mark.parametrize("table", [Table(4, 4), Table(2, 2), Table(8, 8), Table(4, 32, 8), Table(4, 256, 32)])
def test_drawn_lookups_have_that_mean(table: Table, banks: tuple[int, int]) -> None:
    random, memory = np.random.default_rng(0), _memory(*banks)
    chances = random.random(256) ** 3
    chances /= chances.sum()
    entries = random.choice(256, (DRAWS, 32), p=chances)
    offsets = entries * table.stride_bytes + np.arange(32) % table.copies * table.access_bytes
    head = np.tile((table.access_bytes, LOAD), (DRAWS, 1))
    waves = wavefronts(np.hstack([head, offsets]).astype(np.int32), memory)
    error = SIGMAS * max(waves.std(), 0.01) / DRAWS**0.5
    assert expected_wavefronts(chances, table, memory) == pytest.approx(waves.mean(), abs=error)
