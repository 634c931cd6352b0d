"""What bounds each layer, in words; and progress as plain lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.commands.bounds import bounds_tables, ranges
from sim.commands.terminal import FIRST_USE, Table, progress_shown, show
from sim.dse.expand import Job, Point
from tests.unit.dse.fake_evaluator import evaluate


def job(m: int, arch: str = "big", group: int = 64) -> Job:
    point = Point(arch, (), (), "w4a16", (("group_size", group),), None, m, 96, 64)
    return Job(point, (("tiny", "qkv"), ("tiny", "out")))


def test_neighbouring_m_with_one_bound_are_one_range() -> None:
    bounds = [(4, "DRAM"), (1, "DRAM"), (2, "DRAM"), (8, "tensor core"), (16, "DRAM")]
    assert ranges(bounds) == "M 1-4: DRAM; M 8: tensor core; M 16: DRAM"


def test_a_table_per_machine_names_layers_and_shape() -> None:
    jobs = [job(m, arch) for arch in ("big", "small") for m in (1, 2, 4)]
    tables = list(bounds_tables(jobs, [evaluate(each.point) for each in jobs]))
    assert [table.title for table in tables] == [
        "What bounds each layer on big",
        "What bounds each layer on small",
    ]
    assert tables[0].rows == (("w4a16", "qkv, out", "96×64", "M 1-2: DRAM; M 4: tensor core"),)


def test_options_are_named_only_where_they_differ() -> None:
    jobs = [job(1), job(1, group=128)]
    (table,) = bounds_tables(jobs, [evaluate(each.point) for each in jobs])
    assert [row[0] for row in table.rows] == ["w4a16 (group_size=64)", "w4a16 (group_size=128)"]


def test_a_layer_is_named_with_its_model_where_there_are_several() -> None:
    jobs = [job(1), replace(job(2), layers=(("other", "qkv"),))]
    (table,) = bounds_tables(jobs, [None, None])
    assert [row[1] for row in table.rows] == ["tiny qkv, tiny out", "other qkv"]
    assert table.rows[0][3] == "M 1: failed"


def test_plain_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    show(Table(("name", "µs"), (("a", "1.0"), ("long name", "12.5")), "Times", right=(1,)))
    assert capsys.readouterr().out == "Times\nname         µs\na           1.0\nlong name  12.5\n"


def test_piped_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 100.0, 101.0, 111.0, 112.0, 140.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with progress_shown() as progress:
        for done in (10, 11, 12, 21, 22, 50):
            progress(done, 50, int(done > 20))
    assert capsys.readouterr().out.splitlines() == [
        f"10/50 points, {FIRST_USE}",
        "11/50 points",
        "21/50 points, 1 failed, 32 s left",
        "50/50 points, 1 failed",
    ]
