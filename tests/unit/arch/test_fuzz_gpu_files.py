"""Damaged GPU files: a valid spec or one line, whatever was done to the bundled text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.arch.leaves import SOURCE_KINDS
from sim.arch.load import gpu_directory, load_gpu
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError

TEXT = (gpu_directory() / "h200.yaml").read_text(encoding="utf-8")
LINES = TEXT.splitlines()
# Text of a source, and keys that the file itself names (operations and input types).
NAMED_BY_FILE = rf"\s*(source|{'|'.join(SOURCE_KINDS)}|m\d+n|[a-z]+\d+[a-z0-9]*:)"
NUMBERED = [i for i, line in enumerate(LINES) if re.search(r"value: [0-9.]+", line)]
KEYED = [i for i, line in enumerate(LINES) if re.match(r"\s*[a-z_0-9]+:", line)]
VALUES = [
    ".nan",
    ".inf",
    "-1",
    "0",
    "1e300",
    "-1e-300",
    "9" * 30,
    "9" * 5000,
    "32kB",
    "'7'",
    "true",
    "~",
    "[1]",
    "{a: 1}",
    "*x",
    "&x 5",
    "!!int x",
]
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load_text(folder: Path, lines: list[str]) -> GpuSpec | str:
    path = folder / "fuzz.yaml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        return load_gpu(str(path))
    except ConfigError as error:
        assert str(error).isprintable()
        assert "fuzz.yaml" in str(error)
        return str(error)


@FUZZ
@given(index=st.integers(0, len(LINES) - 1))
def test_a_deleted_line(tmp_path: Path, index: int) -> None:
    load_text(tmp_path, LINES[:index] + LINES[index + 1 :])


@FUZZ
@given(index=st.sampled_from(NUMBERED), value=st.sampled_from(VALUES))
def test_a_changed_value(tmp_path: Path, index: int, value: str) -> None:
    line = re.sub(r"value: [0-9.]+", lambda match: f"value: {value}", LINES[index], count=1)
    result = load_text(tmp_path, [*LINES[:index], line, *LINES[index + 1 :]])
    if value not in ("0", "&x 5"):
        assert isinstance(result, str)
        assert re.search(r"fuzz\.yaml(:\d+)?: ", result)


@FUZZ
@given(index=st.sampled_from([i for i in KEYED if not re.match(NAMED_BY_FILE, LINES[i])]))
def test_a_mistyped_key_is_answered_with_the_right_one(tmp_path: Path, index: int) -> None:
    line = LINES[index]
    key = line.split(":")[0].strip()
    wrong = line.replace(key, key[:-1] + "qz", 1)
    result = load_text(tmp_path, [*LINES[:index], wrong, *LINES[index + 1 :]])
    assert isinstance(result, str)
    assert f"unknown key '{key[:-1]}qz'" in result
    if len(key) > 5:
        assert f"Did you mean '{key}'?" in result


@FUZZ
@given(index=st.sampled_from(NUMBERED))
def test_a_duplicated_line(tmp_path: Path, index: int) -> None:
    result = load_text(tmp_path, [*LINES[: index + 1], *LINES[index:]])
    assert isinstance(result, str)
    assert f"fuzz.yaml:{index + 2}: " in result


@FUZZ
@given(begin=st.integers(0, len(TEXT)), length=st.integers(0, 40), insert=st.text(max_size=8))
def test_any_edit(tmp_path: Path, begin: int, length: int, insert: str) -> None:
    load_text(tmp_path, [TEXT[:begin] + insert + TEXT[begin + length :]])


@pytest.mark.parametrize("cut", range(0, len(TEXT), 997))
def test_a_truncated_file_is_never_taken_for_a_whole_one(tmp_path: Path, cut: int) -> None:
    assert isinstance(load_text(tmp_path, [TEXT[:cut]]), str)
