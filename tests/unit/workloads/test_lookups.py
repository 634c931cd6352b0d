"""How often codes ask for the entries of a table, against the packed bytes that a kernel indexes with."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.lookups import entries_asked, entries_equally
from workloads.operands import draw_weights
from workloads.schemes._lut_packing import to_signed, words
from workloads.schemes.base import get_scheme

N, K = 64, 256
FLUTE, LUT_GEMM = get_scheme("flute"), get_scheme("lut_gemm")


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_flute_asks_for_the_entry_with_its_two_codes(bits: int) -> None:
    options = FLUTE.check_options({"bits": bits})
    operands = draw_weights(FLUTE, N, K, options, 0)
    (asked,) = entries_asked("flute", operands, options)
    table = FLUTE.pack(operands)["table"].astype(np.float64)
    values = operands["table"].astype(np.float64)[operands["codes"]]
    assert asked.share == 1 and asked.chances.sum() == pytest.approx(1)
    mean = asked.chances @ table  # of the first and the second of all pairs
    assert np.allclose(mean, [values[:, 0::2].mean(), values[:, 1::2].mean()])


@pytest.mark.parametrize("table", ["shared", "signed"])
def test_lut_gemm_asks_for_the_bytes_of_its_words(table: str) -> None:
    options = LUT_GEMM.check_options({"bits": 3, "table": table})
    codes = draw_weights(LUT_GEMM, N, K, options, 0)["codes"]
    kinds = entries_asked("lut_gemm", {"codes": codes}, options)
    packed = words(codes, 3) if table == "shared" else to_signed(words(codes, 3)) >> 1 & 0x7F7F7F7F
    for plane, asked in enumerate(kinds):
        index = np.ascontiguousarray(packed[plane]).view(np.uint8)
        assert np.array_equal(
            asked.chances, np.bincount(index.ravel(), minlength=len(asked.chances)) / index.size
        )
    assert len(kinds) == 3 and sum(asked.share for asked in kinds) == pytest.approx(1)


def test_the_last_index_of_a_word_has_the_columns_that_are_left() -> None:
    kinds = entries_equally("lut_gemm", LUT_GEMM.check_options({"table": "shared", "mu": 7}))
    assert {len(asked.chances): asked.share for asked in kinds} == {128: 0.8, 16: 0.2}


@pytest.mark.parametrize(
    ("scheme", "chosen"), [("flute", {"bits": 2}), ("lut_gemm", {"bits": 2, "table": "signed", "mu": 4})]
)
def test_random_codes_ask_for_all_entries_alike(scheme: str, chosen: dict[str, int]) -> None:
    options = get_scheme(scheme).check_options({**chosen, "codes": "random"})
    operands = draw_weights(get_scheme(scheme), 256, 1024, options, 0)
    (equal, *_), found = entries_equally(scheme, options), entries_asked(scheme, operands, options)
    for asked in found:
        assert np.allclose(asked.chances, equal.chances, atol=0.01)
