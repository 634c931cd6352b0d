"""Predictions written before a measurement: drawn cases, the file, and how a row finds its prediction."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from gpu_kernels.measuring.cases import suite_cases
from gpu_kernels.measuring.drawn import PER_SCHEME
from gpu_kernels.measuring.rows import FOLDER
from sim.arch.load import load_gpu
from sim.cli import run
from sim.commands import comparing, predict
from sim.errors import ConfigError
from sim.jsonl import read_records, to_text
from sim.validation.prediction import Prediction

GPU = load_gpu("h200")


def timed_row() -> dict[str, Any]:
    records = map(json.loads, (FOLDER / "h200" / "2026-11-21.jsonl").read_text(encoding="utf-8").splitlines())
    found: dict[str, Any] = next(record for record in records if record["timing"])
    return found


def prediction(**changes: object) -> Prediction:
    row = timed_row()
    fields = {name: row[name] for name in ("gpu", "scheme", "options", "tile", "m", "n", "k", "program")}
    numbers = {"time_us": 12.0, "clock_mhz": 1800.0, "clocks_mhz": (1000.0, 2000.0), "times_us": (20.0, 12.0)}
    return Prediction.model_validate(
        {"schema_version": 1, "grid": tuple(row["grid"]), "counters": {}} | fields | numbers | changes
    )


def test_the_same_seed_draws_the_same_cases_and_another_one_others() -> None:
    first, again, other = (suite_cases(f"drawn-{seed}:w4a16", GPU) for seed in (5, 5, 6))
    common = {(c.m, c.n, c.k) for c in first} & {(c.m, c.n, c.k) for c in other}
    assert first == again and len(common) < len(first) / 50  # sizes are rounded: some meet by chance


def test_drawn_cases_are_timed_and_differ_in_shape() -> None:
    cases = suite_cases("drawn-5:w4a16", GPU)
    assert len(cases) == PER_SCHEME and all(case.timed for case in cases)
    assert len({(case.n, case.k) for case in cases}) > PER_SCHEME // 2
    assert {case.m == 1 for case in cases} == {True, False} and max(case.m for case in cases) > 1024


def test_time_at_a_clock_is_linear_in_the_cycle_time() -> None:
    """8 µs of memory and 8000 cycles: exact in between as well."""
    found = prediction(times_us=(16.0, 12.0))
    assert found.time_at(1250.0) == pytest.approx(8.0 + 8000 / 1250.0, rel=1e-12)
    assert (found.time_at(1000.0), found.time_at(2000.0)) == (16.0, 12.0)


@pytest.mark.parametrize("wrong", [{"times_us": (1.0,)}, {"clocks_mhz": (2000.0, 1000.0)}, {"time_us": 0.0}])
def test_a_damaged_prediction_is_refused_in_one_line(tmp_path: Path, wrong: dict[str, Any]) -> None:
    record = json.loads(to_text([prediction()])) | wrong
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^\S*p\.jsonl:1") as caught:
        read_records(path, Prediction, "a prediction")
    assert "\n" not in str(caught.value)


def folder_with(tmp_path: Path, foretold: Prediction) -> Path:
    """Lay a recorded row out with a manifest and its prediction."""
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "a.jsonl").write_text(to_text([foretold]), encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(json.dumps(timed_row()) + "\n", encoding="utf-8")
    lines = ("files:", "  a.jsonl:", "    kind: held_out", "    predicted_in: abc1234", "    note: a test")
    text = "\n".join((*lines, "    predictions: predictions/a.jsonl", ""))
    (tmp_path / "manifest.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_row_finds_the_prediction_of_its_own_launch(tmp_path: Path) -> None:
    (task,) = comparing.tasks(folder_with(tmp_path, prediction()), "h200")
    assert task.prediction == prediction()


@pytest.mark.parametrize("other", [{"program": "0" * 64}, {"m": 999}, {"grid": (1, 1, 1)}])
def test_a_prediction_of_another_launch_is_not_taken(tmp_path: Path, other: dict[str, Any]) -> None:
    (task,) = comparing.tasks(folder_with(tmp_path, prediction(**other)), "h200")
    assert task.prediction is None


def test_a_manifest_that_names_no_file_of_predictions_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, prediction())
    (folder / "predictions" / "a.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"predictions: no such file of predictions"):
        comparing.tasks(folder, "h200")


def test_a_prediction_is_not_written_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("", encoding="utf-8")
    assert run(["predict", "--suite", "smoke", "--out", str(path)]) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.jit
def test_what_is_predicted_is_what_is_simulated() -> None:
    case = next(each for each in suite_cases("smoke", GPU) if each.timed)
    found = predict.predict(case, GPU)
    run_again = predict.run_launch(case.launch(GPU), GPU, found.clock_mhz)
    assert found.time_us == pytest.approx(run_again.time_us, rel=1e-9)
    between = predict.run_launch(case.launch(GPU), GPU, 1650.0).time_us
    assert found.time_at(1650.0) == pytest.approx(between, rel=1e-2)  # where CTAs meet changes in steps


def test_measuring_without_a_gpu_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("cupy"):
        pytest.skip("there is CuPy here")
    status = run(["measure", "--suite", "smoke", "--out", str(tmp_path / "m")])
    assert status == 2 and len(capsys.readouterr().err.splitlines()) == 1
