"""CUDA source -> cubin -> disassembly, by NVIDIA's pip wheels: no GPU, no driver, no toolkit."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import json
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from sim.errors import ConfigError, TcsimError
from sim.isa.decode import Listing

# Every file the compiler sees lives under this root, which exists nowhere: the line table of a cubin, and so
# its bytes, do not depend on the folder it was built in.
VIRTUAL_ROOT = "/tcsim/"
SHARED_HEADERS = {
    f"matmul/{path.name}": path for path in sorted((Path(__file__).parent / "matmul").glob("*.cuh"))
}


class Compiler(Protocol):
    """NVRTC, by whichever package brings it."""

    def version(self) -> str:
        """Return the version that is part of a program's identity: ``nvrtc 13.5.37``."""
        ...

    def compile(self, source: str, name: str, headers: Mapping[str, str], options: tuple[str, ...]) -> bytes:
        """Return the cubin, or raise NvrtcError with the compiler's log."""
        ...


class NvrtcError(Exception):
    """The compiler refused; the message is its log."""


def compile_cuda(
    source: str,
    name: str,
    target: str = "sm_90a",
    defines: Mapping[str, str | int] | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Compile ``source`` to a cubin with line information.

    ``name`` is the file's name in messages and in the line table (relative, under VIRTUAL_ROOT). ``headers``
    maps further names under the root to their text; the kernels' shared header is always there.
    """
    texts = {key: path.read_text(encoding="utf-8") for key, path in SHARED_HEADERS.items()} | dict(
        headers or {}
    )
    options = (
        f"--gpu-architecture={target}",
        "-lineinfo",
        "--std=c++17",
        *(f"-D{key}={value}" for key, value in sorted((defines or {}).items())),
    )
    virtual = {VIRTUAL_ROOT + key: text for key, text in texts.items()}
    try:
        return compiler().compile(source, VIRTUAL_ROOT + name, virtual, options)
    except NvrtcError as failure:
        raise TcsimError(_first_error(str(failure), name)) from None


def _first_error(log: str, name: str) -> str:
    """Pick the first error of NVRTC's log and write its place as ``file:line:``."""
    for line in log.splitlines():
        found = re.match(r"(.*)\((\d+)\): (?:catastrophic )?error(?: #\S+)?: (.*)", line)
        if found:
            return f"{found[1].removeprefix(VIRTUAL_ROOT)}:{found[2]}: {found[3]}"
    lines = (
        [line for line in log.splitlines() if "error" in line] or log.splitlines() or ["the compiler failed"]
    )
    return f"{name}: {lines[0]}"


@cache
def compiler() -> Compiler:
    """Find NVRTC: the wheel first (its version is pinned), then CuPy's."""
    try:
        return WheelCompiler()
    except (OSError, importlib.metadata.PackageNotFoundError):
        pass
    try:
        return CupyCompiler()
    except ImportError:
        raise ConfigError(
            "", "no CUDA compiler here. Install the extra: pip install 'tensorcore-sim[compile]'"
        ) from None


def _wheel_file(pattern: str) -> Path:
    """Find a file that one of NVIDIA's wheels installed."""
    site = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    found = sorted(site.glob(pattern))
    if not found:
        raise OSError(f"no {pattern} under {site}")
    return found[0]


def _include_options() -> tuple[str, ...]:
    """Return where cuda_fp16.h and its like are, if the runtime wheel is there; ours need none."""
    try:
        return (f"-I{_wheel_file('*/include/cuda_fp16.h').parent}",)
    except OSError:
        return ()


class WheelCompiler:
    """NVRTC of the wheel nvidia-cuda-nvrtc, through ctypes."""

    def __init__(self) -> None:
        self._version = importlib.metadata.version("nvidia-cuda-nvrtc")
        self._library = ctypes.CDLL(str(_wheel_file("*/lib/libnvrtc.so.*")))

    def version(self) -> str:
        """Return the wheel's version."""
        return f"nvrtc {self._version}"

    def compile(self, source: str, name: str, headers: Mapping[str, str], options: tuple[str, ...]) -> bytes:
        """Compile one translation unit."""
        program = ctypes.c_void_p()
        texts, names = _strings(headers.values()), _strings(headers)
        self._check(
            self._library.nvrtcCreateProgram(
                ctypes.byref(program), source.encode(), name.encode(), len(headers), texts, names
            )
        )
        try:
            every = options + _include_options()
            if self._library.nvrtcCompileProgram(program, len(every), _strings(every)) != 0:
                raise NvrtcError(self._text(program, "ProgramLog").decode(errors="replace").rstrip("\0"))
            return self._text(program, "CUBIN")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw

    @staticmethod
    def _check(status: int) -> None:
        if status != 0:
            raise TcsimError(f"the CUDA compiler failed with NVRTC status {status}")


def _strings(values: Any) -> Any:
    encoded = [value.encode() for value in values]
    return (ctypes.c_char_p * len(encoded))(*encoded)


class CupyCompiler:
    """NVRTC as CuPy finds it."""

    def __init__(self) -> None:
        from cupy.cuda import nvrtc

        self._nvrtc = nvrtc

    def version(self) -> str:
        """Return NVRTC's own version (CuPy's says nothing about the compiler)."""
        major, minor = self._nvrtc.getVersion()
        return f"nvrtc {major}.{minor}"

    def compile(self, source: str, name: str, headers: Mapping[str, str], options: tuple[str, ...]) -> bytes:
        """Compile one translation unit."""
        nvrtc = self._nvrtc
        program = nvrtc.createProgram(source, name, list(headers.values()), list(headers))
        try:
            nvrtc.compileProgram(program, [*options, *_include_options()])
            return bytes(nvrtc.getCUBIN(program))
        except nvrtc.NVRTCError:
            raise NvrtcError(nvrtc.getProgramLog(program)) from None
        finally:
            nvrtc.destroyProgram(program)


# ------------------------------------------------------------------------------------- disassembly


def disassemble(cubin: bytes, target: str, toolkit: str, source_name: str = "") -> dict[str, Listing]:
    """Return the listing of every kernel in ``cubin``.

    Branch targets are absolute byte addresses; the line is that of ``source_name`` an instruction comes from,
    through inlined functions of other files too, 0 where unknown. Encodings are not repeated: they are in the
    cubin.
    """
    tool = disassembler()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        functions = json.loads(_run(tool, "-json", str(path)))[1]
        lines = _source_lines(_run(tool, "-c", "-gi", str(path)), source_name)
    rows = {function["function-name"]: function["sass-instructions"] for function in functions}
    return {
        name: Listing(
            name, target, toolkit, tuple(_row(i, lines.get(name, {}), r) for i, r in enumerate(listed))
        )
        for name, listed in rows.items()
    }


def _row(index: int, lines: Mapping[int, int], row: Mapping[str, Any]) -> tuple[str, str, str, int]:
    """Make one row; nvdisasm reports the operand PR of P2R and R2P as a predicate."""
    guard, operands = row.get("predicate", ""), row.get("operands", "")
    if guard and not guard.startswith("@"):
        guard, operands = "", f"{guard},{operands}"
    return guard, row["opcode"], operands, lines.get(16 * index, 0)


def _source_lines(text: str, source_name: str) -> dict[str, dict[int, int]]:
    """Read nvdisasm's line markers: kernel -> byte address -> line of ``source_name``.

    Markers stand before the instructions they hold for, innermost place first, then the callers' places.
    """
    result: dict[str, dict[int, int]] = {}
    current: dict[int, int] = {}
    line, fresh = 0, True
    for row in text.splitlines():
        section = re.match(r"\.text\.(.+):$", row)
        marker = re.match(r'\s*//## File "([^"]*)", line (\d+)', row)
        address = re.match(r"\s*/\*([0-9a-f]{4,})\*/", row)
        if section:
            current = result.setdefault(section[1], {})
            line, fresh = 0, True
        elif marker:
            if fresh:
                line, fresh = 0, False
            if line == 0 and (not source_name or marker[1].removeprefix(VIRTUAL_ROOT) == source_name):
                line = int(marker[2])
        elif address:
            current[int(address[1], 16)] = line
            fresh = True
    return result


@cache
def disassembler() -> Path:
    """Find nvdisasm of the wheel nvidia-cuda-nvdisasm."""
    try:
        return _wheel_file("*/bin/nvdisasm")
    except OSError:
        raise ConfigError(
            "", "no nvdisasm here. Install the extra: pip install 'tensorcore-sim[compile]'"
        ) from None


def _run(tool: Path, *arguments: str) -> str:
    done = subprocess.run([str(tool), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise TcsimError(f"not a cubin that nvdisasm can read: {message[0]}")
    return done.stdout


def digest(*parts: bytes | str) -> str:
    """Return the SHA-256 of the parts, each with its length."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
