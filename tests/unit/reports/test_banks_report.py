"""The banks study's page: what conflicts cost, where hardware pays, and what it says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reports.banks import render, to_json
from reports.banks_data import Design, Gain, Looked, Number, Study
from reports.banks_words import conclusion

LOOKED = Looked(
    scheme="flute", tile="16x128-w4c1", codes="gaussian", m=16, n=4096, k=4096, bits=4, mu=0, entries=256,
    entry_bytes=4, copies=1, banks=32, bank_bytes=4, lookups=1000, wavefronts=3.3, expected=3.0, time_us=10.0,
    ideal_us=8.0, bound_by="shared_memory",
)  # fmt: skip
GAIN = Gain(
    hardware="lut_unit", weights="any table", bits=4, m=1, n=4096, k=4096, kernel="flute a", time_us=8.0, energy_uj=9.0,
    bound_by="dram", software="flute b", software_us=10.0, software_uj=10.0, software_bound_by="issue", spread_us=0.1,
)  # fmt: skip


def study(*gains: Gain, measured: float | None = None) -> Study:
    own = replace(LOOKED, measured_us=measured, predicted_us=None if measured is None else 9.0)
    free = replace(LOOKED, tile="16x128-w4", copies=32, wavefronts=1.0, expected=1.0, time_us=8.0)
    wide = [replace(each, banks=64, time_us=each.time_us - 1) for each in (own, free)]
    sums = replace(LOOKED, scheme="lut_gemm", tile="1x1024-shared-mu8", codes="random", mu=8, entry_bytes=2)
    designs = tuple(
        Design(4, 2, 4, copies, 1024 * copies, 32, 4, mean)
        for copies, mean in ((1, 3.2), (2, 3.3), (32, 1.0))
    )
    numbers = (Number("lut_unit", "latency", 16, "cycles", "assumed: so"),)
    return Study("h200", 32, 4, (own, free, sums, *wide), designs, gains, numbers)


def said(found: Study, beginning: str) -> str:
    (line,) = (line for line in conclusion(found) if line.startswith(beginning))
    return line


def test_it_says_what_conflicts_cost_and_who_has_none() -> None:
    found = study()
    assert "differ by at most 10.0 % in 5 cases" in said(found, "Wavefronts")
    assert said(found, "flute 16x128-w4c1").endswith("without conflicts 8.00 instead of 10.00 µs (-20.0 %).")
    assert said(found, "No conflicts") == "No conflicts on 32 banks of 4 B: flute 16x128-w4."
    assert "2 copies 3.30, no better; no conflicts from 32 copies on" in said(found, "4-bit codes")
    assert said(found, "64 banks").startswith(
        "64 banks of 4 B: faster: flute 16x128-w4 (+14 %), flute 16x128-w4c1 (+11 %)"
    )


def test_it_says_where_hardware_pays() -> None:
    nothing = replace(GAIN, m=16, time_us=9.9)
    line = said(study(GAIN, nothing), "lut_unit")
    assert "pays in 1 of 2 cases, up to +25.0 % (M = 1" in line and "energy -10 %" in line
    assert line.endswith("4096×4096: M = 1.")


@pytest.mark.parametrize(
    "gain", [replace(GAIN, time_us=9.9), replace(GAIN, spread_us=3.0), replace(GAIN, time_us=12.0)]
)
def test_a_gain_that_is_small_or_within_the_spread_is_not_worth_it(gain: Gain) -> None:
    assert "not worth it here: at most" in said(study(gain), "lut_unit")


def test_it_compares_with_what_was_measured() -> None:
    assert said(study(measured=10.0), "Measured").startswith(
        "Measured: 1 of these launches; predicted at the recorded"
    )
    assert "at most -10.0 %" in said(study(measured=10.0), "Measured")
    assert "None of these launches was measured" in conclusion(study())[-1]


def test_the_page_its_tables_and_its_figures_are_written(tmp_path: Path) -> None:
    found = study(GAIN, replace(GAIN, m=16), replace(GAIN, hardware="wide_shared_memory"), measured=10.0)
    names = {path.name for path in render(found, tmp_path)}
    figures = {f"{name}.{kind}" for name in ("banks", "gains") for kind in ("png", "svg")}
    assert names == figures | {"banks.md", "lookups.csv", "tables.csv", "gains.csv", "hardware.csv"}
    page = (tmp_path / "banks.md").read_text(encoding="utf-8")
    assert (
        "| `flute 16x128-w4c1` | gaussian | 3.300 | 3.000 | 10.00 | 8.00 (-20.0 %) | 10.00 | 9.00 |" in page
    )
    assert "gains.png" not in _page_without_gains(tmp_path)


def _page_without_gains(out: Path) -> str:
    render(study(), out / "none")
    return (out / "none" / "banks.md").read_text(encoding="utf-8")


def test_its_json_holds_the_conclusion() -> None:
    record = json.loads(json.dumps(to_json(study(GAIN)), allow_nan=False))
    assert record["conclusion"] == conclusion(study(GAIN)) and record["gains"][0]["software_us"] == 10.0
