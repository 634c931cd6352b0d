"""Gate-level simulation: every gate takes one unit of time, so that glitches are counted too.

Many cycles are simulated side by side, eight to a byte: each begins with the nets settled for the cycle before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.energy.synthesis.boolean import Function
from sim.energy.synthesis.liberty import Library
from sim.energy.synthesis.netlist import HIGH, Netlist

I64 = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]
Packed = npt.NDArray[np.uint8]
ONES = np.array([bin(byte).count("1") for byte in range(256)], np.int64)  # bits that are set in a byte
MOST_STEPS = 1000  # of a netlist that settles


@dataclass(frozen=True)
class _Kind:
    """All outputs of one function: nets of its inputs, [gates] each, and of its outputs."""

    function: Function
    inputs: dict[str, I64]
    outputs: I64


@dataclass(frozen=True)
class Circuit:
    """A netlist with the functions of its gates; the outputs of flip-flops are inputs of it."""

    nets: int
    kinds: tuple[_Kind, ...]

    def settle(self, values: Packed) -> I64:
        """Let ``values`` [nets, cycles / 8] come to rest; return how often each net changed, over all cycles."""
        changes = np.zeros(self.nets, np.int64)
        for _ in range(MOST_STEPS):
            new = [
                kind.function.of({pin: values[at] for pin, at in kind.inputs.items()}) for kind in self.kinds
            ]
            moved = False
            for kind, now in zip(self.kinds, new, strict=True):
                differs = now ^ values[kind.outputs]
                if differs.any():
                    moved = True
                    changes[kind.outputs] += ONES[differs].sum(axis=1)
                    values[kind.outputs] = now
            if not moved:
                return changes
        raise RuntimeError(f"{self.nets} nets did not settle in {MOST_STEPS} steps")


def circuit(netlist: Netlist, functions: Mapping[str, Mapping[str, Function]]) -> Circuit:
    """Return the circuit; ``functions`` are those of each cell's outputs, none for flip-flops."""
    grouped: dict[tuple[str, str], list[dict[str, int]]] = defaultdict(list)
    for gate in netlist.gates:
        for output in functions[gate.kind]:
            grouped[gate.kind, output].append(gate.pins)
    kinds = []
    for (name, output), gates in sorted(grouped.items()):
        function = functions[name][output]
        inputs = {pin: np.array([pins[pin] for pins in gates], np.int64) for pin in function.inputs}
        kinds.append(_Kind(function, inputs, np.array([pins[output] for pins in gates], np.int64)))
    return Circuit(netlist.nets, tuple(kinds))


def functions_of(library: Library) -> dict[str, dict[str, Function]]:
    """Return the functions of a library's cells."""
    return {
        name: {pin.name: pin.function for pin in cell.outputs if pin.function is not None}
        for name, cell in library.cells.items()
    }


@dataclass(frozen=True)
class Run:
    """Nets at rest before and after, [nets, cycles], and how often each changed, over all cycles."""

    before: Bits
    after: Bits
    changes: I64  # on the way from one to the other, [nets]


def run(found: Circuit, before: Mapping[int, Bits], after: Mapping[int, Bits]) -> Run:
    """Settle with the inputs ``before``, then apply ``after``."""
    cycles = len(next(iter(after.values())))
    values = np.zeros((found.nets, -(-cycles // 8)), np.uint8)
    values[HIGH] = 0xFF
    _apply(values, before)
    found.settle(values)
    rest = values.copy()
    _apply(values, after)
    changes = ONES[values ^ rest].sum(axis=1)
    changes += found.settle(values)
    unpacked = [np.unpackbits(each, axis=1, count=cycles).astype(np.bool_) for each in (rest, values)]
    return Run(unpacked[0], unpacked[1], changes)


def _apply(values: Packed, inputs: Mapping[int, Bits]) -> None:
    for net, bits in inputs.items():
        values[net] = np.packbits(bits)
