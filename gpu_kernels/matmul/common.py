"""What the launch descriptions of the matmul kernels share: arguments, buffers, what cannot be launched."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from gpu_kernels.matmul.tiling import WORD_BYTES, Problem, Tile, choose_splits, cta_classes
from gpu_kernels.programs.store import load_program
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError
from sim.isa.launch import Argument, Buffer, BufferRef, KernelLaunch, TensorMap

LARGEST = 2**31 - 1  # sizes and grid.x are 32-bit in the kernels
LARGEST_GRID_YZ = 65535

Arrays = Mapping[str, npt.NDArray[Any]]
Options = Mapping[str, Any]


def build_launch(
    scheme: str,
    tile: Tile,
    m: int,
    n: int,
    k: int,
    gpu: GpuSpec,
    buffers: Mapping[str, tuple[int, str]],
    scalars: tuple[Argument, ...],
    operands: Arrays | None,
    maps: Mapping[str, TensorMap] = MappingProxyType({}),
) -> KernelLaunch:
    """Assemble a launch. ``buffers``: name -> (bytes, role), in the order of the kernel's arguments.

    The arguments are those, workspace, counters, M, N, K, ``scalars``, slice, longer slices, group shift; a tile that
    does not split K has neither workspace and counters nor slices. Buffers named in ``maps`` are passed as these tensor
    maps, the others as addresses.
    """
    check_shared(scheme, tile, gpu)
    program = load_program(scheme, tile.name, gpu.program_target)
    resident = tile.resident(gpu, program)
    if resident < 1:
        raise ConfigError("", f"tile {tile.name} of {scheme} does not fit an SM of {gpu.name}")
    splits = choose_splits(m, n, k, tile, gpu, resident) if tile.splits_k else 1
    problem = Problem(m, n, k, tile, splits)
    check_grid(scheme, problem)
    own = [make_buffer(name, nbytes, role, operands) for name, (nbytes, role) in buffers.items()]
    own += reduction_buffers(problem) if tile.splits_k else []
    check_memory(own, gpu)
    sizes = (np.int32(m), np.int32(n), np.int32(k))
    slices = (problem.slice, problem.longer_slices) if tile.splits_k else ()
    shape = tuple(np.int32(v) for v in (*slices, problem.group_shift))
    return KernelLaunch(
        program=program,
        grid=problem.grid,
        block=(tile.threads, 1, 1),
        dynamic_shared_bytes=tile.shared_bytes,
        args=(*(maps.get(buffer.name, BufferRef(buffer.name)) for buffer in own), *sizes, *scalars, *shape),
        buffers=tuple(own),
        classes=cta_classes(problem),
        label=f"{scheme} {tile.name}" + (f" split {problem.splits}" if problem.splits > 1 else ""),
    )


def reduction_buffers(problem: Problem) -> list[Buffer]:
    """Return the room for partial sums and the arrival counters; a word each where K is not split."""
    split = problem.splits > 1
    workspace = problem.tiles * problem.splits * problem.tile.partial_bytes if split else WORD_BYTES
    counters = problem.tiles * WORD_BYTES if split else WORD_BYTES
    return [
        Buffer("workspace", workspace, "workspace"),
        Buffer("counters", counters, "workspace", zeroed=True),
    ]


def make_buffer(name: str, nbytes: int, role: str, operands: Arrays | None) -> Buffer:
    """Return a buffer, with its data if ``operands`` has it."""
    data = None if operands is None else operands.get(name)
    if data is not None:
        data = np.ascontiguousarray(data)
        if data.nbytes != nbytes:
            raise ConfigError("", f"operand {name}: got {data.nbytes} bytes, allowed: {nbytes}")
    return Buffer(name, nbytes, role, data)


def check_sizes(scheme: str, m: int, n: int, k: int, multiple_n: int, multiple_k: int) -> None:
    """Refuse what the kernel cannot address."""
    for name, size, multiple in (("M", m, 1), ("N", n, multiple_n), ("K", k, multiple_k)):
        if not 1 <= size <= LARGEST or size % multiple:
            allowed = "1 or more" if multiple == 1 else f"a multiple of {multiple}"
            raise ConfigError("", f"{scheme}: {name}: got {size}, allowed: {allowed}, up to 2^31 - 1")


def check_shared(scheme: str, tile: Tile, gpu: GpuSpec) -> None:
    """Refuse a tile whose pipeline a CTA of this GPU cannot have."""
    limit = gpu.sm.shared_memory.cta_limit_bytes
    if tile.shared_bytes > limit:
        raise ConfigError(
            "",
            f"tile {tile.name} of {scheme} needs {tile.shared_bytes} bytes of shared memory, "
            f"allowed: {limit} (sm.shared_memory.cta_limit_bytes of {gpu.name})",
        )


def check_grid(scheme: str, problem: Problem) -> None:
    """Refuse a grid beyond what CUDA can launch."""
    x, y, _ = problem.grid
    if x > LARGEST or y > LARGEST_GRID_YZ:
        shape = f"{problem.m} x {problem.n} outputs"
        raise ConfigError(
            "", f"tile {problem.tile.name} of {scheme}: {shape} are too many tiles for one grid"
        )


def check_memory(buffers: list[Buffer], gpu: GpuSpec) -> None:
    """Refuse what does not fit in device memory."""
    total = sum(buffer.nbytes for buffer in buffers)
    if total > gpu.dram.capacity_bytes:
        raise ConfigError("", f"the matrices need {total} bytes, {gpu.name} has {gpu.dram.capacity_bytes}")
