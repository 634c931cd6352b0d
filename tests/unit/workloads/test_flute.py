"""FLUTE's format: pairs of indices in the order of the mma's operand, tables, scales."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.schemes._tables import CELLS, learned_table, named_table, nearest_codes
from workloads.schemes.base import get_scheme
from workloads.schemes.flute import pack_codes, pack_nibbles, pair_codes

FLUTE = get_scheme("flute")
# QLoRA (arXiv:2305.14314), appendix E, rounded to four digits
NF4 = [-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0]
NF4 += [0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.723, 1.0]


def test_the_normal_table_of_four_bits_is_nf4() -> None:
    np.testing.assert_allclose(named_table("normal", 4), NF4, atol=3e-4)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_tables_rise_from_end_to_end(kind: str, bits: int) -> None:
    table = named_table(kind, bits)
    assert len(table) == 2**bits and table[0] == -1 and table[-1] == 1 and (np.diff(table) > 0).all()


def test_a_learned_table_represents_its_weights_better() -> None:
    weight = np.random.default_rng(0).laplace(size=(64, 512)).astype(np.float32)
    for bits in (2, 3, 4):
        relative = weight / np.abs(weight).reshape(64, 4, -1).max(axis=2).repeat(128, axis=1)
        errors = [
            np.mean((table.astype(np.float64)[nearest_codes(relative, table)] - relative) ** 2)
            for table in (learned_table(weight, 4, bits), named_table("normal", bits))
        ]
        assert errors[0] < 0.95 * errors[1]


def test_codes_are_the_nearest_to_within_a_cell() -> None:
    table, values = named_table("normal", 4), np.linspace(-1, 1, 5001, dtype=np.float32)
    distance = np.abs(values[:, None] - table.astype(np.float32)[None, :])
    chosen = distance[np.arange(len(values)), nearest_codes(values, table)]
    assert (chosen <= distance.min(axis=1) + 2 / CELLS).all()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_lane_finds_its_four_pairs_in_the_bytes_of_a_word(bits: int) -> None:
    """As the kernel takes them apart: byte j is pair j of the step, as an index of the table of pairs."""
    codes = np.random.default_rng(bits).integers(0, 2**bits, (16, 64), np.uint8)
    block = pack_codes(codes, bits).reshape(-1)
    first, second = pair_codes(bits)
    for lane, step, j in ((0, 0, 0), (5, 1, 1), (17, 2, 2), (31, 3, 3), (12, 3, 0)):
        if bits == 4:
            index = int(block[lane * 16 + step * 4 + j])
        else:
            index = int(block[lane * 8 + step // 2 * 4 + j]) >> 4 * (step % 2) & 15
        if bits == 3:
            index |= (int(block[256 + lane * 4 + j]) >> 2 * step & 3) << 4
        row, column = lane // 4 + 8 * (j % 2), 16 * step + 2 * (lane % 4) + 8 * (j // 2)
        assert (first[index], second[index]) == tuple(codes[row, column : column + 2])


def test_a_lane_finds_its_eight_3_bit_indices_in_the_nibbles_of_a_word() -> None:
    """Of steps 0..2 in the upper three bits of each nibble; of step 3, one bit in each of theirs."""
    codes = np.random.default_rng(3).integers(0, 8, (16, 64), np.uint8)
    block = pack_nibbles(codes).reshape(-1)
    for lane, step, j in ((0, 0, 0), (5, 1, 1), (17, 2, 2), (31, 3, 3), (12, 3, 0)):
        words = [int(block[at + j]) for at in (lane * 8, lane * 8 + 4, 256 + lane * 4)]
        nibbles = [(word & 15, word >> 4) for word in words]
        found = (
            [nibble >> 1 for nibble in nibbles[step]]
            if step < 3
            else [sum((nibbles[bit][half] & 1) << bit for bit in range(3)) for half in range(2)]
        )
        row, column = lane // 4 + 8 * (j % 2), 16 * step + 2 * (lane % 4) + 8 * (j // 2)
        assert found == codes[row, column : column + 2].tolist()


def test_the_layout_of_3_bit_indices_is_told_apart_when_unpacking() -> None:
    for layout, shape in (("sliced", (4, 4, 384)), ("nibbles", (4, 4, 3, 128))):
        options = FLUTE.check_options({"bits": 3, "layout": layout})
        operands = FLUTE.draw(np.random.default_rng(0), 64, 256, options)
        packed = FLUTE.pack(operands)
        assert packed["weights"].shape == shape and packed["weights"].nbytes == 64 * 256 * 3 // 8
        back = FLUTE.unpack(packed, 64, 256)
        assert back.keys() == operands.keys()
        assert all(np.array_equal(back[name], operands[name]) for name in back)


def test_random_codes_use_every_entry_alike() -> None:
    options = FLUTE.check_options({"codes": "random"})
    codes = FLUTE.draw(np.random.default_rng(0), 64, 1024, options)["codes"]
    share = np.bincount(codes.ravel(), minlength=16) / codes.size
    np.testing.assert_allclose(share, 1 / 16, atol=0.005)
