"""Static timing: the longest path from inputs and flip-flops to outputs and flip-flops, from the library's tables."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.energy.synthesis.liberty import Library
from sim.energy.synthesis.netlist import HIGH, LOW, Gate, Netlist

F64 = npt.NDArray[np.float64]
INPUT_SLEW_NS = 0.1
RISE, FALL = 0, 1
_CAUSES = {"positive_unate": ((RISE,), (FALL,)), "negative_unate": ((FALL,), (RISE,))}
_EITHER = ((RISE, FALL), (RISE, FALL))


@dataclass(frozen=True)
class Timing:
    """When each net has its value, and how fast it gets there; -inf for constants."""

    arrival_ns: F64  # [nets, 2]: rise, fall
    slew_ns: F64
    load_pf: F64  # [nets]


def loads_pf(netlist: Netlist, library: Library) -> F64:
    """Return the input capacitance on each net; wires have none."""
    loads = np.zeros(netlist.nets)
    for gate in netlist.gates:
        for name, net in gate.pins.items():
            loads[net] += library.cells[gate.kind].pins[name].capacitance_pf
    return loads


def analyse(netlist: Netlist, library: Library) -> Timing:
    """Propagate arrivals and transitions through the gates in their order."""
    loads = loads_pf(netlist, library)
    arrival = np.zeros((netlist.nets, 2))
    slew = np.full((netlist.nets, 2), INPUT_SLEW_NS)
    arrival[[LOW, HIGH]] = -np.inf
    for gate in ordered(netlist, library):
        cell = library.cells[gate.kind]
        for pin in cell.outputs:
            net = gate.pins.get(pin.name)
            if net is None:
                continue
            found = [
                (
                    arrival[source, cause] + arc.delay[edge].at(loads[net], slew[source, cause]),
                    arc.slew[edge].at(loads[net], slew[source, cause]),
                    edge,
                )
                for arc in pin.arcs
                for source in [gate.pins[arc.source]]
                for edge in (RISE, FALL)
                for cause in _CAUSES.get(arc.sense, _EITHER)[edge]
            ]
            for edge in (RISE, FALL):
                arrival[net, edge] = max(each[0] for each in found if each[2] == edge)
                slew[net, edge] = max(each[1] for each in found if each[2] == edge)
    return Timing(arrival, slew, loads)


def ordered(netlist: Netlist, library: Library) -> list[Gate]:
    """Return the gates, each behind those that drive it; flip-flops first."""
    readers: dict[int, list[int]] = defaultdict(list)
    waits = [0] * len(netlist.gates)
    driven = {
        gate.pins[pin.name]
        for gate in netlist.gates
        for pin in library.cells[gate.kind].outputs
        if pin.name in gate.pins
    }
    for index, gate in enumerate(netlist.gates):
        cell = library.cells[gate.kind]
        for name, net in gate.pins.items():
            if not cell.pins[name].output and not cell.clock and net in driven:
                readers[net].append(index)
                waits[index] += 1
    ready = [index for index, count in enumerate(waits) if not count]
    for index in ready:
        for pin in library.cells[netlist.gates[index].kind].outputs:
            for reader in readers[netlist.gates[index].pins.get(pin.name, -1)]:
                waits[reader] -= 1
                if not waits[reader]:
                    ready.append(reader)
    if len(ready) < len(netlist.gates):
        raise RuntimeError(f"{len(netlist.gates) - len(ready)} gates drive each other in a loop")
    return [netlist.gates[index] for index in ready]


def longest_ns(netlist: Netlist, library: Library, timing: Timing) -> float:
    """Return the latest arrival at any output and any input of a flip-flop; its setup time is left out."""
    ends = [net for nets in netlist.ports.values() for net in nets]
    ends += [
        gate.pins[library.cells[gate.kind].next_state]
        for gate in netlist.gates
        if library.cells[gate.kind].next_state
    ]
    return float(timing.arrival_ns[ends].max())
