"""What a systolic accelerator is: frozen specs whose field names carry their units."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

import arch_configs
from sim.arch.leaves import nested, read_leaves
from sim.config import KeyPath, Strict, dotted, load_yaml, validate_data
from sim.errors import unknown

Size = Annotated[int, Field(ge=1, le=65_536)]
Bits = Annotated[int, Field(ge=1, le=64)]
Bytes = Annotated[int, Field(ge=1, le=2**40)]
Rate = Annotated[float, Field(gt=0, le=1e7)]
Cycles = Annotated[int, Field(ge=0, le=1_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Energy = Annotated[float, Field(ge=0, le=1e6)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
PLAIN = ("name", "title", "status", "dataflow")
SUFFIX = ".yaml"


class Array(Strict):
    """The grid of processing elements (PEs): each multiplies and accumulates once per cycle."""

    rows: Size  # of PEs: rows of the output (output-stationary) or of the reduction (weight-stationary)
    columns: Size
    pe_bits: Bits  # of the operands of one PE; wider ones take the PEs of a square together
    rescale_cycles: Cycles  # a bubble of the whole stream at a group's border
    pe_area_um2: Annotated[float, Field(gt=0, le=1e6)]  # of one PE, without buffers
    lanes: Size = 1  # elements of the reduction that a PE takes in a cycle
    serial_bits: Bits | None = None  # of a weight in a cycle, where the PEs are bit-serial

    @property
    def area_mm2(self) -> float:
        """Return the area of all PEs."""
        return self.rows * self.columns * self.pe_area_um2 / 1e6


class Buffers(Strict):
    """On-chip memories; double buffering halves what one tile may use."""

    input_bytes: Bytes
    weight_bytes: Bytes
    output_bytes: Bytes


class Precision(Strict):
    """What the scheme needs to keep its accuracy: operand bits, and the share of layers in twice as many."""

    operand_bits: Annotated[float, Field(ge=1, le=64)]  # of a weight, with its share of the scales
    wide_share: Share  # of multiplications, in operands of twice the bits
    activation_bits: Bits | None = None  # where they are not the weights'


class Action(Strict):
    """Energy per action."""

    multiply_pj: Energy  # one multiplication of pe_bits operands; PEs that work as one do all of theirs
    accumulate_pj: Energy  # adding one product, however wide its operands, to its sum
    sram_pj_per_byte: Energy
    dram_pj_per_byte: Energy


class Accelerator(Strict):
    """One accelerator."""

    name: Text
    title: Text
    status: Text
    # broadcast: PEs keep their outputs, and a row or column of them gets an operand at once, so that nothing is skewed
    dataflow: Literal["output_stationary", "weight_stationary", "broadcast"]
    clock_mhz: Rate
    array: Array
    buffers: Buffers
    precision: Precision
    dram_bytes_per_cycle: Rate
    vector_lanes: Size  # outputs that the vector unit scales and quantizes in a cycle
    energy: Action
    sources: dict[str, str] = Field(default_factory=dict)


def directory() -> Path:
    """Return the folder of the bundled accelerators."""
    return arch_configs.DIRECTORY / "accelerators"


def available() -> tuple[str, ...]:
    """Name the bundled accelerators."""
    return tuple(sorted(path.stem for path in directory().glob(f"*{SUFFIX}")))


def load_accelerator(name_or_path: str) -> Accelerator:
    """Return a bundled accelerator by name, or one in a YAML file."""
    path = Path(name_or_path)
    if path.suffix != SUFFIX:
        if name_or_path not in available():
            raise unknown("accelerator", name_or_path, available())
        path = directory() / f"{name_or_path}{SUFFIX}"
    document = load_yaml(path)
    leaves = read_leaves(document, Accelerator, PLAIN)
    text = {"name": path.stem} | {key: document.data[key] for key in PLAIN if key in document.data}
    sources = {dotted(key): leaf.source for key, leaf in sorted(leaves.items())}

    def where(key: KeyPath) -> str:
        return leaves[key].where if key in leaves else document.where(key)

    return validate_data(Accelerator, {**text, **nested(leaves), "sources": sources}, where)
