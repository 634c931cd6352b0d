"""Your own kernel: a Python file that describes one launch of any CUDA source or cubin, for ``--kernel``.

The file defines ``kernel``::

    import numpy as np
    from gpu_kernels.custom import CudaKernel, output

    x = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)
    y = output(x.shape, x.dtype)
    kernel = CudaKernel(source="saxpy.cu", name="saxpy", grid=4096, block=256, args=[x, y, 2.0])

Arrays become buffers in global memory; Python numbers take the type of the kernel's parameter by its size.
"""

from __future__ import annotations

import math
import runpy
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpu_kernels.compile import VIRTUAL_ROOT, compile_cuda, compiler, disassemble
from sim.errors import ConfigError, TcsimError, place, unknown
from sim.isa.decode import Listing, decode_program
from sim.isa.launch import BYTE_ROLES, Buffer, BufferRef, CtaClass, Dim3, KernelLaunch, edge_classes
from sim.isa.program import Param, Program

MAX_THREADS = 1024
MAX_GRID = (2**31 - 1, 65535, 65535)
POINTER_BYTES = 8
Scalar = np.int32 | np.uint32 | np.int64 | np.float32


@dataclass(frozen=True, eq=False)
class Array:
    """One argument that points into global memory."""

    nbytes: int
    role: str
    data: npt.NDArray[Any] | None
    zeroed: bool = False


def array(data: npt.ArrayLike, role: str = "activations") -> Array:
    """Give the kernel a pointer to ``data``; its bytes count as ``role``: weights, activations, ..."""
    values = np.ascontiguousarray(data)
    return Array(values.nbytes, role, values)


def empty(
    shape: int | Sequence[int], dtype: npt.DTypeLike, role: str = "activations", zeroed: bool = False
) -> Array:
    """Give the kernel a pointer to memory whose values do not matter: nothing of that size is allocated."""
    sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    return Array(math.prod(int(size) for size in sizes) * np.dtype(dtype).itemsize, role, None, zeroed)


def output(shape: int | Sequence[int], dtype: npt.DTypeLike, zeroed: bool = False) -> Array:
    """Give the kernel a pointer to memory it writes."""
    return empty(shape, dtype, "output", zeroed)


@dataclass(frozen=True, eq=False)
class CudaKernel:
    """One launch: what runs, on what, how wide.

    ``source`` is CUDA text or a file, ``cubin`` a file: one of them, relative to the launch file.
    ``classes`` names the kinds of CTAs, {(x, y, z): how many do the same work}, one of them simulated; left
    out, all CTAs of a grid do the same but for the last in each dimension.
    """

    name: str
    grid: int | Sequence[int]
    block: int | Sequence[int]
    args: Sequence[Any]
    source: str | Path | None = None
    cubin: str | Path | None = None
    shared_bytes: int = 0
    defines: Mapping[str, str | int] = field(default_factory=dict)
    classes: Mapping[Dim3, int] | None = None


def load_launch(path: Path | str, target: str = "sm_90a") -> KernelLaunch:
    """Run the user's file and turn its ``kernel`` into a launch; ``target`` is the GPU's program target."""
    file = Path(path)
    kernel = _run(file).get("kernel")
    if not isinstance(kernel, CudaKernel):
        raise ConfigError(str(file), f"kernel: got {type(kernel).__name__}, allowed: a CudaKernel")
    try:
        return _launch(kernel, file, target)
    except ConfigError as error:
        raise (error if str(error).startswith(str(file)) else ConfigError(str(file), str(error))) from None


