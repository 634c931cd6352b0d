"""The tensors of a Hugging Face folder's .safetensors files, mapped into memory and read when they are asked for."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.errors import ConfigError, unknown
from workloads.accuracy.arrays import F32
from workloads.weight_files import as_float, stored, tensors_of

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
EVERY = slice(None)


@dataclass(frozen=True, eq=False)
class Stored:
    """Where one tensor lies."""

    file: Path
    data: mmap.mmap
    begin: int  # of the file's data
    entry: Mapping[str, Any]  # dtype, shape, data_offsets


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model's tensors by name; none is in memory before it is read."""

    folder: Path
    stored: Mapping[str, Stored]

    def __contains__(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self.stored

    def read(self, name: str, *shape: int, rows: slice | npt.NDArray[np.int64] = EVERY) -> F32:
        """Return a tensor in float32, of the ``shape`` that the model's config asks for, or some rows of it."""
        if name not in self.stored:
            raise unknown("tensor", name, self.stored, str(self.folder))
        place = self.stored[name]
        values = stored(place.file, name, place.data, place.begin, place.entry)
        if values.shape != shape:
            raise ConfigError(
                str(place.file), f"{name}: got shape {values.shape}, allowed: {shape}, by config.json"
            )
        return np.ascontiguousarray(as_float(values[rows]), np.float32)

    def stacked(self, names: Iterable[str], rows: Iterable[int], columns: int) -> F32:
        """Return matrices [rows, columns] one below the other."""
        parts = [self.read(name, count, columns) for name, count in zip(names, rows, strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def open_checkpoint(folder: Path) -> Checkpoint:
    """Find the tensors of a folder: one file, the files of an index, or all files there are."""
    files = _files(folder)
    if not files:
        raise ConfigError(
            str(folder), f"has no .safetensors file; allowed: a folder with {SINGLE} or {INDEX}"
        )
    return Checkpoint(folder, {name: each for file in files for name, each in _open(file).items()})


def _files(folder: Path) -> list[Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if not (folder / INDEX).exists():
        return sorted(folder.glob("*.safetensors"))
    try:
        names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        return [folder / Path(name).name for name in sorted(set(names))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(str(folder / INDEX), f"is no index of tensors: {error}") from None


def _open(file: Path) -> dict[str, Stored]:
    try:
        with file.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ConfigError(str(file), f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    tensors, begin = tensors_of(file, data)
    return {name: Stored(file, data, begin, entry) for name, entry in tensors.items()}
