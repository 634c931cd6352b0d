"""Area, delay and energy of one synthesized design; what it computes is checked on the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sim.arch.accumulator import Cost, Design
from sim.energy.synthesis import power, timing
from sim.energy.synthesis.boolean import Function
from sim.energy.synthesis.designs import Operation, control, operations, result
from sim.energy.synthesis.liberty import Library
from sim.energy.synthesis.netlist import Netlist
from sim.energy.synthesis.simulation import circuit, functions_of, run

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]
KINDS = ("gaussian", "uniform")  # of operands
GLITCHES_OF = "gaussian"
SHIFTING = ("row", "clamp", "shifter", "selector")  # modules of the Verilog that are the shifter
DIGITS = 8  # kept of each number


def characterized(design: Design, netlist: Netlist, library: Library) -> Cost:
    """Return what a design costs."""
    areas = areas_um2(netlist, library)
    analysed = timing.analyse(netlist, library)
    energy = power.change_pj(netlist, library, analysed)
    clock = power.clock_pj(netlist, library, analysed)
    functions = functions_of(library)
    found = {
        f"{name}_{kind}_pj": clock + float(energy @ changes)
        for stimulus in KINDS
        for (name, kind), changes in simulated(design, netlist, functions, stimulus).items()
    }
    numbers = {
        "area_um2": sum(areas.values()),
        "shifter_um2": sum(areas[part] for part in SHIFTING),
        "multiplier_um2": areas["multiplier"],
        "adder_um2": areas["adder"] + areas["saturator"],
        "register_um2": areas["pe"],
        "delay_ns": timing.longest_ns(netlist, library, analysed),
        **found,
    }
    rounded = {name: float(f"{value:.{DIGITS}g}") for name, value in numbers.items()}
    return Cost.model_validate({**design.model_dump(), "library": library.name, **rounded})


def areas_um2(netlist: Netlist, library: Library) -> dict[str, float]:
    """Return the area of the cells of each module of the Verilog."""
    areas: dict[str, float] = defaultdict(float)
    for gate in netlist.gates:
        areas[gate.part] += library.cells[gate.kind].area_um2
    return areas


def simulated(
    design: Design, netlist: Netlist, functions: Mapping[str, Mapping[str, Function]], kind: str
) -> dict[tuple[str, str], F64]:
    """Return the mean changes of each net in an operation, with and without those that are taken back (glitches).

    The operation is ``mac``, and ``shift`` of a design that has a shifter.
    """
    first, second, shifting = operations(design, kind)
    found = circuit(netlist, functions)
    before = inputs(
        design, netlist, replace(first, shift=0 * first.shift), np.roll(first.a, 1, 0), np.roll(first.b, 1, 0)
    )
    changes = {}
    for name, each in (("mac", second), ("shift", shifting)):
        if each is not None:
            done = run(found, before, inputs(design, netlist, each, first.a, first.b))
            require(design, netlist, done.after, each)
            changes[name, kind] = (done.before != done.after).mean(axis=1, dtype=np.float64)
            if kind == GLITCHES_OF:
                changes[name, "glitching"] = done.changes / len(each.c)
    return changes


def inputs(
    design: Design, netlist: Netlist, given: Operation, a_before: I64, b_before: I64
) -> dict[int, Bits]:
    """Return the bits of each net that is no gate's output; registers hold what came in the cycle before."""
    ports = {
        "a": packed(given.a, design.operand_bits),
        "b": packed(given.b, design.operand_bits),
        "c": given.c,
    }
    ports["shift"] = control(design, given.shift)
    if design.unit == "pe":
        held = {"a_out": a_before, "b_out": b_before}
        ports |= {port: packed(values, design.operand_bits) for port, values in held.items()}
    return {
        net: (values >> bit & 1).astype(np.bool_)
        for port, values in ports.items()
        for bit, net in enumerate(netlist.ports[port])
    }


def packed(values: I64, bits: int) -> I64:
    """Put the elements [pairs, length] side by side, in Python's integers, since they may take more than 64 bits."""
    found: I64 = np.zeros(len(values), object)
    for index in range(values.shape[1]):
        found = found | (values[:, index] & (1 << bits) - 1).astype(object) << bits * index
    return found


def require(design: Design, netlist: Netlist, values: Bits, given: Operation) -> None:
    """Raise unless the nets at rest hold what the design computes."""
    bits = values[list(sums(design, netlist))].astype(np.int64)
    unsigned = (bits << np.arange(design.width_bits)[:, None]).sum(axis=0)
    if not np.array_equal(unsigned, result(design, given) & (1 << design.width_bits) - 1):
        raise RuntimeError(f"the netlist does not compute what it should: {design}")


def sums(design: Design, netlist: Netlist) -> tuple[int, ...]:
    """Return the nets of the sum; of a processing element, those that enter its register."""
    if design.unit == "dot":
        return netlist.ports["d"]
    following = {gate.pins["Q"]: gate.pins["D"] for gate in netlist.gates if "Q" in gate.pins}
    return tuple(following[net] for net in netlist.ports["c"])
