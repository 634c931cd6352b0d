"""A mapped netlist: Yosys' JSON, flattened to gates and nets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LOW, HIGH = 0, 1  # the nets of the constants
PARTS = (
    "multiplier",
    "adder",
    "saturator",
    "row",
    "clamp",
    "shifter",
    "selector",
    "pe",
    "dot",
)  # modules of the Verilog


@dataclass(frozen=True)
class Gate:
    """A cell of the library in a netlist."""

    kind: str
    part: str  # the module of the Verilog that it came from
    pins: dict[str, int]  # net of each


@dataclass(frozen=True)
class Netlist:
    """Gates on nets, numbered from 2 on."""

    nets: int
    gates: tuple[Gate, ...]
    ports: dict[str, tuple[int, ...]]  # nets of each, lowest bit first


class Flattener:
    """Walks down the hierarchy and gives nets one number each, however many modules they pass."""

    def __init__(self, modules: Mapping[str, Any]) -> None:
        self.modules = modules
        self.parent = [LOW, HIGH]
        self.found: list[tuple[str, str, dict[str, int]]] = []

    def flatten(self, name: str) -> Netlist:
        """Return the netlist of the module ``name``."""
        module = self.modules[name]
        bits: dict[Any, int] = {"0": LOW, "1": HIGH}
        ports = {
            port: [self._net(bits, bit) for bit in each["bits"]] for port, each in module["ports"].items()
        }
        self._walk(name, bits)
        numbers: dict[int, int] = defaultdict(lambda: len(numbers))
        for constant in (LOW, HIGH):
            numbers[constant] = constant
        gates = tuple(
            Gate(kind, part, {pin: numbers[self._root(net)] for pin, net in pins.items()})
            for kind, part, pins in self.found
        )
        named = {port: tuple(numbers[self._root(net)] for net in nets) for port, nets in ports.items()}
        return Netlist(len(numbers), gates, named)

    def _walk(self, name: str, bits: dict[Any, int]) -> None:
        for cell in self.modules[name]["cells"].values():
            inner = self.modules.get(cell["type"])
            if inner is None or inner.get("attributes", {}).get("blackbox"):
                pins = {
                    pin: self._net(bits, nets[0])
                    for pin, nets in cell["connections"].items()
                    if len(nets) == 1
                }
                self.found.append((cell["type"], part_of(name), pins))
            else:
                self._walk(cell["type"], self._inside(inner, cell["connections"], bits))

    def _inside(self, inner: Any, connections: Mapping[str, Any], bits: dict[Any, int]) -> dict[Any, int]:
        """Return the nets that the bits of a module's ports are outside of it."""
        local: dict[Any, int] = {"0": LOW, "1": HIGH}
        for port, each in inner["ports"].items():
            outside = connections.get(port, [])
            for index, bit in enumerate(each["bits"]):
                net = self._net(local, bit)
                if index < len(outside):
                    self._join(net, self._net(bits, outside[index]))
        return local

    def _net(self, bits: dict[Any, int], bit: Any) -> int:
        if bit == "x":
            return LOW  # nobody reads it
        if bit not in bits:
            bits[bit] = len(self.parent)
            self.parent.append(bits[bit])
        return bits[bit]

    def _root(self, net: int) -> int:
        while self.parent[net] != net:
            self.parent[net] = self.parent[self.parent[net]]
            net = self.parent[net]
        return net

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self._root(one), self._root(other)))
        self.parent[high] = low


def part_of(module: str) -> str:
    """Return which module of the Verilog a parametrized one is: ``$paramod$...\\adder``."""
    words = module.split("\\")
    return next((part for part in PARTS if part in words), module)


def instances(modules: Mapping[str, Any], top: str) -> Iterator[tuple[str, str]]:
    """Yield name and module of each instance in ``top``."""
    for name, cell in modules[top]["cells"].items():
        if cell["type"] in modules:
            yield name, cell["type"]
