"""Launches as they are recorded beside rows: with the archived program a row can be simulated for ever."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sim.config import Strict
from sim.errors import ConfigError
from sim.isa.decode import Listing, decode_program
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch, TensorMap
from sim.isa.program import Program

ARCHIVE = "programs"  # the folder of measured programs, beside the rows
IDENTITY_CHARACTERS = 16  # of a program's identity in the names of its files
Three = tuple[int, int, int]
SCALARS = ("int32", "uint32", "int64", "float32")
Argument = BufferRef | TensorMap | np.int32 | np.uint32 | np.int64 | np.float32 | np.void


class Pointer(Strict):
    """An argument that points into a buffer."""

    buffer: str
    offset_bytes: int = 0


class Scalar(Strict):
    """A number as an argument."""

    type: Literal["int32", "uint32", "int64", "float32"]
    value: int | float


class Structure(Strict):
    """A structure passed by value, as hexadecimal text."""

    bytes: Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$")]


class Map(Strict):
    """A tensor map as an argument; see ``sim.isa.launch.TensorMap``."""

    tensor: str  # the buffer
    element_bytes: int
    dims: tuple[int, ...]
    strides_bytes: tuple[int, ...]
    box: tuple[int, ...]
    swizzle_bytes: int
    offset_bytes: int


class Memory(Strict):
    """A buffer, without its data."""

    name: str
    nbytes: Annotated[int, Field(ge=1)]
    role: str
    zeroed: bool = False


class Class(Strict):
    """A class of CTAs; ``patches``: (buffer, byte offset, word)."""

    cta: Three
    count: int
    label: str
    patches: tuple[tuple[str, int, int], ...] = ()


class Launch(Strict):
    """What a row's launch was, program and grid apart."""

    block: Three
    dynamic_shared_bytes: Annotated[int, Field(ge=0)]
    args: tuple[Pointer | Scalar | Structure | Map, ...]
    buffers: tuple[Memory, ...]
    classes: tuple[Class, ...]
    label: str


def record(launch: KernelLaunch) -> Launch:
    """Write a launch down."""
    return Launch(
        block=launch.block,
        dynamic_shared_bytes=launch.dynamic_shared_bytes,
        args=tuple(_argument(each) for each in launch.args),
        buffers=tuple(
            Memory(name=each.name, nbytes=each.nbytes, role=each.role, zeroed=each.zeroed)
            for each in launch.buffers
        ),
        classes=tuple(
            Class(
                cta=each.cta,
                count=each.count,
                label=each.label,
                patches=tuple((*place, word) for place, word in sorted(each.patches.items())),
            )
            for each in launch.classes
        ),
        label=launch.label,
    )


def _argument(value: object) -> Pointer | Scalar | Structure | Map:
    if isinstance(value, BufferRef):
        return Pointer(buffer=value.name, offset_bytes=value.offset_bytes)
    if isinstance(value, TensorMap):
        return Map(
            tensor=value.buffer,
            element_bytes=value.element_bytes,
            dims=value.dims,
            strides_bytes=value.strides_bytes,
            box=value.box,
            swizzle_bytes=value.swizzle_bytes,
            offset_bytes=value.offset_bytes,
        )
    if isinstance(value, np.void):
        return Structure(bytes=value.tobytes().hex())
    name = type(value).__name__
    if name not in SCALARS:
        raise ConfigError("", f"an argument of type {name} cannot be recorded, allowed: {', '.join(SCALARS)}")
    assert isinstance(value, np.generic)
    return Scalar.model_validate({"type": name, "value": value.item()})


def restore(recorded: Launch, grid: Three, program: Program) -> KernelLaunch:
    """Return the launch that was recorded; refuse a grid that is not its own."""
    ctas = sum(each.count for each in recorded.classes)
    if ctas != grid[0] * grid[1] * grid[2]:
        raise ConfigError("", f"a launch of {ctas} CTAs is recorded for the grid {grid}")
    return KernelLaunch(
        program=program,
        grid=grid,
        block=recorded.block,
        dynamic_shared_bytes=recorded.dynamic_shared_bytes,
        args=tuple(_value(each) for each in recorded.args),
        buffers=tuple(
            Buffer(each.name, each.nbytes, each.role, None, each.zeroed) for each in recorded.buffers
        ),
        classes=tuple(
            CtaClass(each.cta, each.count, each.label, {(name, at): word for name, at, word in each.patches})
            for each in recorded.classes
        ),
        label=recorded.label,
    )


def _value(recorded: Pointer | Scalar | Structure | Map) -> Argument:
    if isinstance(recorded, Pointer):
        return BufferRef(recorded.buffer, recorded.offset_bytes)
    if isinstance(recorded, Structure):
        return np.void(bytes.fromhex(recorded.bytes))
    if isinstance(recorded, Scalar):
        found: Argument = np.dtype(recorded.type).type(recorded.value)
        return found
    return TensorMap(
        recorded.tensor,
        recorded.element_bytes,
        recorded.dims,
        recorded.strides_bytes,
        recorded.box,
        recorded.swizzle_bytes,
        recorded.offset_bytes,
    )


# ------------------------------------------------------------------------------------- the archive


def archived(folder: Path, identity: str) -> Program | None:
    """Return a measured program from the archive beside a folder's rows; None if it is not there."""
    stem = folder / ARCHIVE / identity[:IDENTITY_CHARACTERS]
    if not stem.with_suffix(".cubin.xz").is_file():
        return None
    listing = json.loads(_read(stem.with_suffix(".listing.json.xz")))
    program = decode_program(
        _read(stem.with_suffix(".cubin.xz")), Listing.from_json(listing), listing["source"]
    )
    if program.identity != identity:
        raise ConfigError(str(stem), "holds another program than its name says")
    return program


def archive(folder: Path, identity: str, cubin: bytes, listing: bytes) -> None:
    """Keep a measured program; ``listing`` is the JSON that lies beside a bundled one."""
    stem = folder / ARCHIVE / identity[:IDENTITY_CHARACTERS]
    stem.parent.mkdir(exist_ok=True)
    for suffix, data in ((".cubin.xz", cubin), (".listing.json.xz", listing)):
        stem.with_suffix(suffix).write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def _read(path: Path) -> bytes:
    try:
        return lzma.decompress(path.read_bytes())
    except (lzma.LZMAError, OSError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from None
