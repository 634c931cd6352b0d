"""Synthesis without Yosys: a small cell library, netlists of a few gates, and what the units are to compute."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.arch.accumulator import Design
from sim.energy.synthesis import power, timing
from sim.energy.synthesis.boolean import compiled
from sim.energy.synthesis.designs import Operation, designs, operations, result
from sim.energy.synthesis.liberty import Library, read_library
from sim.energy.synthesis.netlist import HIGH, LOW, Flattener, Gate, Netlist
from sim.energy.synthesis.simulation import circuit, functions_of, run
from sim.errors import ConfigError
from workloads.tender.synthetic import accumulate

TABLE = """{kind} (grid) {{
  index_1 ("0.0, 1.0"); index_2 ("0.0, 2.0");
  values ("{0}, {0}", \\
          "{1}, {1}"); }}"""
LIBERTY = """/* a comment { */
library (small) {
  nom_voltage : 2.0;
  lu_table_template (grid) { variable_1 : total_output_net_capacitance; variable_2 : input_net_transition; }
  CELLS
}
"""


def cell(name: str, area: float, inputs: str, function: str, delay: float, energy: float) -> str:
    pins = [f"pin ({pin}) {{ direction : input; capacitance : 0.5; }}" for pin in inputs]
    tables = " ".join(
        TABLE.format(delay, delay + 1, kind=kind)
        if kind.startswith("cell")
        else TABLE.format(0.1, 0.1, kind=kind)
        for kind in ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
    )
    arcs = "".join(
        f'timing () {{ related_pin : "{pin}"; timing_sense : negative_unate; {tables} }}' for pin in inputs
    )
    inside = " ".join(TABLE.format(energy, energy, kind=kind) for kind in ("rise_power", "fall_power"))
    output = (
        f'pin (Y) {{ direction : output; function : "{function}"; {arcs} '
        f'internal_power () {{ related_pin : "A"; {inside} }} }}'
    )
    return f"cell ({name}) {{ area : {area}; {' '.join(pins)} {output} }}"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    cells = cell("INV", 2, "A", "(!A)", 1.0, 0.25) + cell("NAND2", 3, "AB", "(!(A B))", 2.0, 0.75)
    path = tmp_path / "small.lib"
    path.write_text(LIBERTY.replace("CELLS", cells), encoding="utf-8")
    return read_library(path)


# ------------------------------------------------------------------------------------- the library


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("(!((S A) + (!S B)))", lambda a, b, s: not (a if s else b)),
        ("A B'+S", lambda a, b, s: (a and not b) or s),
        ("A^B^S", lambda a, b, s: a ^ b ^ s),
        ("!(A*B)&S", lambda a, b, s: not (a and b) and s),
        ("(A+B)'|S", lambda a, b, s: not (a or b) or s),
    ],
)
def test_functions_mean_what_liberty_says(text: str, meaning: Any) -> None:
    function = compiled(text)
    for a, b, s in product((False, True), repeat=3):
        pins = {name: np.array([value]) for name, value in zip("ABS", (a, b, s), strict=True)}
        assert bool(function.of(pins)[0]) == bool(meaning(a, b, s))


@pytest.mark.parametrize("text", ["A+", "(A", "A)", ""])
def test_a_function_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"missing|closed|follow"):
        compiled(text)


def test_a_library_is_read(library: Library) -> None:
    assert (library.name, library.voltage) == ("small", 2.0)
    nand = library.cells["NAND2"]
    assert (nand.area_um2, nand.pins["A"].capacitance_pf, nand.outputs[0].name) == (3, 0.5, "Y")
    assert [arc.source for arc in nand.pins["Y"].arcs] == ["A", "B"]
    delay = nand.pins["Y"].arcs[0].delay[0]
    assert [delay.at(load, 1.0) for load in (0.0, 0.5, 2.0)] == [2.0, 2.5, 4.0]  # beyond the table too


@pytest.mark.parametrize("text", ["", "library (x) {", "<html>"])
def test_a_file_that_is_no_library_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.lib"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"other\.lib: not a Liberty file") as caught:
        read_library(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_library(tmp_path / "none.lib")


# ------------------------------------------------------------------------------------- netlists


def test_modules_are_flattened_and_wires_through_them_are_one_net() -> None:
    def port(direction: str, *bits: object) -> dict[str, object]:
        return {"direction": direction, "bits": list(bits)}

    inner = {"ports": {"in": port("input", 2), "out": port("output", 3), "same": port("output", 2)}}
    inner["cells"] = {"g": {"type": "INV", "connections": {"A": [2], "Y": [3]}}}
    top = {
        "ports": {
            "x": port("input", 5),
            "y": port("output", 7),
            "z": port("output", 8),
            "low": port("output", "0"),
        },
        "cells": {
            "u": {"type": "$paramod$1\\adder", "connections": {"in": [5], "out": [6], "same": [8]}},
            "v": {"type": "$paramod$1\\adder", "connections": {"in": [6], "out": [7]}},
        },
    }
    found = Flattener({"$paramod$1\\adder": inner, "top": top}).flatten("top")
    assert [(gate.kind, gate.part) for gate in found.gates] == [("INV", "adder")] * 2
    assert found.ports["x"] == found.ports["z"]
    assert found.gates[0].pins["Y"] == found.gates[1].pins["A"]
    assert found.gates[1].pins["Y"] == found.ports["y"][0]
    assert found.ports["low"] == (LOW,)
    assert found.nets == 5  # two constants, x, the one between, y


X, NOT_X, Y = 2, 3, 4
HAZARD = Netlist(  # y = !(x & !x), always 1 at rest: a glitch when x rises
    5,
    (Gate("INV", "adder", {"A": X, "Y": NOT_X}), Gate("NAND2", "row", {"A": X, "B": NOT_X, "Y": Y})),
    {"x": (X,), "y": (Y,)},
)


def test_a_glitch_is_counted_and_what_is_at_rest_is_right(library: Library) -> None:
    found = circuit(HAZARD, functions_of(library))
    before, after = np.array([False, True, True]), np.array([True, False, True])
    done = run(found, {X: before}, {X: after})
    assert done.after[[LOW, HIGH, NOT_X, Y]].tolist() == [
        [False] * 3,
        [True] * 3,
        [False, True, False],
        [True] * 3,
    ]
    assert done.changes[[X, NOT_X, Y]].tolist() == [2, 2, 2]  # x falls without a glitch
    assert (done.before != done.after)[Y].sum() == 0


def test_the_longest_path_is_the_sum_of_its_delays(library: Library) -> None:
    analysed = timing.analyse(HAZARD, library)
    assert analysed.load_pf[[X, NOT_X, Y]].tolist() == [1.0, 0.5, 0.0]
    assert timing.longest_ns(HAZARD, library, analysed) == pytest.approx((1 + 0.5) + 2)


def test_a_change_takes_the_drivers_energy_and_half_c_v_squared(library: Library) -> None:
    energy = power.change_pj(HAZARD, library, timing.analyse(HAZARD, library))
    assert energy[[X, NOT_X, Y]] == pytest.approx([0.5 * 1.0 * 4, 0.5 * 0.5 * 4 + 0.25, 0.75])


def test_gates_in_a_loop_are_refused(library: Library) -> None:
    loop = Netlist(3, (Gate("INV", "adder", {"A": 2, "Y": 2}),), {})
    with pytest.raises(RuntimeError, match="loop"):
        timing.ordered(loop, library)
    with pytest.raises(RuntimeError, match="did not settle"):
        circuit(loop, functions_of(library)).settle(np.zeros((3, 1), np.uint8))


# ------------------------------------------------------------------------------------- the units


@pytest.mark.parametrize("mode", ["wrap", "saturate"])
@pytest.mark.parametrize("position", ["c_path", "behind_adder"])
def test_units_compute_what_the_integer_path_of_tender_does(mode: str, position: str) -> None:
    """The shift is an operation of its own behind the adder; in the path of C it comes with the next products."""
    sizes, width, random = (64, 32, 96), 18, np.random.default_rng(1)
    x, w = (random.integers(-127, 128, (16, sum(sizes))) for _ in range(2))
    want = accumulate(x, w, sizes, width, mode)
    assert want.overflows  # otherwise the mode would not matter
    design = Design(
        unit="dot",
        operand_bits=8,
        length=32,
        width_bits=width,
        overflow=mode,
        position=position,
        shift_range=1,
    )
    starts = np.cumsum(sizes)[:-1]
    for row, column in np.ndindex(16, 16):
        c = np.zeros(1, np.int64)
        for step in range(0, sum(sizes), 32):
            a, b = x[None, row, step : step + 32], w[None, column, step : step + 32]
            shift = np.array([int(step in starts)])
            if position == "behind_adder" and shift[0]:
                c, shift = result(design, Operation(a, b, c, shift)), 0 * shift
            c = result(design, Operation(a, b, c, shift))
        assert c[0] == want.sums[row, column]


def test_variants_of_a_unit_are_given_the_same_numbers() -> None:
    rows = [each for each in designs() if (each.unit, each.operand_bits, each.width_bits) == ("pe", 4, 24)]
    wrapping = [operations(each, "gaussian") for each in rows if each.overflow == "wrap"]
    assert len(wrapping) == 9
    for first, second, _ in wrapping:
        for mine, other in ((first, wrapping[0][0]), (second, wrapping[0][1])):
            assert all(np.array_equal(getattr(mine, name), getattr(other, name)) for name in "abc")
    assert [shifting is None for _, _, shifting in wrapping] == [True] + [False] * 8
