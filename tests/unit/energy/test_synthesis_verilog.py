"""The Verilog, through Yosys to gates, computes what the units should, for every shifter, place and way to overflow."""

from __future__ import annotations

import pytest

from sim.energy.synthesis import yosys
from sim.energy.synthesis.boolean import compiled
from sim.energy.synthesis.characterize import simulated
from sim.energy.synthesis.designs import variants
from sim.errors import ConfigError

GATES = {
    "$_AND_": {"Y": compiled("A B")},
    "$_OR_": {"Y": compiled("A + B")},
    "$_XOR_": {"Y": compiled("A ^ B")},
    "$_MUX_": {"Y": compiled("S B + !S A")},
    "$_NOT_": {"Y": compiled("!A")},
    "$_DFF_P_": {},
}
UNITS = (("pe", 4, 1, 16), ("pe", 8, 1, 24), ("dot", 8, 4, 16), ("dot", 4, 8, 20))


def test_without_yosys_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yosys, "command", lambda: None)
    with pytest.raises(ConfigError, match=r"no Yosys found; .*\[synthesis\]") as caught:
        yosys.version()
    assert "\n" not in str(caught.value)


@pytest.mark.synthesis
@pytest.mark.skipif(yosys.command() is None, reason="no Yosys: pip install '.[synthesis]'")
def test_netlists_compute_what_the_units_should() -> None:
    """``simulated`` raises where a netlist's sums differ from ``result``."""
    designs = [
        each for unit in UNITS for overflow in ("wrap", "saturate") for each in variants(*unit, overflow)
    ]
    netlists = yosys.synthesized(designs, None)
    for design, netlist in zip(designs, netlists, strict=True):
        changes = simulated(design, netlist, GATES, "uniform")
        assert all(found.sum() > 0 for found in changes.values())
        assert ("shift", "uniform") in changes or design.position == "none"


@pytest.mark.synthesis
@pytest.mark.skipif(yosys.command() is None, reason="no Yosys: pip install '.[synthesis]'")
def test_a_netlist_that_computes_something_else_is_noticed() -> None:
    wrap, saturate = (next(variants("dot", 8, 4, 16, overflow)) for overflow in ("wrap", "saturate"))
    (netlist,) = yosys.synthesized([wrap], None)
    with pytest.raises(RuntimeError, match="does not compute"):
        simulated(saturate, netlist, GATES, "uniform")
