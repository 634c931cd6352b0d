from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpu_kernels.measuring.rows import FOLDER, Row, load_rows, write_rows
from sim.errors import ConfigError

RECORD: dict[str, Any] = {
    "schema_version": 1,
    "gpu": "h200",
    "scheme": "w4a16",
    "options": {"group_size": 128},
    "tile": "16x128",
    "m": 16,
    "n": 4096,
    "k": 4096,
    "grid": [1, 32, 4],
    "program": "ab" * 32,
    "toolkit": "nvrtc 13.5.37",
    "relative_error": 2.5e-4,
    "max_error": 4e-4,
    "timing": {
        "median_us": 5.25,
        "spread_us": 0.01,
        "minimum_us": 5.2,
        "replays": 70,
        "calls": 56,
        "copies": 28,
        "rotation_bytes": 242_000_000,
        "clock_mhz": 1980.0,
        "cublas_us": 9.5,
    },
    "counters": {"launches": 3, "instructions": 123456, "varying": ["shared_wavefronts"]},
    "provenance": {
        "date": "2026-11-21",
        "device": "NVIDIA H200",
        "sms": 132,
        "l2_bytes": 62914560,
        "driver": "580.159.04",
        "cuda_driver": 13000,
        "cuda_runtime": 13000,
        "cupy": "14.2.0",
        "cublas": None,
        "ncu": "2025.3.1",
    },
}


def _changed(*path: str, value: Any) -> dict[str, Any]:
    record = json.loads(json.dumps(RECORD))
    target = record
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return dict(record)


def _file(folder: Path, *records: Any) -> Path:
    path = folder / "some.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_rows_survive_the_round_trip(tmp_path: Path) -> None:
    rows = (Row.model_validate(RECORD), Row.model_validate(_changed("timing", value=None)))
    write_rows(tmp_path / "a.jsonl", rows)
    assert load_rows(tmp_path / "a.jsonl") == rows == load_rows(tmp_path)
    write_rows(tmp_path / "b.jsonl", load_rows(tmp_path / "a.jsonl"))
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert load_rows(tmp_path) == rows + rows


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("m",), 0, "m: got 0"),
        (("m",), "16", "m: got '16'"),
        (("m",), 1.5, "m: got 1.5"),
        (("program",), "xyz", "program: got 'xyz'"),
        (("timing", "median_us"), -1.0, "timing.median_us: got -1.0"),
        (("timing", "clock_mhz"), "fast", "timing.clock_mhz: got 'fast'"),
        (("timing", "medain_us"), 1.0, "Did you mean 'median_us'"),
        (("counters", "instructions"), 1.5, "counters.instructions: got 1.5"),
        (("counters", "launches"), True, "counters.launches: got True"),
        (("provenance", "date"), "21.11.2026", "provenance.date: got '21.11.2026'"),
        (("grid",), [1, 2], "grid.2: missing"),
        (("schema_version",), 2, "schema_version: got 2"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(
    tmp_path: Path, path: tuple[str, ...], value: Any, message: str
) -> None:
    file = _file(tmp_path, RECORD, _changed(*path, value=value))
    with pytest.raises(ConfigError) as caught:
        load_rows(file)
    text = str(caught.value)
    assert text.startswith(f"{file}:2: ") and message in text and "\n" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a row"),
        ("[1]", "allowed: a mapping"),
        ('{"m": NaN}', "NaN is not JSON"),
        ('{"m": 1, "m": 2}', "a key stands twice"),
        ("[" * 5000, "not a row"),
        (" " + "x" * 70000, "a row of 70001 characters"),
    ],
)
def test_what_is_no_row_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n" + text + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_rows(path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_missing_files_empty_folders_and_binary_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_rows(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="no measurements"):
        load_rows(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_rows(tmp_path)


def test_the_bundled_measurements_can_be_read() -> None:
    for folder in (path for path in FOLDER.iterdir() if path.is_dir()):
        assert all(row.gpu == folder.name for row in load_rows(folder))