def _run(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ConfigError(str(file), "no such file")
    try:
        return runpy.run_path(str(file))
    except TcsimError as error:
        raise ConfigError(_place_in(file, error), str(error)) from None
    except SyntaxError as error:
        raise ConfigError(
            place(error.filename or file, error.lineno), f"not valid Python: {error.msg}"
        ) from None
    except (Exception, SystemExit) as error:
        first = (str(error).splitlines() or [""])[0]
        raise ConfigError(_place_in(file, error), f"{type(error).__name__}: {first}") from None


def _place_in(file: Path, error: BaseException) -> str:
    """Find the line of ``file`` that the error comes from."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    return place(file, lines[-1] if lines else None)


def _launch(kernel: CudaKernel, file: Path, target: str) -> KernelLaunch:
    grid, block = (
        _dim3("grid", kernel.grid, MAX_GRID),
        _dim3("block", kernel.block, (MAX_THREADS, MAX_THREADS, 64)),
    )
    if block[0] * block[1] * block[2] > MAX_THREADS:
        raise ConfigError("", f"block: got {block}, allowed: up to {MAX_THREADS} threads")
    if not isinstance(kernel.shared_bytes, int) or kernel.shared_bytes < 0:
        raise ConfigError(
            "", f"shared_bytes: got {kernel.shared_bytes!r}, allowed: a number of bytes, 0 or more"
        )
    program = _program(kernel, file, target)
    args, buffers = _arguments(kernel.args, program.params)
    return KernelLaunch(
        program, grid, block, kernel.shared_bytes, args, buffers, _classes(kernel.classes, grid), kernel.name
    )


def _dim3(name: str, value: int | Sequence[int], limits: Dim3) -> Dim3:
    sizes = tuple(value) if isinstance(value, Sequence) else (value,)
    whole = all(isinstance(size, int | np.integer) and not isinstance(size, bool) for size in sizes)
    padded = (*sizes, 1, 1, 1)[:3]
    if (
        not 1 <= len(sizes) <= 3
        or not whole
        or not all(1 <= s <= m for s, m in zip(padded, limits, strict=True))
    ):
        raise ConfigError("", f"{name}: got {value!r}, allowed: up to three sizes of at most {limits}")
    return int(padded[0]), int(padded[1]), int(padded[2])


def _classes(given: Mapping[Dim3, int] | None, grid: Dim3) -> tuple[CtaClass, ...]:
    if given is None:
        return edge_classes(grid)
    for cta in given:
        if len(cta) != 3 or not all(0 <= index < size for index, size in zip(cta, grid, strict=True)):
            raise ConfigError("", f"classes: got {cta}, allowed: a CTA of the grid {grid}")
    if sum(given.values()) != grid[0] * grid[1] * grid[2] or min(given.values(), default=0) < 1:
        raise ConfigError(
            "", f"classes: got {sum(given.values())} CTAs in all, allowed: those of the grid {grid}"
        )
    return tuple(CtaClass(cta, count, f"CTA {cta}") for cta, count in given.items())


# ------------------------------------------------------------------------------------- the program


def _program(kernel: CudaKernel, file: Path, target: str) -> Program:
    if (kernel.source is None) == (kernel.cubin is None):
        raise ConfigError("", "give either source or cubin")
    if kernel.cubin is not None:
        shown, name = file.parent / kernel.cubin, ""
        cubin, toolkit = _bytes(shown), ""
    else:
        shown, text = _source(kernel, file)
        name, toolkit = shown.name, compiler().version()
        cubin = _compiled(text, name, target, tuple(sorted(kernel.defines.items())))
    listing = _find(_disassembled(cubin, target, toolkit, name), kernel.name)
    return decode_program(cubin, listing, str(shown))


@lru_cache(maxsize=32)
def _compiled(text: str, name: str, target: str, defines: tuple[tuple[str, str | int], ...]) -> bytes:
    return compile_cuda(text, name, target, dict(defines))


@lru_cache(maxsize=32)
def _disassembled(cubin: bytes, target: str, toolkit: str, name: str) -> dict[str, Listing]:
    return disassemble(cubin, target, toolkit, name)


def _source(kernel: CudaKernel, file: Path) -> tuple[Path, str]:
    """Return where the CUDA text stands, and the text; inside a Python file its lines are that file's."""
    if isinstance(kernel.source, str) and "\n" in kernel.source:
        before, found, _ = file.read_text(encoding="utf-8").partition(kernel.source)
        line = before.count("\n") + 1 if found else 1
        return file, f'#line {line} "{VIRTUAL_ROOT}{file.name}"\n{kernel.source}'
    path = file.parent / str(kernel.source)
    try:
        return path, _bytes(path).decode()
    except UnicodeDecodeError:
        raise ConfigError(str(path), "not a text file") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("", f"{path}: {error.strerror or 'cannot be read'}") from None


def _find(listings: Mapping[str, Listing], name: str) -> Listing:
    """Find a kernel by its name, mangled or not."""
    if name in listings:
        return listings[name]
    mangled = [listing for key, listing in listings.items() if key.startswith(f"_Z{len(name)}{name}")]
    if len(mangled) == 1:
        return mangled[0]
    raise unknown("kernel", name, listings)


# ------------------------------------------------------------------------------------- the arguments


def _arguments(
    given: Sequence[Any], params: tuple[Param, ...]
) -> tuple[tuple[BufferRef | Scalar, ...], tuple[Buffer, ...]]:
    if len(given) != len(params):
        sizes = ", ".join(str(param.size) for param in params)
        raise ConfigError("", f"args: got {len(given)}, allowed: {len(params)}, of {sizes} bytes")
    args: list[BufferRef | Scalar] = []
    buffers: list[Buffer] = []
    for index, (value, param) in enumerate(zip(given, params, strict=True)):
        if isinstance(value, np.ndarray):
            value = array(value)
        if isinstance(value, Array):
            buffers.append(_buffer(f"args[{index}]", value, param))
            args.append(BufferRef(buffers[-1].name))
        else:
            args.append(_scalar(f"args[{index}]", value, param))
    return tuple(args), tuple(buffers)


def _buffer(name: str, value: Array, param: Param) -> Buffer:
    if param.size != POINTER_BYTES:
        raise ConfigError("", f"{name}: got an array, allowed: a number of {param.size} bytes")
    if value.role not in BYTE_ROLES:
        raise unknown("role", value.role, BYTE_ROLES, name)
    return Buffer(name, value.nbytes, value.role, value.data, value.zeroed)


def _scalar(name: str, value: Any, param: Param) -> Scalar:
    """Give a number the parameter's type where Python leaves it open."""
    by_size: dict[int, type[np.int32] | type[np.int64]] = {4: np.int32, 8: np.int64}
    if isinstance(value, bool) or not isinstance(
        value, int | float | np.int32 | np.uint32 | np.int64 | np.float32
    ):
        raise ConfigError(
            "", f"{name}: got {type(value).__name__}, allowed: an array or a number of 4 or 8 bytes"
        )
    try:
        if isinstance(value, int):
            value = by_size[param.size](value)
        elif isinstance(value, float):
            value = np.float32(value)
    except (KeyError, OverflowError):
        raise ConfigError("", f"{name}: got {value}, allowed: a number of {param.size} bytes") from None
    if value.nbytes != param.size:
        raise ConfigError("", f"{name}: got {value.nbytes} bytes, allowed: {param.size}")
    result: Scalar = value
    return result
