"""What every piece of hypothetical hardware must keep, by discovery."""

from __future__ import annotations

import pytest

from sim.arch.load import load_gpu
from sim.commands.selection import describe_extension
from sim.extensions import MarkedExtension, available_extensions, get_extension
from sim.extensions._interface import IMMEDIATE_SHIFT

H200 = load_gpu("h200")
REASONS = ("paper", "assumed", "measured", "literature", "datasheet", "synthesized")
NEEDED = ("latency", "energy", "area")


@pytest.mark.parametrize("name", available_extensions())
def test_it_says_what_it_is_and_why_its_numbers_are_what_they_are(name: str) -> None:
    extension = get_extension(name)
    assert extension.name == name and describe_extension(name)
    quantities = extension.quantities()
    assert set(NEEDED) <= set(quantities)
    for quantity in quantities.values():
        assert quantity.unit and quantity.rationale.startswith(REASONS)


@pytest.mark.parametrize("name", available_extensions())
def test_a_machine_with_it_is_another_one_of_the_same_name(name: str) -> None:
    machine = get_extension(name).machine(H200)
    assert machine.name == H200.name and machine.sm != H200.sm
    assert get_extension(name).energy_uj(0.0) == 0


def test_marks_name_one_extension_each() -> None:
    marked = [
        each for each in map(get_extension, available_extensions()) if isinstance(each, MarkedExtension)
    ]
    marks = [each.mark for each in marked]
    assert len(set(marks)) == len(marks) and all(0 <= mark < IMMEDIATE_SHIFT for mark in marks)
