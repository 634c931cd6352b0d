"""Figures keep their words inside, and the bank report shows every scheme."""

from __future__ import annotations

import pytest

from reports import style
from reports.bank_conflicts import Access, Instruction, Program, finding
from reports.bank_conflicts_figure import MAX_PROGRAMS, _chosen


def program(name: str, scheme: str, wavefronts: int, machines: tuple[str, ...] = ("a",)) -> Program:
    accesses = tuple(Access(machine, 10, wavefronts, 10, ()) for machine in machines)
    return Program(name, (Instruction(0, "LDS R1, [R2]", 0, "", accesses),), scheme)


@pytest.mark.parametrize("words", [3, 10])
def test_a_headline_ends_inside_the_figure(words: int) -> None:
    with style.drawing():
        figure = style.new_figure(2)
        style.headline(figure, "shared memory " * words, "each word of it " * words)
        title, note = figure.texts
        assert all(text.get_window_extent().x1 <= figure.bbox.width for text in (title, note))
        assert (title.get_fontsize() == style.TITLE_POINTS) == (words == 3)


def test_the_worst_programs_are_shown_of_each_scheme_in_turn() -> None:
    many = [program(f"f{extra}", "fp16", 100 + extra) for extra in range(9)]
    chosen = _chosen([program("w0", "w4a16", 11), *many, program("w1", "w4a16", 12)])
    assert [found.name for found in chosen] == ["f8", "w1", "f7", "w0", "f6"][:MAX_PROGRAMS]


def test_the_worst_conflict_is_told() -> None:
    assert finding([program("p", "fp16", 20)]) == "Bank conflicts: LDS takes 2 wavefronts where 1 would do"
