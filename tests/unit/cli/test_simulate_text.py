"""What ``tcsim simulate`` says to people about bank conflicts and about the tile that ran."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.commands.simulate import LISTED_CONFLICTS, _show
from sim.dse.expand import Point
from sim.results import SharedAccess
from tests.unit.dse.fake_evaluator import evaluate


def access(pc: int, line: int, wavefronts: int, source: str = "y = tile[i];") -> SharedAccess:
    return SharedAccess(pc, f"LDS R{pc}, [R2]", line, 10, wavefronts, 1000, (4, 0, 1), source if line else "")


def shown(capsys: pytest.CaptureFixture[str], *accesses: SharedAccess) -> list[str]:
    point = Point("big", (), (), "fp16", (), None, 1, 64, 64)
    _show(replace(evaluate(point), shared_accesses=accesses, tile="fp16 8x64 split 2"))
    return capsys.readouterr().out.splitlines()


def test_conflicts_of_a_source_line_are_added_up(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, access(16, 7, 3000), access(32, 7, 2500), access(48, 9, 1000, "x = tile[j];"))
    assert any(
        line.split() == ["7", "LDS", "5,500", "275", "100", "2", "of", "3", "y", "=", "tile[i];"]
        for line in lines
    )
    assert not any("tile[j]" in line for line in lines)


def test_without_a_source_the_instruction_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert any(
        line.startswith("0x20 ") and line.endswith("LDS R32, [R2]")
        for line in shown(capsys, access(32, 0, 1001))
    )


def test_the_worst_lines_come_first_and_few(capsys: pytest.CaptureFixture[str]) -> None:
    found = [access(16 * i, i, 1000 + i, f"line{i};") for i in range(1, 20)]
    named = [line.split()[-1] for line in shown(capsys, *found) if line.endswith(";")]
    assert named == [f"line{i};" for i in range(19, 19 - LISTED_CONFLICTS, -1)]


def test_no_conflict_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, access(16, 7, 1000))
    assert [line for line in lines if "conflict" in line] == ["shared memory  no bank conflicts"]
    assert "kernel         fp16 8x64 split 2" in lines
    share = "60 % of the wavefronts are bank conflicts: 2,500 where 1,000 would do"
    assert f"shared memory  {share}" in shown(capsys, access(16, 7, 2500))
