"""The bundled programs: compressed cubins and listings, and the manifest of what they were built from."""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

from sim.errors import ConfigError
from sim.isa.decode import Listing, decode_program
from sim.isa.program import Program

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"


def stem(scheme: str, tile: str, target: str) -> str:
    """Name the files of one program."""
    return f"{scheme}_{tile}.{target}"


@cache
def load_program(scheme: str, tile: str, target: str) -> Program:
    """Decode a bundled program."""
    return load_stem(stem(scheme, tile, target))


def load_stem(name: str) -> Program:
    """Decode the program whose files begin with ``name``."""
    listing = json.loads(_read(f"{name}.listing.json.xz"))
    return decode_program(_read(f"{name}.cubin.xz"), Listing.from_json(listing), listing["source"])


def _read(name: str) -> bytes:
    path = FOLDER / name
    try:
        return lzma.decompress(path.read_bytes())
    except FileNotFoundError:
        scheme_tile, target = name.split(".")[:2]
        raise ConfigError(str(path), f"no program {scheme_tile} for {target} is bundled") from None
    except (lzma.LZMAError, OSError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from None


def write_program(name: str, cubin: bytes, listing: Listing, source_name: str) -> None:
    """Store one program; the same input gives the same bytes."""
    record = json.dumps({**listing.to_json(), "source": source_name}, separators=(",", ":"))
    _write(FOLDER / f"{name}.cubin.xz", cubin)
    _write(FOLDER / f"{name}.listing.json.xz", record.encode())


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def read_manifest() -> dict[str, Any]:
    """Return ``{"toolkit": ..., "programs": {stem: {"inputs": sha256, "cubin": sha256}}}``."""
    record: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return record
