"""The microbenchmarks' binaries: one compressed cubin per benchmark with the listings of all its kernels."""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

from sim.errors import ConfigError, unknown
from sim.isa.decode import Listing, decode_program
from sim.isa.program import Program

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"


def stem(benchmark: str, target: str) -> str:
    """Name the files of one benchmark."""
    return f"{benchmark}.{target}"


@cache
def load_program(benchmark: str, kernel: str, target: str, decoded: bool = True) -> Program:
    """Return one kernel; not ``decoded`` it can be launched on a GPU but not simulated."""
    cubin, found = _load(stem(benchmark, target))
    if kernel not in found:
        raise unknown("kernel", kernel, found, benchmark)
    listing = found[kernel]
    if not decoded:
        listing = Listing(listing.kernel, listing.target, listing.toolkit, ())
    return decode_program(cubin, listing, f"micro/{benchmark}.cu")


def listings(benchmark: str, target: str) -> dict[str, Listing]:
    """Return the disassembly of every kernel of a benchmark."""
    return dict(_load(stem(benchmark, target))[1])


@cache
def _load(name: str) -> tuple[bytes, dict[str, Listing]]:
    record = json.loads(_read(f"{name}.listing.json.xz"))
    return _read(f"{name}.cubin.xz"), {row["kernel"]: Listing.from_json(row) for row in record}


def _read(name: str) -> bytes:
    path = FOLDER / name
    try:
        return lzma.decompress(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(str(path), "no such program is bundled") from None
    except (lzma.LZMAError, OSError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from None


def write_programs(name: str, cubin: bytes, kernels: dict[str, Listing]) -> None:
    """Store one benchmark's kernels; the same input gives the same bytes."""
    record = json.dumps([kernels[key].to_json() for key in sorted(kernels)], separators=(",", ":"))
    _write(FOLDER / f"{name}.cubin.xz", cubin)
    _write(FOLDER / f"{name}.listing.json.xz", record.encode())


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def read_manifest() -> dict[str, Any]:
    """Return ``{"toolkit": ..., "programs": {stem: {"inputs": sha256, "cubin": sha256}}}``."""
    if not MANIFEST.exists():
        return {"toolkit": "", "programs": {}}
    record: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return record
