"""Energy per change of each net: what its driver takes inside, by the library's tables, and half its load times V²."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim.energy.synthesis.liberty import Library, Table
from sim.energy.synthesis.netlist import Netlist
from sim.energy.synthesis.timing import Timing

F64 = npt.NDArray[np.float64]


def change_pj(netlist: Netlist, library: Library, timing: Timing) -> F64:
    """Return pJ per change of each net, the mean of rise and fall; wires have no capacitance."""
    energy = 0.5 * timing.load_pf * library.voltage**2
    for gate in netlist.gates:
        cell = library.cells[gate.kind]
        slew = mean_slew_ns(timing, [gate.pins[pin] for pin in cell.pins if pin in gate.pins])
        for name, net in gate.pins.items():
            pin = cell.pins[name]
            if name != cell.clock:
                energy[net] += mean_pj(pin.energy_pj, timing.load_pf[net] if pin.output else 0.0, slew)
    return energy


def clock_pj(netlist: Netlist, library: Library, timing: Timing) -> float:
    """Return pJ per cycle that the clock takes: its pins' two edges, in every flip-flop; no clock tree, no gating."""
    total = 0.0
    for gate in netlist.gates:
        cell = library.cells[gate.kind]
        if cell.clock:
            pin = cell.pins[cell.clock]
            slew = mean_slew_ns(timing, [gate.pins[cell.clock]])
            total += 2 * mean_pj(pin.energy_pj, 0.0, slew) + pin.capacitance_pf * library.voltage**2
    return total


def mean_slew_ns(timing: Timing, nets: list[int]) -> float:
    """Return the mean transition of nets."""
    return float(timing.slew_ns[nets].mean())


def mean_pj(tables: tuple[Table, ...], load: float, slew: float) -> float:
    """Return the mean of edges and related inputs."""
    return sum(table.at(load, slew) for table in tables) / len(tables) if tables else 0.0
