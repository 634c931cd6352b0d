"""A weight matrix from a file of a user: NumPy's .npy, or a tensor of a .safetensors file."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import ConfigError, unknown
from workloads.schemes.base import Array

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # safetensors' names -> NumPy's
LENGTH_BYTES = 8  # of the header's length, at the beginning of a .safetensors file
MOST_HEADER_BYTES = 100_000_000  # what the format allows


def read_weight(path: Path) -> Array:
    """Return W [n, k] in float16 or float32. ``FILE.safetensors:NAME`` names one tensor of several."""
    file, tensor = _split(path)
    try:
        weight = _safetensors(file, tensor) if file.suffix == ".safetensors" else _npy(file)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror or error}") from None
    if weight.ndim != 2 or weight.dtype.kind != "f" or weight.size == 0:
        raise ConfigError(
            str(file), f"got {weight.dtype} of shape {weight.shape}, allowed: a float matrix [n, k]"
        )
    return np.ascontiguousarray(weight if weight.dtype == np.float16 else weight.astype(np.float32))


def _split(path: Path) -> tuple[Path, str]:
    before, colon, tensor = str(path).rpartition(".safetensors:")
    return (Path(f"{before}.safetensors"), tensor) if colon else (path, "")


def _npy(path: Path) -> Array:
    if path.suffix != ".npy":
        raise ConfigError(str(path), "allowed: a file NAME.npy, NAME.safetensors or NAME.safetensors:TENSOR")
    try:
        weight: Array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(str(path), f"is no .npy file: {error}") from None
    return weight


def _safetensors(path: Path, tensor: str) -> Array:
    raw = path.read_bytes()
    tensors, begin = tensors_of(path, raw)
    matrices = {name: each for name, each in tensors.items() if len(each["shape"]) == 2}
    if not tensor and len(matrices) == 1:
        (tensor,) = matrices
    if tensor not in matrices:
        raise unknown("matrix", tensor, matrices, str(path))
    return as_float(stored(path, tensor, raw, begin, matrices[tensor]))


def stored(path: Path, tensor: str, raw: bytes | mmap.mmap, data: int, entry: Mapping[str, Any]) -> Array:
    """Return a tensor's values as they are stored, a view of ``raw``, whose data begin at ``data``; BF16 as uint16."""
    if entry["dtype"] not in TYPES:
        raise ConfigError(str(path), f"{tensor}: got {entry['dtype']}, allowed: {', '.join(TYPES)}")
    begin, end = entry["data_offsets"]
    kind = np.dtype(TYPES[entry["dtype"]])
    try:
        flat = np.frombuffer(raw, kind, (end - begin) // kind.itemsize, data + begin)
        return flat.reshape(entry["shape"])
    except (ValueError, TypeError) as error:
        raise ConfigError(str(path), f"{tensor}: {error}") from None


def as_float(values: Array) -> Array:
    """Return stored values as numbers: BF16 is the upper half of a float32."""
    return (values.astype(np.uint32) << 16).view(np.float32) if values.dtype.kind == "u" else values


def tensors_of(path: Path, raw: bytes | mmap.mmap) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the tensors of a .safetensors file by name, and where their data begin."""
    length = int.from_bytes(raw[:LENGTH_BYTES], "little")
    try:
        if not 2 <= length <= min(MOST_HEADER_BYTES, len(raw) - LENGTH_BYTES):
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(raw[LENGTH_BYTES : LENGTH_BYTES + length])
        header.pop("__metadata__", None)
        for entry in header.values():
            entry["shape"], entry["dtype"], entry["data_offsets"][1]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ConfigError(str(path), f"is no .safetensors file: {error}") from None
    return header, LENGTH_BYTES + length
