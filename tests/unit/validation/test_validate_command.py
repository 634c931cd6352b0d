"""``tcsim validate``: exit status, JSON, files; damaged rows end in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_kernels.measuring.rows import FOLDER
from sim.cli import run
from sim.commands import comparing
from sim.validation.comparison import Case, Comparison, CounterPair, TimePair

ROWS = FOLDER / "h200" / "2026-11-21.jsonl"
Change = Callable[[dict[str, Any]], object]


def timed() -> dict[str, Any]:
    records = (json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines())
    found: dict[str, Any] = next(record for record in records if record["timing"] and record["counters"])
    return found


def as_measured(task: comparing.Task) -> Comparison:
    """Answer with a simulation that is right, of whatever was measured first in the file."""
    timing = task.row.timing
    clock = timing.clock_mhz if timing else None
    pair = TimePair(timed()["timing"]["median_us"], 0.0, 1800.0, timing.median_us, timing.median_us, 1800.0) if (
        timing and clock
    ) else None  # fmt: skip
    missing = ("timing.clock_mhz",) if timing and not clock else ()
    case = Case(task.row.gpu, task.row.scheme, task.row.options, task.row.tile, 1, 1, 1)
    counters = {"instructions": CounterPair(5.0, 5.0)} if task.row.counters else {}
    return Comparison(case, task.source, task.kind, 1, 1, 1, 1, "dram", pair, counters, missing)


@pytest.fixture
def validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command on one row, changed, without simulating it."""
    monkeypatch.setattr(comparing, "compare", as_measured)

    def call(change: Change = lambda record: None, *arguments: str) -> tuple[int, str, str]:
        record = timed()
        change(record)
        path = tmp_path / "rows.jsonl"
        path.write_text(json.dumps(record) + "\n", encoding="utf-8")
        status = run(["validate", "--data", str(path), "--workers", "1", *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_a_row_that_agrees_passes_and_its_json_is_one_object(
    validate: Callable[..., tuple[int, str, str]],
) -> None:
    status, out, err = validate(lambda record: None, "--json")
    record = json.loads(out)
    assert (status, err) == (0, "")
    assert record["passed"] and record["cases"] == 1 and record["overall"]["mape_pct"] == 0
    assert set(record) >= {"cases", "overall", "per_scheme", "counters"}


def test_the_text_names_kind_scheme_goal_and_tolerance(
    validate: Callable[..., tuple[int, str, str]],
) -> None:
    status, out, _ = validate()
    assert status == 0
    for words in (
        "1 rows on h200: 1 compared (1 unlabelled), 0 stale",
        "fp16",
        "goal",
        "tolerance",
        "SM cycles",
    ):
        assert words in out


def test_a_time_beyond_the_tolerance_fails(validate: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = validate(lambda record: record["timing"].update(median_us=99.0))
    assert status == 1
    assert err.startswith("failed: fp16: mape_pct: ")


def test_a_missing_clock_fails(validate: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = validate(lambda record: record["timing"].update(clock_mhz=None))
    assert status == 1
    assert "rows.jsonl:1: timing.clock_mhz: missing" in err


def test_rows_with_nothing_measured_fail(validate: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = validate(lambda record: record.update(timing=None, counters=None))
    assert (status, err) == (1, "failed: nothing was checked: no row has a time or counters to compare\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["timing"].update(median_us=float("nan")), "rows.jsonl:1: not a row: NaN"),
        (lambda record: record.pop("grid"), "rows.jsonl:1: grid: missing"),
        (lambda record: record["timing"].pop("median_us"), "rows.jsonl:1: timing.median_us: missing"),
    ],
)
def test_a_damaged_row_is_one_line(
    validate: Callable[..., tuple[int, str, str]], change: Change, message: str
) -> None:
    status, out, err = validate(change)
    assert (status, out) == (2, "")
    assert message in err and err.count("\n") == 1


def test_a_folder_without_rows_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "--data", str(tmp_path)]) == 2
    assert "no measurements (*.jsonl) here" in capsys.readouterr().err


def test_a_manifest_must_name_files_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(timed()) + "\n", encoding="utf-8")
    text = "files:\n  other.jsonl: {kind: development, note: none}\n"
    (tmp_path / "manifest.yaml").write_text(text, encoding="utf-8")
    assert run(["validate", "--data", str(tmp_path)]) == 2
    assert "manifest.yaml:2: files.other.jsonl: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "allowed"),
    [("{kind: held_out, note: x}", False), ("{kind: held_out, note: x, predicted_in: 0a1b2c3}", True)],
)
def test_held_out_rows_name_the_commit_of_their_prediction(
    entry: str, allowed: bool, validate: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "manifest.yaml").write_text(f"files:\n  rows.jsonl: {entry}\n", encoding="utf-8")
    status, out, err = validate()
    assert status == (0 if allowed else 2)
    assert ("1 held out" in out) if allowed else ("predicted_in" in err)


def test_out_holds_the_figure_the_rows_and_the_record(
    validate: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    status, out, _ = validate(lambda record: None, "--out", str(folder))
    assert status == 0 and "wrote" in out
    names = {"validation.json", "validation.png", "validation.svg", "validation.csv"}
    assert {path.name for path in folder.iterdir()} == names


def test_documents_are_not_renewed_from_nothing(validate: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = validate(lambda record: record.update(timing=None), "--write-docs")
    assert (status, err) == (2, "--write-docs: no row has a time that was compared (0 rows are stale)\n")
