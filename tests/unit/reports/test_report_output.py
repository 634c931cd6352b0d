"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.output import replace_file, write_csv
from sim.errors import ConfigError


def test_failing_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "report.csv"
    target.write_text("old")

    def full_disk(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ConfigError, match=r"report\.csv: cannot write: No space left on device"):
        replace_file(target, full_disk)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.csv"]


def test_csv_quotes_what_needs_it(tmp_path: Path) -> None:
    path = write_csv([{"a": "x, y", "b": 0.1}], ("a", "b"), tmp_path / "new" / "t.csv")
    assert path.read_bytes() == b'a,b\n"x, y",0.1\n'
