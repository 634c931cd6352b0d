"""``tcsim study banks`` from the command line, on small matrices."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sim import cli
from sim.commands import lookup_hardware, lookup_kernels, study_banks


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the study be about one scheme's kernels on two machines, and about one matmul."""
    monkeypatch.setattr(lookup_kernels, "TOKENS", {"flute": 16})
    monkeypatch.setattr(lookup_kernels, "BANKS", (64,))
    monkeypatch.setattr(lookup_hardware, "SHAPES", ((256, 512),))
    monkeypatch.setattr(lookup_hardware, "TOKENS", (8,))
    monkeypatch.setattr(lookup_hardware, "BITS", (2,))
    monkeypatch.setattr(study_banks, "SHAPE", (256, 512))
    monkeypatch.setattr(study_banks, "COPIES", (1, 32))


@pytest.mark.jit
@pytest.mark.usefixtures("small")
def test_it_simulates_kernels_on_banks_and_hardware(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["study", "banks", "--workers", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    looked = record["looked"]
    assert {(each["banks"], each["bank_bytes"]) for each in looked} == {(32, 4), (64, 4), (32, 8)}
    assert {each["codes"] for each in looked} == {"random", "gaussian"}
    for each in looked:
        assert each["wavefronts"] == pytest.approx(each["expected"], rel=0.05)  # so few draws are
        assert each["ideal_us"] <= each["time_us"] * 1.001
    assert {each["copies"] for each in looked} == {1, 8, 32}
    gains = {(each["hardware"], each["weights"]): each for each in record["gains"]}
    assert set(gains) == {
        (h, w) for h in ("lut_unit", "wide_shared_memory") for w in ("any table", "even levels")
    }
    assert gains["lut_unit", "any table"]["time_us"] <= gains["lut_unit", "any table"]["software_us"]
    assert gains["lut_unit", "even levels"]["software_us"] <= gains["lut_unit", "any table"]["software_us"]
    assert record["conclusion"]


@pytest.mark.jit
@pytest.mark.usefixtures("small")
def test_a_users_weights_are_what_is_looked_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight = np.tile(
        np.float32([1.0, -1.0]), (256, 256)
    )  # two codes only: all lanes ask for one entry of two
    np.save(tmp_path / "w.npy", weight)
    out = tmp_path / "out"
    arguments = ["study", "banks", "--workers", "1", "--weights", str(tmp_path / "w.npy"), "--out", str(out)]
    assert cli.run(arguments) == 0
    assert "wrote" in capsys.readouterr().out
    assert (out / "gains.png").is_file()
    with (out / "lookups.csv").open(encoding="utf-8") as file:
        own = [row for row in csv.DictReader(file) if row["codes"] == "w.npy" and row["copies"] == "1"]
    assert len(own) == 3 and {(row["wavefronts"], row["expected"]) for row in own} == {("1.0", "1.0")}
