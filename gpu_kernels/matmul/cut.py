"""Launches of the kernels without tensor cores: row blocks x token tiles x slices of K, a CTA of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gpu_kernels.matmul.common import (
    LARGEST_GRID_YZ,
    Arrays,
    Options,
    check_memory,
    check_shared,
    make_buffer,
)
from gpu_kernels.matmul.tiling import FLOAT_BYTES, WORD_BYTES, Tile
from gpu_kernels.programs.store import load_program
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError
from sim.isa.launch import Buffer, BufferRef, CtaClass, KernelLaunch


def plain_tile(
    tokens: int,
    outputs: int,
    shared_bytes: int,
    ctas_per_sm: int,
    macros: Mapping[str, int],
    options: Options,
    label: str,
    conflict_free: bool = True,
) -> Tile:
    """Return a tile without a pipeline of its own: ``macros`` has THREADS and whatever else configures the source."""
    warps = macros["THREADS"] // 32
    return Tile(
        tokens, outputs, 1, warps, 1, 1, shared_bytes, ctas_per_sm, 1, macros, options, label, conflict_free
    )


@dataclass(frozen=True)
class Cut:
    """How a matmul is cut. ``slice``: steps of the shorter K slices; the first ``longer_slices`` have one more."""

    rows: int  # outputs of a row block
    blocks: int
    token_tiles: int
    slices: int
    slice: int
    longer_slices: int = 0

    @property
    def grid(self) -> tuple[int, int, int]:
        """CTAs in x, y and z."""
        return self.blocks, self.token_tiles, self.slices

    @property
    def tiles(self) -> int:
        """Tiles of the output."""
        return self.blocks * self.token_tiles


def cut_columns(m: int, n: int, k: int, tile: Tile, gpu: GpuSpec, step: int, ctas_per_sm: int) -> Cut:
    """Cut K, in steps of so many columns, into slices of equal length until every SM has ``ctas_per_sm`` CTAs."""
    blocks, token_tiles, steps = -(-n // tile.outputs), -(-m // tile.tokens), -(-k // step)
    wanted = min(steps, max(1, ctas_per_sm * gpu.sm.count // (blocks * token_tiles)))
    slices = -(-steps // -(-steps // wanted))
    each, longer = divmod(steps, slices)
    return Cut(tile.outputs, blocks, token_tiles, slices, each, longer)


def sliced_launch(
    scheme: str,
    tile: Tile,
    m: int,
    n: int,
    k: int,
    gpu: GpuSpec,
    cut: Cut,
    sizes: Mapping[str, tuple[int, str]],
    scalars: tuple[np.int32, ...],
    operands: Arrays | None,
) -> KernelLaunch:
    """Assemble a launch. ``sizes``: buffer -> (bytes, role), in the order of the kernel's arguments.

    The arguments are those, workspace, counters, M, N, K, ``scalars``.
    """
    check_shared(scheme, tile, gpu)
    if max(cut.token_tiles, cut.slices) > LARGEST_GRID_YZ:
        raise ConfigError(
            "", f"tile {tile.name} of {scheme}: {m} tokens x {k} columns are too many tiles for one grid"
        )
    buffers = [make_buffer(name, size, role, operands) for name, (size, role) in sizes.items()]
    buffers += _reduction_buffers(tile, cut)
    check_memory(buffers, gpu)
    return KernelLaunch(
        program=load_program(scheme, tile.name, gpu.program_target),
        grid=cut.grid,
        block=(tile.threads, 1, 1),
        dynamic_shared_bytes=tile.shared_bytes,
        args=(
            *(BufferRef(buffer.name) for buffer in buffers),
            np.int32(m),
            np.int32(n),
            np.int32(k),
            *scalars,
        ),
        buffers=tuple(buffers),
        classes=_classes(m, n, tile, cut),
        label=f"{scheme} {tile.name}" + (f" split {cut.slices}" if cut.slices > 1 else ""),
    )


def _reduction_buffers(tile: Tile, cut: Cut) -> list[Buffer]:
    """Return the room for partial sums and the arrival counters; a word each where K is not split."""
    split = cut.slices > 1
    partial = cut.tiles * cut.slices * cut.rows * tile.tokens * FLOAT_BYTES if split else WORD_BYTES
    return [
        Buffer("workspace", partial, "workspace"),
        Buffer("counters", cut.tiles * WORD_BYTES if split else WORD_BYTES, "workspace", zeroed=True),
    ]


def _classes(m: int, n: int, tile: Tile, cut: Cut) -> tuple[CtaClass, ...]:
    """Return the kinds of CTAs: whole or partial row block and token tile, slice of K, last arriver or not."""
    return tuple(
        _class(cut, (block, token, z), blocks * tokens * count, ", ".join(edge + edges) or "interior", last)
        for block, blocks, edge in _edges(n, cut.rows, "N edge")
        for token, tokens, edges in _edges(m, tile.tokens, "M edge")
        for z, count, last in _slices(cut)
    )


def _edges(size: int, step: int, label: str) -> list[tuple[int, int, tuple[str, ...]]]:
    """First tile, number and label of: the whole tiles, the partial one."""
    whole, partial = divmod(size, step)
    return [(0, whole, ())] * (whole > 0) + [(whole, 1, (label,))] * (partial > 0)


def _slices(cut: Cut) -> list[tuple[int, int, bool]]:
    """First z, number, whether it arrives last: CTAs start in the order of z, so the last z is taken to."""
    if cut.slices == 1:
        return [(0, 1, False)]
    longer = cut.longer_slices
    kinds = [(0, longer, False), (longer, cut.slices - 1 - longer, False), (cut.slices - 1, 1, True)]
    return [kind for kind in kinds if kind[1] > 0]


def _class(cut: Cut, cta: tuple[int, int, int], count: int, edge: str, last: bool) -> CtaClass:
    if cut.slices == 1:
        return CtaClass(cta, count, edge)
    if last:
        counter = WORD_BYTES * (cta[1] * cut.blocks + cta[0])
        return CtaClass(cta, count, f"{edge}, last slice", {("counters", counter): cut.slices - 1})
    return CtaClass(cta, count, f"{edge}, slice of {cut.slice + (cta[2] < cut.longer_slices)}")
